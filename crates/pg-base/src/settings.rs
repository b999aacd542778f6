//! Settings of every stage that takes base backups.

use serde::Deserialize;

/// The location of the WAL that makes a backup consistent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wal {
    /// The backup includes the WAL.
    #[default]
    Include,
    /// The WAL is in the archive of the cluster.
    Archive,
}

/// The speed of the checkpoint at the beginning of a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checkpoint {
    /// As fast as possible, at the cost of the server's other work.
    Fast,
    /// Spread over minutes by `checkpoint_completion_target`, as pg_basebackup does by default.
    #[default]
    Spread,
}

/// The handling of pages whose checksum is wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DamagedPages {
    /// The pages are checked, and a wrong checksum fails the dump after its last byte.
    #[default]
    Fail,
    /// The backup contains the pages as they are, and the verifier records them.
    Record,
}
