//! The options of a base backup.

use crate::command::string;
use crate::error::{Error, Result};

/// The options of a base backup. The server never waits for its WAL archive, and always writes a
/// manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The label, which the server writes into `backup_label`.
    pub label: String,
    /// The speed of the checkpoint at the beginning.
    pub checkpoint: Checkpoint,
    /// The WAL in the archive.
    pub wal: Wal,
    /// The checksums of files in the manifest.
    pub manifest_checksums: ManifestChecksums,
    /// The form of tablespaces in `base.tar`.
    pub tablespace_map: TablespaceMap,
    /// The limit of the rate in units of 1024 bytes per second, from 32 to 1048576.
    pub max_rate_kib: Option<u32>,
    /// The estimated sizes at the beginning.
    pub size_estimates: SizeEstimates,
    /// The check of page checksums by the server.
    pub page_checksums: PageChecksums,
    /// The kind of backup.
    pub kind: BackupKind,
}

/// The speed of the checkpoint at the beginning of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// As fast as possible.
    Fast,
    /// Spread over minutes (`checkpoint_completion_target`).
    Spread,
}

/// The WAL in the archive of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wal {
    /// The WAL from the start to the end of the backup, in `pg_wal` at the end of `base.tar`. The
    /// server must still have it at the end: a replication slot keeps it.
    Include,
    /// No WAL: a restore needs a WAL archive.
    Exclude,
}

/// The checksums of files in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestChecksums {
    /// No checksums: a verification compares names and sizes only.
    None,
    /// CRC32C, which finds accidental damage, at the lowest cost.
    Crc32c,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// The form of tablespaces in `base.tar`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TablespaceMap {
    /// A file `tablespace_map`, and no symbolic links.
    File,
    /// Symbolic links to the directories on the server.
    Links,
}

/// The estimated sizes at the beginning. Progress is reported in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeEstimates {
    /// The server measures all files before it sends the first.
    Measure,
    /// The server sends no sizes, and starts at once.
    Omit,
}

/// The check of page checksums by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageChecksums {
    /// The backup fails at its end if a page has a wrong checksum. Without effect if the cluster
    /// has no checksums.
    Verify,
    /// Pages are checked, and torn pages are read again. Wrong checksums are notices, not failures.
    Report,
    /// Pages are not checked.
    Ignore,
}

/// The kind of backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupKind {
    /// All blocks.
    Full,
    /// The blocks that changed since the backup whose manifest was uploaded before. PostgreSQL 17
    /// and newer.
    Incremental,
}

impl Default for Options {
    /// Returns the options of a full backup without WAL, with CRC32C in its manifest.
    fn default() -> Self {
        Self {
            label: "longshore".to_owned(),
            checkpoint: Checkpoint::Spread,
            wal: Wal::Exclude,
            manifest_checksums: ManifestChecksums::Crc32c,
            tablespace_map: TablespaceMap::File,
            max_rate_kib: None,
            size_estimates: SizeEstimates::Measure,
            page_checksums: PageChecksums::Verify,
            kind: BackupKind::Full,
        }
    }
}

impl Options {
    /// Returns the command.
    pub(super) fn command(&self) -> Result<String> {
        let checkpoint = match self.checkpoint {
            Checkpoint::Fast => "fast",
            Checkpoint::Spread => "spread",
        };
        let checksums = match self.manifest_checksums {
            ManifestChecksums::None => "NONE",
            ManifestChecksums::Crc32c => "CRC32C",
            ManifestChecksums::Sha224 => "SHA224",
            ManifestChecksums::Sha256 => "SHA256",
            ManifestChecksums::Sha384 => "SHA384",
            ManifestChecksums::Sha512 => "SHA512",
        };
        let mut options = vec![
            format!("LABEL {}", string(&self.label)),
            format!("CHECKPOINT '{checkpoint}'"),
            "WAIT false".to_owned(),
            format!("WAL {}", self.wal == Wal::Include),
            "MANIFEST 'yes'".to_owned(),
            format!("MANIFEST_CHECKSUMS '{checksums}'"),
            format!("TABLESPACE_MAP {}", self.tablespace_map == TablespaceMap::File),
            format!("PROGRESS {}", self.size_estimates == SizeEstimates::Measure),
            format!("VERIFY_CHECKSUMS {}", self.page_checksums != PageChecksums::Ignore),
        ];
        if let Some(rate) = self.max_rate_kib {
            if !(32..=1_048_576).contains(&rate) {
                let message = format!("{rate} KiB/s is not between 32 and 1048576");
                return Err(Error::Argument { subject: "maximum rate".to_owned(), message });
            }
            options.push(format!("MAX_RATE {rate}"));
        }
        if self.kind == BackupKind::Incremental {
            options.push("INCREMENTAL true".to_owned());
        }
        Ok(format!("BASE_BACKUP ( {} )", options.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_a_command() {
        let options = Options { label: "it's".to_owned(), max_rate_kib: Some(32), ..Options::default() };
        assert_eq!(
            options.command().unwrap(),
            "BASE_BACKUP ( LABEL 'it''s', CHECKPOINT 'spread', WAIT false, WAL false, MANIFEST 'yes', \
             MANIFEST_CHECKSUMS 'CRC32C', TABLESPACE_MAP true, PROGRESS true, VERIFY_CHECKSUMS true, MAX_RATE 32 )"
        );
    }

    #[test]
    fn rates_out_of_range_are_rejected() {
        for rate in [0, 31, 1_048_577] {
            let options = Options { max_rate_kib: Some(rate), ..Options::default() };
            assert!(matches!(options.command(), Err(Error::Argument { .. })), "{rate}");
        }
    }
}
