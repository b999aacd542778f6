//! Telling a destination that stalls from a source that is slow: it stalls when there are bytes for it and it does not ask for more.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::stream::ByteStream;

/// What a destination may take to make durable what it was given, in bytes per second: a disk that is slow, and busy besides.
const SETTLING_RATE: u64 = 1 << 20;

/// Whose turn it is.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// The source's, since it was asked.
    Source,
    /// The destination's, since then: it was given bytes, or nothing yet.
    Destination(Instant),
    /// The destination's, since then, and for the last time.
    Settle(Instant),
}

/// Who watches a body on its way.
pub(super) struct Watch(Arc<Mutex<State>>);

struct State {
    turn: Turn,
    bytes: u64,
}

impl State {
    fn given(&mut self, turn: Turn, bytes: usize) {
        self.turn = turn;
        self.bytes += bytes as u64;
    }
}

/// The same body, under watch.
pub(super) fn watch(mut body: ByteStream) -> (ByteStream, Watch) {
    let state = Arc::new(Mutex::new(State { turn: Turn::Destination(Instant::now()), bytes: 0 }));
    let seen = Arc::clone(&state);
    let body = stream::poll_fn(move |context| {
        lock(&seen).turn = Turn::Source;
        let polled = body.poll_next_unpin(context);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(chunk))) => lock(&seen).given(Turn::Destination(Instant::now()), chunk.len()),
            Poll::Ready(Some(Err(_)) | None) => lock(&seen).given(Turn::Settle(Instant::now()), 0),
        }
        polled
    });
    (body.boxed(), Watch(state))
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    // Nothing is done under the lock that could leave it half done.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Waits until the destination has stalled for `limit`, and says how. One that only begins its work once it has all is not
    /// expected to settle in time.
    pub(super) async fn until_stalled(self, limit: Duration, settles: bool) -> &'static str {
        loop {
            let now = Instant::now();
            let (since, limit, what) = {
                let state = lock(&self.0);
                match state.turn {
                    Turn::Source => (now, limit, ""),
                    Turn::Destination(since) => (since, limit, "took nothing"),
                    Turn::Settle(_) if !settles => (now, limit, ""),
                    Turn::Settle(since) => (
                        since,
                        limit + Duration::from_secs(state.bytes / SETTLING_RATE),
                        "did not make durable what it has",
                    ),
                }
            };
            if now >= since + limit {
                return what;
            }
            tokio::time::sleep_until(since + limit).await;
        }
    }
}
