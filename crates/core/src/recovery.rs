//! The recovery of a restored cluster.

use std::path::PathBuf;

use crate::base::Lsn;

/// The recovery of a restored cluster from archived WAL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The settings of the recovery, such as `recovery_target_lsn`, with their values.
    pub settings: Vec<(String, String)>,
    /// The folder with the WAL to copy into `pg_wal`, if there are files.
    pub folder: PathBuf,
    /// The names of the files in that folder.
    pub files: Vec<String>,
    /// The end of the recovery.
    pub end: RecoveryEnd,
    /// The position that the recovery passes, if it is known.
    pub reaches: Option<Lsn>,
}

/// The end of the recovery of a restored cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RecoveryEnd {
    /// The target in the settings: the server becomes a primary.
    #[default]
    Target,
    /// None: the server is a standby until it is promoted.
    Never,
}
