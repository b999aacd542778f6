//! Servers whose WAL is received while they write it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::base::Lsn;
use crate::error::Result;

/// A server that streams its WAL by a physical replication slot.
#[async_trait]
pub trait WalSource: Send + Sync {
    /// Connects to the server. Fails with [`Unavailable`](crate::error::Kind::Unavailable) if a
    /// later attempt may succeed.
    async fn connect(&self) -> Result<Box<dyn WalConnection>>;
}

/// A connection before the stream. Dropping it closes the connection.
#[async_trait]
pub trait WalConnection: Send {
    /// Returns the facts of the server.
    fn server(&self) -> &WalServer;

    /// Returns a slot, or `None` if there is none of this name.
    async fn slot(&mut self, name: &str) -> Result<Option<WalSlot>>;

    /// Creates a permanent slot that reserves WAL from now on.
    async fn create_slot(&mut self, name: &str) -> Result<()>;

    /// Returns the content of the history of a timeline. The first timeline has none.
    async fn history(&mut self, timeline: u32) -> Result<Bytes>;

    /// Starts the stream of a timeline from a position on. The error has the SQLSTATE of the
    /// server.
    async fn start(self: Box<Self>, slot: &str, from: Lsn, timeline: u32) -> Result<Box<dyn WalStream>>;
}

/// WAL from a position on. Dropping it closes the connection.
#[async_trait]
pub trait WalStream: Send {
    /// Returns the next part of the stream. If the future is dropped, nothing is lost. Fails with
    /// [`Unavailable`](crate::error::Kind::Unavailable) if the connection is lost.
    async fn next(&mut self) -> Result<WalPart>;

    /// Reports that all WAL before a position is durable, and requests an answer of the server, if
    /// wanted. The server may then remove this WAL. With 0/0, nothing is durable yet.
    async fn report(&mut self, durable: Lsn, answer: Answer) -> Result<()>;

    /// Ends the session. Without it, the server logs a lost connection.
    async fn close(self: Box<Self>) -> Result<()>;
}

/// A part of a stream of WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalPart {
    /// WAL that follows the part before.
    Data {
        /// The position of the first byte.
        start: Lsn,
        /// The WAL.
        bytes: Bytes,
    },
    /// A sign of life.
    Keepalive {
        /// The end of the WAL at the server.
        end: Lsn,
        /// True if the server wants a report at once. A server that shuts down wants reports until
        /// all WAL is durable.
        wants_report: bool,
    },
    /// The end of the timeline. No further part follows.
    End {
        /// The next timeline.
        next_timeline: u32,
        /// The position at which the next timeline begins.
        switch_point: Lsn,
    },
}

/// An answer to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The server need not answer.
    Unneeded,
    /// The server answers at once, as a proof that it still receives.
    Needed,
}

/// Facts of a server that streams WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalServer {
    /// The system identifier of the cluster.
    pub system_identifier: u64,
    /// The size of a segment in bytes.
    pub segment_bytes: u64,
    /// The current timeline.
    pub timeline: u32,
    /// The time without a report after which the server closes the connection, if it is limited.
    pub timeout: Option<Duration>,
}

/// A physical replication slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalSlot {
    /// The oldest WAL that the slot reserves, and its timeline. `None` if it reserves none, such as
    /// after the server has invalidated the slot.
    pub reserved: Option<(Lsn, u32)>,
}
