//! Aborts a stalled restore: a program that reads no byte while the server shows no activity of
//! ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use longshore_core::quantity::Span;
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use tokio::time::{Instant, sleep};

use crate::landing::maintenance;

/// The maximum time between two queries of the server's activity.
const LOOKS: Duration = Duration::from_secs(30);

/// The query that returns true if a session of ours is active, and waits neither for a lock nor for
/// its client.
const WORKS: &str =
    "select to_json(exists (select from pg_catalog.pg_stat_activity where application_name = 'longshore'
    and pid <> pg_backend_pid() and state = 'active' and wait_event_type is distinct from 'Lock'
    and wait_event is distinct from 'ClientRead'))";

/// Counts the bytes that a program reads.
#[derive(Clone, Default)]
pub(crate) struct Taken(Arc<AtomicU64>);

impl Taken {
    /// Returns the same stream, counting the bytes when they are requested.
    pub(crate) fn count(&self, stream: ByteStream) -> ByteStream {
        let taken = Arc::clone(&self.0);
        let count = move |chunk: &Result<bytes::Bytes>| {
            taken.fetch_add(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64), Ordering::Relaxed);
        };
        stream.inspect(count).boxed()
    }
}

/// Waits for `work` as long as it makes progress. Dropping `work` terminates its program.
pub(crate) async fn wait<T>(
    client: &Client,
    subject: &str,
    limit: Duration,
    taken: &Taken,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let server = maintenance(client, "");
    let stalled = async {
        let (mut last, mut bytes) = (Instant::now(), 0);
        loop {
            sleep(LOOKS.min(limit / 4)).await;
            let now = taken.0.load(Ordering::Relaxed);
            // An unreachable server shows no activity.
            if now != bytes || server.ask(WORKS).await.unwrap_or(false) {
                (last, bytes) = (Instant::now(), now);
            }
            if last.elapsed() >= limit {
                return;
            }
        }
    };
    tokio::select! {
        done = work => done,
        () = stalled => {
            let message = format!("the restore made no progress for {} and was aborted", Span::new(limit));
            Err(Error::new(Stage::Restore, Kind::Unavailable, subject, message)
                .hint("check the target for locks of other sessions (pg_stat_activity), or raise --stall-timeout"))
        }
    }
}
