//! Archives that bytes are written over.

use longshore_pg_archive::offsets::Patch;

/// The bytes with these written over them.
pub(crate) fn applied(mut bytes: Vec<u8>, patches: &[Patch]) -> Vec<u8> {
    for patch in patches {
        let at = usize::try_from(patch.at).unwrap();
        bytes[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }
    bytes
}
