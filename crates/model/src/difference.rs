//! A backup that is stored as its difference from a full one.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Kind, Result, Stage};
use crate::key::BackupName;

/// The part of an artifact's name that shows the form of the difference.
pub const EXTENSION: &str = ".rdiff";

/// The difference between a full backup and a later one. The artifact contains only the difference;
/// together with the plaintext of the full backup, it gives the plaintext of the later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Difference {
    /// The form of the difference: `rdiff`, a delta that the program `rdiff` applies.
    pub form: String,
    /// The full backup.
    pub full: BackupName,
    /// The digest of the full backup's plaintext.
    pub full_plaintext: Digest,
    /// The digest of the difference, after decryption and decompression.
    pub encoded: Digest,
    /// The size of the compared blocks in bytes.
    pub block_bytes: u32,
}

impl Difference {
    /// The form of a difference in the format of librsync.
    pub const RDIFF: &str = "rdiff";

    /// Fails with [`Kind::Refused`] if this version cannot apply a difference of this form.
    pub fn expect_known_form(&self, subject: &str) -> Result<()> {
        if self.form == Self::RDIFF {
            return Ok(());
        }
        let message = format!("unknown form \"{}\" of a difference", self.form);
        Err(Error::new(Stage::Compress, Kind::Refused, subject, message)
            .hint("use the version of Longshore that wrote the manifest, or a newer one"))
    }
}
