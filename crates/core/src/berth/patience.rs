//! Detection of a stalled destination, as opposed to a slow source: a destination stalls if it does
//! not ask for more bytes although it has received all that were ready.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::stream::ByteStream;

/// The minimum rate in bytes per second at which a destination makes an upload durable: that of a
/// slow, busy disk.
const SETTLING_RATE: u64 = 1 << 20;

/// The side that an upload is waiting for.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// The source, which was asked for bytes.
    Source,
    /// The destination, which was given its last chunk (or nothing yet) at this time.
    Destination(Instant),
    /// The destination, which received the end of the body at this time.
    Settle(Instant),
}

/// The monitor of an upload.
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

/// Returns the same body, monitored.
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
    // No panic can leave the state half updated, so a poisoned lock is safe to use.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Waits until the destination has stalled for `limit`, and returns a description of the stall.
    /// With `settles` false, the destination begins its work after the end of the body, and the
    /// time after the end is not limited.
    pub(super) async fn until_stalled(self, limit: Duration, settles: bool) -> &'static str {
        loop {
            let now = Instant::now();
            let (since, limit, what) = {
                let state = lock(&self.0);
                match state.turn {
                    Turn::Source => (now, limit, ""),
                    Turn::Destination(since) => (since, limit, "accepted no data"),
                    Turn::Settle(_) if !settles => (now, limit, ""),
                    Turn::Settle(since) => {
                        (since, limit + Duration::from_secs(state.bytes / SETTLING_RATE), "did not complete the upload")
                    }
                }
            };
            if now >= since + limit {
                return what;
            }
            tokio::time::sleep_until(since + limit).await;
        }
    }
}
