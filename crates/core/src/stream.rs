//! The stream between stages, and its contract: **a stream ends cleanly only if its producer
//! succeeded.**
//!
//! A dead child, a failed check, a lost connection, a dropped task: each arrives as an `Err` item,
//! and nothing follows it. [`channel`] ensures this by construction: a [`StreamSender`] that is
//! dropped before [`StreamSender::finish`] fails its stream.

mod buffer_pool;
mod chunks;
mod thread;

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;

use crate::error::{Error, Kind, Result, Stage};

pub use buffer_pool::BufferPool;
pub use chunks::Chunks;
pub use thread::{StreamReader, StreamWriter, combine, take_bytes, tee, transform};

/// A stream of bytes. Ends cleanly only if its producer succeeded. Nothing follows an `Err`.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// The chunk size of stream adapters, in bytes.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// The number of chunks that may wait between two tasks: enough to keep both busy, few enough to
/// bound memory. The reader takes all waiting chunks at once, so that the writer wakes once for all
/// of them; the reader may then hold as many again.
const MAX_WAITING: usize = 4;

/// A cell that a stage fills at the clean end of its stream: the producer sets the value before the
/// end, and the consumer reads it after the end.
#[derive(Debug)]
pub struct OnEnd<T>(Arc<OnceLock<T>>);

impl<T> OnEnd<T> {
    /// Creates a cell without a value.
    pub fn new() -> Self {
        Self(Arc::new(OnceLock::new()))
    }

    /// Sets the value. Later calls have no effect.
    pub fn set(&self, value: T) {
        self.0.get_or_init(|| value);
    }

    /// Returns the value, if the stream has ended cleanly.
    pub fn get(&self) -> Option<&T> {
        self.0.get()
    }
}

impl<T> Clone for OnEnd<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for OnEnd<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns a stream of the given bytes.
pub fn from_bytes(bytes: impl Into<Bytes>) -> ByteStream {
    let bytes = bytes.into();
    if bytes.is_empty() {
        return stream::empty().boxed();
    }
    stream::once(async move { Ok(bytes) }).boxed()
}

/// Returns a stream that fails at once.
pub fn failed(error: Error) -> ByteStream {
    stream::once(async move { Err(error) }).boxed()
}

/// Collects a small stream. More than `limit` bytes is an error of kind [`Kind::Corrupt`].
pub async fn collect(mut stream: ByteStream, limit: usize, stage: Stage, subject: &str) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        if all.len() + chunk.len() > limit {
            return Err(too_large(limit, stage, subject));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}

/// Returns the error of a file that exceeds its size limit.
pub fn too_large(limit: usize, stage: Stage, subject: &str) -> Error {
    let message = format!("larger than {limit} bytes, the maximum for this kind of file");
    Error::new(stage, Kind::Corrupt, subject, message)
}

/// Reads a stream to its end and discards the bytes.
pub async fn drain(mut stream: ByteStream) -> Result<()> {
    while let Some(chunk) = stream.next().await {
        chunk?;
    }
    Ok(())
}

#[derive(Debug)]
enum Item {
    Chunk(Bytes),
    Failed(Error),
    End,
}

/// The writing end of a [`channel`].
///
/// Dropping the sender without [`StreamSender::finish`] or [`StreamSender::fail`] fails the stream,
/// so that a task that panics, is cancelled or returns early never produces a clean end.
#[derive(Debug)]
pub struct StreamSender(mpsc::Sender<Item>);

/// The error of a stream whose reader has closed it.
#[derive(Debug)]
pub struct SendError;

impl StreamSender {
    /// Sends a chunk, and waits while the channel is full.
    pub async fn send(&self, chunk: Bytes) -> Result<(), SendError> {
        self.0.send(Item::Chunk(chunk)).await.map_err(|_| SendError)
    }

    /// Ends the stream cleanly. Call only after the producer has succeeded.
    pub async fn finish(self) -> Result<(), SendError> {
        self.0.send(Item::End).await.map_err(|_| SendError)
    }

    /// Ends the stream with an error.
    pub async fn fail(self, error: Error) -> Result<(), SendError> {
        self.0.send(Item::Failed(error)).await.map_err(|_| SendError)
    }

    /// Waits until the reader closes the stream.
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    /// Forwards all of `stream`, including its end or error.
    pub async fn forward(self, mut stream: ByteStream) -> Result<(), SendError> {
        loop {
            let next = tokio::select! {
                next = stream.next() => next,
                () = self.closed() => return Err(SendError),
            };
            match next {
                Some(Ok(chunk)) => self.send(chunk).await?,
                Some(Err(error)) => return self.fail(error).await,
                None => return self.finish().await,
            }
        }
    }
}

/// Creates a bounded channel whose reading end fulfils the contract of a [`ByteStream`].
pub fn channel() -> (StreamSender, ByteStream) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let stream = stream::unfold(Some((receiver, Vec::new())), |open| async move {
        let (mut receiver, mut ready) = open?;
        if ready.is_empty() {
            receiver.recv_many(&mut ready, MAX_WAITING).await;
            // `pop` takes from the back.
            ready.reverse();
        }
        match ready.pop() {
            Some(Item::Chunk(chunk)) => Some((Ok(chunk), Some((receiver, ready)))),
            Some(Item::Failed(error)) => Some((Err(error), None)),
            Some(Item::End) => None,
            None => Some((Err(producer_dropped()), None)),
        }
    });
    (StreamSender(sender), stream.boxed())
}

fn producer_dropped() -> Error {
    let message = "the stream ended early: its producer stopped before it had finished";
    Error::new(Stage::Dump, Kind::Failed, "", message)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn dropped_sender_is_not_a_clean_end() {
        let (sender, mut stream) = channel();
        sender.send(Bytes::from_static(b"half")).await.unwrap();
        drop(sender);
        assert_eq!(stream.next().await.unwrap().unwrap(), "half");
        assert!(stream.next().await.unwrap().is_err());
        assert!(stream.next().await.is_none());
    }

    /// Covers counts below, at and above the number of chunks that the reader takes at once.
    #[tokio::test]
    async fn chunks_arrive_in_order_before_the_end() {
        for count in [1, MAX_WAITING - 1, MAX_WAITING, MAX_WAITING + 1, 3 * MAX_WAITING] {
            let chunks: Vec<_> = (0..count).map(|number| Bytes::from(number.to_string())).collect();
            for ends_well in [true, false] {
                let (sender, stream) = channel();
                let sending = async {
                    for chunk in chunks.clone() {
                        sender.send(chunk).await.unwrap();
                    }
                    match ends_well {
                        true => sender.finish().await.unwrap(),
                        false => drop(sender),
                    }
                };
                let ((), read) = tokio::join!(sending, stream.collect::<Vec<_>>());
                let (read, ended): (Vec<_>, Vec<_>) = read.into_iter().partition(Result::is_ok);
                assert_eq!(read.into_iter().map(Result::unwrap).collect::<Vec<_>>(), chunks);
                assert_eq!(ended.len(), usize::from(!ends_well));
            }
        }
    }

    #[tokio::test]
    async fn reader_takes_all_waiting_chunks() {
        let (sender, mut stream) = channel();
        let fill = async |count| {
            for _ in 0..count {
                sender.send(Bytes::from_static(b"x")).now_or_never().expect("the channel has room").unwrap();
            }
        };
        fill(MAX_WAITING).await;
        stream.next().await.unwrap().unwrap();
        fill(MAX_WAITING).await;
        assert!(sender.send(Bytes::from_static(b"x")).now_or_never().is_none(), "the channel is full");
    }

    #[tokio::test]
    async fn finished_sender_is_a_clean_end() {
        let (sender, stream) = channel();
        sender.send(Bytes::from_static(b"whole")).await.unwrap();
        sender.finish().await.unwrap();
        let all = collect(stream, 100, Stage::Dump, "").await.unwrap();
        assert_eq!(all, "whole");
    }

    #[tokio::test]
    async fn collect_rejects_large_streams() {
        let error = collect(from_bytes(vec![0; 11]), 10, Stage::Catalog, "x.json").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}
