//! Aborts a stalled restore: a program that reads no byte while the server shows no activity of
//! ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use longshore_core::stream::ByteStream;
use longshore_core::unit::TimeSpan;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use tokio::time::{Instant, sleep};

use crate::target_database::maintenance;

/// The maximum time between two queries of the server's activity.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(30);

/// The query that returns true if a session of ours is active, and waits neither for a lock nor for
/// its client.
const IS_ACTIVE: &str =
    "select to_json(exists (select from pg_catalog.pg_stat_activity where application_name = 'longshore'
    and pid <> pg_backend_pid() and state = 'active' and wait_event_type is distinct from 'Lock'
    and wait_event is distinct from 'ClientRead'))";

/// Counts the bytes that a program reads.
#[derive(Clone, Default)]
pub(crate) struct ReadCounter(Arc<AtomicU64>);

impl ReadCounter {
    /// Returns the same stream, counting the bytes when they are requested.
    pub(crate) fn count(&self, stream: ByteStream) -> ByteStream {
        let read_counter = Arc::clone(&self.0);
        let count = move |chunk: &Result<bytes::Bytes>| {
            read_counter.fetch_add(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64), Ordering::Relaxed);
        };
        stream.inspect(count).boxed()
    }
}

/// Waits for `work` as long as it makes progress. Dropping `work` terminates its program.
pub(crate) async fn wait<T>(
    client: &Client,
    subject: &str,
    limit: Duration,
    read_counter: &ReadCounter,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let server = maintenance(client, "");
    let stalled = async {
        let (mut last, mut bytes) = (Instant::now(), 0);
        loop {
            sleep(MAX_POLL_INTERVAL.min(limit / 4)).await;
            let current_bytes = read_counter.0.load(Ordering::Relaxed);
            // An unreachable server shows no activity.
            if current_bytes != bytes || server.query(IS_ACTIVE).await.unwrap_or(false) {
                (last, bytes) = (Instant::now(), current_bytes);
            }
            if last.elapsed() >= limit {
                return;
            }
        }
    };
    tokio::select! {
        done = work => done,
        () = stalled => {
            let message = format!("the restore made no progress for {} and was aborted", TimeSpan::new(limit));
            Err(Error::new(Stage::Restore, Kind::Unavailable, subject, message)
                .hint("check the target for locks of other sessions (pg_stat_activity), or raise --stall-timeout"))
        }
    }
}
