//! Receiving WAL while the server writes it, by a physical replication slot.
//!
//! The files and their keys are those of [`push`](crate::wal::push), so both may run at once. The
//! server is informed only of WAL that is durable at every required destination: until then, its
//! slot reserves the WAL, and transactions that wait for the receiver do not return.
//!
//! | file | contents |
//! | --- | --- |
//! | `receiver.rs` | the streams of one receiver: slot, histories, timelines |
//! | `start.rs` | the segment with which a stream starts |
//! | `session.rs` | a stream while it runs |
//! | `lock.rs` | the lock of a receiver |
//! | `assembly.rs` | the segment that is being received |
//! | `storage.rs` | storing, until the destinations have a file |

mod assembly;
mod lock;
mod receiver;
mod session;
mod start;
mod storage;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{LocalBoxFuture, Shared};
use longshore_config::{Config, WalArchive};
use longshore_core::base::Lsn;
use longshore_core::retry::{Retries, lasting};
use longshore_core::stage::{Dump, WalConnection, WalSource};
use longshore_core::wal_key::WalFolder;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::ArchiveName;
use longshore_pg_wal::segment::SegmentSize;
use tokio::time::sleep;

use self::receiver::Receiver;
use self::session::Ended;
use self::storage::Storage;
use crate::wal::inventory::Gap;

pub use self::lock::{claim, holder};

/// The time in which the last WAL is stored after a stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Ready when the receiver is to stop.
pub type Stop = Shared<LocalBoxFuture<'static, ()>>;

/// The settings of a receiver.
#[derive(Debug, Clone)]
pub struct ReceiveOptions {
    /// The name of the replication slot.
    pub slot: String,
    /// The handling of a slot that does not exist.
    pub missing_slot: MissingSlot,
    /// The times at which the unfinished segment is stored.
    pub partials: Partials,
}

/// The handling of a slot that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingSlot {
    /// The receiver fails.
    Fail,
    /// The receiver creates the slot.
    Create,
}

/// The times at which the unfinished segment is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partials {
    /// So much time after WAL has arrived.
    Every(Duration),
    /// As soon as WAL arrives, because transactions wait for it.
    AtOnce,
}

/// An event that an operator should know.
#[derive(Debug)]
pub enum ReceiveEvent<'a> {
    /// The slot was created.
    SlotCreated,
    /// A stream started.
    Started {
        /// The name of the first segment.
        segment: &'a str,
    },
    /// The archive lacks segments that the server does not have any more.
    Missing(&'a Gap),
    /// The server has begun another timeline.
    TimelineEnded {
        /// The timeline that ended.
        timeline: u32,
        /// The next timeline.
        next: u32,
        /// The position at which it begins.
        switch_point: Lsn,
    },
    /// A segment has damaged records, and was stored as it is.
    Damaged {
        /// The name of the segment.
        name: ArchiveName,
        /// The damage.
        damage: &'a str,
    },
    /// A destination fails, and did not before.
    NotStored {
        /// The name of the file.
        name: ArchiveName,
        /// The name of the destination.
        destination: &'a str,
        /// The reason.
        error: &'a Error,
        /// True if the receiver waits until the destination has the file.
        is_required: bool,
    },
    /// A destination that failed does not fail any more.
    StoredAgain {
        /// The name of the destination.
        destination: &'a str,
    },
    /// A destination cannot be listed, so its WAL may be received again.
    NotListed {
        /// The name of the destination.
        destination: &'a str,
        /// The reason.
        error: &'a Error,
    },
    /// The server cannot be reached, and could before.
    Disconnected(&'a Error),
    /// The server can be reached again.
    Reconnected,
    /// The last WAL that was received could not be stored in time. The server still has it.
    Abandoned,
}

/// The connections to a server, one after another.
struct Connections<'a> {
    source: &'a dyn WalSource,
    retries: Retries,
    observer: &'a dyn Fn(ReceiveEvent<'_>),
    stop: &'a Stop,
    /// True from a failure until the next stream starts.
    is_disconnected: &'a Cell<bool>,
}

/// Receives WAL until the receiver is stopped.
///
/// # Errors
///
/// Fails if the slot does not exist, or if the server does not have its WAL any more. A connection
/// or a destination that fails is tried again.
pub async fn receive(
    archive: (&Config, &WalArchive),
    options: &ReceiveOptions,
    stop: &Stop,
    observer: &dyn Fn(ReceiveEvent<'_>),
) -> Result<()> {
    let dumps = dumps(archive);
    let source = dumps.iter().find_map(|dump| dump.wal_source()).ok_or_else(|| {
        let message = "no job makes base backups of this cluster with Longshore's own client, which receives WAL";
        Error::new(Stage::Config, Kind::Usage, &archive.1.cluster, message)
            .hint("add a job with dump = [{ type = \"pg_base\" }]: WAL alone cannot be restored")
    })?;
    let retries = Retries::new(&archive.1.cluster, lasting());
    let is_disconnected = Cell::new(false);
    let is_disconnected = &is_disconnected;
    let connections = Connections { source, retries, observer, stop, is_disconnected };
    let stopped = async {
        stop.clone().await;
        sleep(STOP_TIMEOUT).await;
    };
    tokio::select! {
        received = run(archive, options, connections) => received,
        () = stopped => {
            observer(ReceiveEvent::Abandoned);
            Ok(())
        }
    }
}

/// Returns the dump stages of the jobs of the archive's cluster.
fn dumps((config, settings): (&Config, &WalArchive)) -> Vec<Arc<dyn Dump>> {
    let of_cluster = config.jobs.values().filter(|job| job.site.cluster.name == settings.cluster);
    let dumps = of_cluster.flat_map(|job| job.dump.iter().map(|dump| dump(&job.site)));
    dumps.filter_map(|dump| dump.map(Arc::from).ok()).collect()
}

async fn run(
    archive: (&Config, &WalArchive),
    options: &ReceiveOptions,
    mut connections: Connections<'_>,
) -> Result<()> {
    let (source, observer, stop) = (connections.source, connections.observer, connections.stop);
    let Some(connection) = connections.next().await? else { return Ok(()) };
    let server = connection.server();
    let size = SegmentSize::new(server.segment_bytes).map_err(|error| {
        Error::new(Stage::Connect, Kind::Failed, &archive.1.cluster, "segments of no valid size").because(error)
    })?;
    let folder = WalFolder { cluster: archive.1.cluster.clone(), system_identifier: server.system_identifier };
    let storage = Storage::open(archive, folder, size, observer)?;
    let mut receiver = Receiver::new(&storage, source, options, connections.is_disconnected);
    let mut connection = Some(connection);
    loop {
        let connection = match connection.take() {
            Some(connection) => connection,
            None => match connections.next().await? {
                Some(connection) => connection,
                None => return Ok(()),
            },
        };
        let error = match receiver.receive(connection, stop).await {
            Ok(Ended::Stopped) => return Ok(()),
            Ok(Ended::Timeline { .. }) => continue,
            Ok(Ended::Failed(error)) => error,
            Err(error) if error.kind() == Kind::Unavailable => error,
            Err(error) => return Err(error),
        };
        if receiver.has_received() {
            connections.retries.reset();
        }
        if connections.pause(&error).await.is_none() {
            return Ok(());
        }
    }
}

impl Connections<'_> {
    /// Returns the next connection, or `None` if the receiver is stopped before.
    async fn next(&mut self) -> Result<Option<Box<dyn WalConnection>>> {
        loop {
            let connected = tokio::select! {
                connected = self.source.connect() => connected,
                () = self.stop.clone() => return Ok(None),
            };
            match connected {
                Ok(connection) => {
                    return Ok(Some(connection));
                }
                Err(error) if error.kind() == Kind::Unavailable => {
                    if self.pause(&error).await.is_none() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits before the next connection. Returns `None` if the receiver is stopped before.
    async fn pause(&mut self, error: &Error) -> Option<()> {
        if !self.is_disconnected.replace(true) {
            (self.observer)(ReceiveEvent::Disconnected(error));
        }
        tokio::select! {
            _ = self.retries.pause(error) => Some(()),
            () = self.stop.clone() => None,
        }
    }
}
