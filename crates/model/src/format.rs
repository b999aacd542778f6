//! The format of a dump.

use serde::{Deserialize, Serialize};

/// The format of the plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Format {
    /// PostgreSQL's custom format, read by `pg_restore`.
    Custom,
    /// A script, run by `psql`.
    Plain,
    /// PostgreSQL's tar format, read by `pg_restore`.
    Tar,
    /// PostgreSQL's directory format as a tar stream, to be unpacked by `tar` and read by
    /// `pg_restore`.
    Directory,
}

impl Format {
    /// All formats.
    pub(crate) const ALL: [Self; 4] = [Self::Custom, Self::Plain, Self::Tar, Self::Directory];

    /// Returns the format of a dump that begins with `head` (at least 512 bytes). Anything that is
    /// not an archive counts as a script.
    pub fn detect(head: &[u8]) -> Self {
        if head.starts_with(b"PGDMP") {
            Self::Custom
        } else if !is_tar(head) {
            Self::Plain
        } else if (head.get(108..115), head.get(116..123)) == (Some(b"0004000"), Some(b"0002000")) {
            // The user and group ids in every tar of pg_dump, independent of the user who runs it.
            Self::Tar
        } else {
            Self::Directory
        }
    }

    /// Returns the suffix of the plaintext's file name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Custom => ".dump",
            Self::Plain => ".sql",
            Self::Tar => ".tar",
            Self::Directory => ".dir.tar",
        }
    }
}

/// Returns true if `head` is a tar header, recognized by its checksum of eight octal digits and
/// spaces.
fn is_tar(head: &[u8]) -> bool {
    let (Some(header), Some(checksum)) = (head.get(..512), head.get(148..156)) else { return false };
    let digits = std::str::from_utf8(checksum).unwrap_or_default().trim_matches(['\0', ' ']);
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    // The checksum counts its own bytes as spaces.
    let own_sum: u64 = checksum.iter().map(|byte| u64::from(*byte)).sum();
    u64::from_str_radix(digits, 8) == Ok(sum - own_sum + 8 * u64::from(b' '))
}
