//! Standbys: servers that replay another's WAL, and cancel a dump that is in the way of it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::check::Finding;
use crate::error::Result;

/// A server whose replay can be paused, if it is a standby.
#[async_trait]
pub trait Standby: Send + Sync {
    /// Looks at the replay. `None`: the server is no standby.
    async fn look(&self) -> Result<Option<Replay>>;

    /// Pauses replay, and waits until no more WAL is replayed. Returns [`Paused::Requested`] if that takes too long: replay
    /// stops then with the next record.
    async fn pause(&self) -> Result<Paused>;

    /// Resumes replay. A server that is no standby any more is no error.
    async fn resume(&self) -> Result<()>;

    /// Looks at the settings by which replay cancels a query that is in its way.
    async fn settings(&self) -> Result<Finding>;

    /// Returns the number of queries of a database that replay has cancelled so far.
    async fn conflicts(&self, database: &str) -> Result<u64>;
}

/// The replay of a standby.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The server process, by the time at which it started: a pause does not outlive it.
    pub server: String,
    /// Whether replay is paused, or was asked to pause.
    pub paused: bool,
    /// Whether the role may pause and resume replay.
    pub may_pause: bool,
    /// Whether replay is as far as WAL was received.
    pub caught_up: bool,
}

/// The result of a request to pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    /// Replay stands still.
    Stopped,
    /// Replay has not come to a stop yet.
    Requested,
}
