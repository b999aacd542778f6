//! Standbys: servers that replay WAL, and cancel dumps that conflict with the replay.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::check::Finding;
use crate::error::Result;

/// A server whose replay can be paused, if it is a standby.
#[async_trait]
pub trait Standby: Send + Sync {
    /// Returns the state of the replay, or `None` if the server is not a standby.
    async fn replay_state(&self) -> Result<Option<Replay>>;

    /// Pauses replay, and waits until it has stopped. Returns [`Paused::Requested`] if this takes
    /// too long; replay then stops at the next record.
    async fn pause(&self) -> Result<Paused>;

    /// Resumes replay. Succeeds if the server is no longer a standby.
    async fn resume(&self) -> Result<()>;

    /// Checks the settings by which replay cancels conflicting queries.
    async fn settings(&self) -> Result<Finding>;

    /// Returns the number of queries of a database that replay has cancelled so far.
    async fn conflicts(&self, database: &str) -> Result<u64>;
}

/// The replay of a standby.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The server process, identified by its start time: a pause ends with it.
    pub server: String,
    /// True if replay is paused or a pause was requested.
    pub paused: bool,
    /// True if the role may pause and resume replay.
    pub may_pause: bool,
    /// True if all received WAL is replayed.
    pub caught_up: bool,
}

/// The result of a request to pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    /// Replay has stopped.
    Stopped,
    /// Replay has not stopped yet.
    Requested,
}
