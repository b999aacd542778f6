//! The stream between stages, and its promise: **it ends cleanly only if its producer succeeded.**
//!
//! A dead child, a failed check, a lost connection, a task that was dropped: each arrives as an `Err` item, after
//! which nothing follows. [`channel`] makes that hold by construction, since a [`Feeder`] that is dropped before
//! [`Feeder::finish`] fails its stream.

use std::io::{self, Read, Write};
use std::sync::{Arc, OnceLock};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;

use crate::error::{Error, Kind, Result, Stage};

/// Bytes on their way. Ends cleanly only if its producer succeeded; after an `Err` nothing follows.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// The size, in bytes, that adapters cut their chunks to.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// How many chunks may wait between two tasks: enough to keep both busy, few enough to bound memory.
pub const CHUNKS_IN_FLIGHT: usize = 4;

/// What a stage says once its stream has ended cleanly: set by the producer before the end, read by the consumer after.
#[derive(Debug)]
pub struct Afterword<T>(Arc<OnceLock<T>>);

impl<T> Afterword<T> {
    /// An afterword that nobody has spoken yet.
    pub fn new() -> Self {
        Self(Arc::new(OnceLock::new()))
    }

    /// Speaks it. The first to speak is heard.
    pub fn set(&self, value: T) {
        self.0.get_or_init(|| value);
    }

    /// What was said, if the stream has ended cleanly.
    pub fn get(&self) -> Option<&T> {
        self.0.get()
    }
}

impl<T> Clone for Afterword<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Afterword<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A stream of bytes that are at hand.
pub fn from_bytes(bytes: impl Into<Bytes>) -> ByteStream {
    let bytes = bytes.into();
    if bytes.is_empty() {
        return stream::empty().boxed();
    }
    stream::once(async move { Ok(bytes) }).boxed()
}

/// A stream that fails at once.
pub fn failed(error: Error) -> ByteStream {
    stream::once(async move { Err(error) }).boxed()
}

/// Collects a stream that is known to be small; more than `limit` bytes is an error of kind [`Kind::Corrupt`].
pub async fn collect(mut stream: ByteStream, limit: usize, stage: Stage, subject: &str) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        if all.len() + chunk.len() > limit {
            let message = format!("larger than {limit} bytes, which no file of this kind is");
            return Err(Error::new(stage, Kind::Corrupt, subject, message));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}

/// Reads a stream to its end, for the end's sake.
pub async fn drain(mut stream: ByteStream) -> Result<()> {
    while let Some(chunk) = stream.next().await {
        chunk?;
    }
    Ok(())
}

enum Item {
    Chunk(Bytes),
    Failed(Error),
    End,
}

/// The writing end of a [`channel`].
///
/// Whoever drops it without [`Feeder::finish`] or [`Feeder::fail`] fails the stream: a task that panics, is cancelled or returns early
/// can never look like a clean end.
#[derive(Debug)]
pub struct Feeder(mpsc::Sender<Item>);

/// Nobody reads the stream any more.
#[derive(Debug)]
pub struct Unread;

impl Feeder {
    /// Passes a chunk on, waiting until there is room.
    pub async fn feed(&self, chunk: Bytes) -> Result<(), Unread> {
        self.0.send(Item::Chunk(chunk)).await.map_err(|_| Unread)
    }

    /// Ends the stream cleanly. Only for a producer that has succeeded.
    pub async fn finish(self) -> Result<(), Unread> {
        self.0.send(Item::End).await.map_err(|_| Unread)
    }

    /// Ends the stream with an error.
    pub async fn fail(self, error: Error) -> Result<(), Unread> {
        self.0.send(Item::Failed(error)).await.map_err(|_| Unread)
    }

    /// Resolves when nobody reads the stream any more.
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    /// Passes all of `stream` on, and its end or error.
    pub async fn pass_on(self, mut stream: ByteStream) -> Result<(), Unread> {
        loop {
            let next = tokio::select! {
                next = stream.next() => next,
                () = self.closed() => return Err(Unread),
            };
            match next {
                Some(Ok(chunk)) => self.feed(chunk).await?,
                Some(Err(error)) => return self.fail(error).await,
                None => return self.finish().await,
            }
        }
    }
}

/// A bounded channel whose reading end keeps the promise of a [`ByteStream`].
pub fn channel() -> (Feeder, ByteStream) {
    let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let stream = stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Item::Chunk(chunk)) => Some((Ok(chunk), Some(receiver))),
            Some(Item::Failed(error)) => Some((Err(error), None)),
            Some(Item::End) => None,
            None => Some((Err(producer_went_away()), None)),
        }
    });
    (Feeder(sender), stream.boxed())
}

fn producer_went_away() -> Error {
    let message = "the stream was cut: its producer went away before it had finished";
    Error::new(Stage::Dump, Kind::Failed, "", message)
}

/// Runs `stream` in a task of its own, so that its work and its reader's overlap.
pub fn spawn(stream: ByteStream) -> ByteStream {
    let (feeder, spawned) = channel();
    tokio::spawn(feeder.pass_on(stream));
    spawned
}

/// Runs a blocking filter on a thread of its own: `work` reads the input as a [`Read`] and writes the output to a [`Write`].
///
/// The reader's end of file means that the input ended cleanly; any failure of the input is a read error. An error that
/// `work` returns becomes the stream's: the input's own where it was one, else the one that `wrap` makes of it.
pub fn transform<W, M>(input: ByteStream, wrap: M, work: W) -> ByteStream
where
    W: FnOnce(&mut StreamReader, &mut StreamWriter) -> io::Result<()> + Send + 'static,
    M: FnOnce(io::Error) -> Error + Send + 'static,
{
    let (out, output) = channel();
    let (inward, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let reader_gone = out.0.clone();
    tokio::spawn(async move {
        tokio::select! {
            // Either the worker or the reader of its output has gone; the input is dropped with this task.
            _ = Feeder(inward).pass_on(input) => {}
            () = reader_gone.closed() => {}
        }
    });
    tokio::task::spawn_blocking(move || {
        let mut reader = StreamReader { receiver, chunk: Bytes::new(), ended: false };
        let mut writer = StreamWriter { sender: out.0, pending: BytesMut::with_capacity(CHUNK_BYTES) };
        let done = work(&mut reader, &mut writer).and_then(|()| writer.flush());
        let last = match done {
            Ok(()) => Item::End,
            Err(error) => Item::Failed(Error::carried_by(&error).cloned().unwrap_or_else(|| wrap(error))),
        };
        // A reader that has gone wants no last word.
        drop(writer.sender.blocking_send(last));
    });
    output
}

/// A stream as a blocking [`Read`], inside [`transform`].
#[derive(Debug)]
pub struct StreamReader {
    receiver: mpsc::Receiver<Item>,
    chunk: Bytes,
    ended: bool,
}

impl Read for StreamReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Item::Chunk(chunk)) => self.chunk = chunk,
                Some(Item::End) => self.ended = true,
                Some(Item::Failed(error)) => return Err(error.into()),
                None => return Err(producer_went_away().into()),
            }
        }
        let length = buf.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buf[..length]);
        Ok(length)
    }
}

/// The other end of a stream as a blocking [`Write`], inside [`transform`].
#[derive(Debug)]
pub struct StreamWriter {
    sender: mpsc::Sender<Item>,
    pending: BytesMut,
}

impl Write for StreamWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(buf);
        if self.pending.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.pending, BytesMut::with_capacity(CHUNK_BYTES));
        let sent = self.sender.blocking_send(Item::Chunk(full.freeze()));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads the stream any more"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_feeder_is_never_a_clean_end() {
        let (feeder, mut stream) = channel();
        feeder.feed(Bytes::from_static(b"half")).await.unwrap();
        drop(feeder);
        assert_eq!(stream.next().await.unwrap().unwrap(), "half");
        assert!(stream.next().await.unwrap().is_err());
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_finished_feeder_is_a_clean_end() {
        let (feeder, stream) = channel();
        feeder.feed(Bytes::from_static(b"whole")).await.unwrap();
        feeder.finish().await.unwrap();
        let all = collect(stream, 100, Stage::Dump, "").await.unwrap();
        assert_eq!(all, "whole");
    }

    fn shout(input: ByteStream) -> ByteStream {
        let wrap = |error| Error::io(Stage::Compress, "", "shouting failed", error);
        transform(input, wrap, |reader, writer| {
            let mut text = String::new();
            reader.read_to_string(&mut text)?;
            writer.write_all(text.to_uppercase().as_bytes())
        })
    }

    #[tokio::test]
    async fn a_transform_passes_bytes_and_a_clean_end() {
        let all = collect(shout(from_bytes("hello")), 100, Stage::Dump, "").await.unwrap();
        assert_eq!(all, "HELLO");
    }

    #[tokio::test]
    async fn a_transform_passes_its_inputs_error_on_unchanged() {
        let lost = Error::new(Stage::Dump, Kind::Unavailable, "appdb", "connection lost");
        let error = collect(shout(failed(lost)), 100, Stage::Dump, "").await.unwrap_err();
        assert_eq!((error.stage(), error.kind()), (Stage::Dump, Kind::Unavailable));
    }

    #[tokio::test]
    async fn a_transform_whose_worker_panics_is_never_a_clean_end() {
        let wrap = |error| Error::io(Stage::Compress, "", "failed", error);
        let output = transform(from_bytes("x"), wrap, |_, _| panic!("a bug"));
        assert!(collect(output, 100, Stage::Dump, "").await.is_err());
    }

    #[tokio::test]
    async fn dropping_the_output_drops_the_input() {
        let (feeder, input) = channel();
        drop(shout(input));
        tokio::time::timeout(std::time::Duration::from_secs(5), feeder.closed()).await.unwrap();
    }

    #[tokio::test]
    async fn what_should_be_small_is_bounded() {
        let error = collect(from_bytes(vec![0; 11]), 10, Stage::Catalog, "x.json").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}
