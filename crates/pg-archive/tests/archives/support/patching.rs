//! Archives with applied patches.

use longshore_pg_archive::offsets::Patch;

/// Applies patches to bytes.
pub(crate) fn apply_patches(mut bytes: Vec<u8>, patches: &[Patch]) -> Vec<u8> {
    for patch in patches {
        let at = usize::try_from(patch.at).unwrap();
        bytes[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }
    bytes
}
