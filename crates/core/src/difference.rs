//! Differences from a full backup, in the delta format of `rdiff`.
//!
//! A run compares a dump with the block digests of the last full backup while the dump passes
//! ([`Differ`]). A read merges the plaintext of the full backup and the difference, both read
//! forward ([`reconstruct`]). Neither needs scratch space, or the other backup in memory.
//!
//! The choice of a full backup or a difference depends on the first [`HELD_BYTES`] of a run's dump,
//! which are held back: a dump that is no longer is stored as a full backup if its difference,
//! compressed, is larger than half of the compressed dump, and so is a longer one of which not one
//! block is known. Later, the bytes that the difference copies are lost, so that a full backup
//! would need a second dump. The difference then continues: copies never cost more than the data,
//! so that it stays smaller than the full backup would be. The caller compares stored sizes
//! afterwards, and makes the next backup a full one.

mod differ;

use crate::error::{Error, Kind, Result, Stage};
use crate::manifest::Manifest;
use crate::meter::expect;
use crate::stream::{ByteStream, combine};

pub use self::differ::{Choice, Differ, Encoded, FullBlocks, HELD_BYTES, Outcome};
pub use longshore_model::difference::{Difference, EXTENSION};
pub use longshore_rdiff::signature::{MAX_BLOCK_BYTES, MIN_BLOCK_BYTES, signature_bytes};
pub use longshore_rdiff::{Key, Signature, Summary};

/// Returns the plaintext of a backup stored as a difference: `full` is the plaintext of the full
/// backup, and `difference` the content of the artifact. The digest of the plaintext is enforced.
///
/// # Errors
///
/// Fails with [`Kind::Refused`] for a difference of an unknown form. The stream fails with
/// [`Kind::Corrupt`] if the difference is malformed or the result has another digest.
pub fn reconstruct(full: ByteStream, difference: ByteStream, manifest: &Manifest) -> Result<ByteStream> {
    let subject = manifest.artifact.key.to_string();
    if let Some(difference) = &manifest.artifact.difference {
        difference.expect_known_form(&subject)?;
    }
    let name = subject.clone();
    let wrap = move |error: std::io::Error| {
        Error::new(Stage::Verify, Kind::Corrupt, name, "damaged: the difference cannot be applied").because(error)
    };
    let merged = combine((full, difference), wrap, |(full, difference), writer| {
        longshore_rdiff::patch(full, difference, writer).map(drop)
    });
    Ok(expect(merged, manifest.artifact.plaintext.clone(), subject))
}
