//! Blocking work on a stream, on a thread of its own, with the stream as a reader.

use std::io::{self, BufRead, Read, Write};
use std::mem;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::{BufferPool, ByteStream, CHUNK_BYTES, Item, MAX_WAITING, OnEnd, StreamSender, channel, producer_dropped};
use crate::cleanup::inherit;
use crate::error::{Error, Kind, Result, Stage};

/// Runs a blocking filter on a thread of its own: `work` reads the input from a [`Read`] and writes
/// the output to a [`Write`].
///
/// End of file means that the input ended cleanly; any failure of the input is a read error. An
/// error of `work` becomes the error of the stream: the input's own error if it was one, else the
/// result of `wrap`.
pub fn transform<W, M>(input: ByteStream, wrap: M, work: W) -> ByteStream
where
    W: FnOnce(&mut StreamReader, &mut StreamWriter) -> io::Result<()> + Send + 'static,
    M: FnOnce(io::Error) -> Error + Send + 'static,
{
    let (out, output) = channel();
    let mut reader = reader_of(input, &out.0);
    spawn_worker(out, wrap, move |writer| work(&mut reader, writer));
    output
}

/// Runs a blocking filter of two inputs like [`transform`]. The inputs may be read in any order,
/// and need not be read to their ends.
pub fn combine<W, M>(inputs: (ByteStream, ByteStream), wrap: M, work: W) -> ByteStream
where
    W: FnOnce((&mut StreamReader, &mut StreamReader), &mut StreamWriter) -> io::Result<()> + Send + 'static,
    M: FnOnce(io::Error) -> Error + Send + 'static,
{
    let (out, output) = channel();
    let (mut first, mut second) = (reader_of(inputs.0, &out.0), reader_of(inputs.1, &out.0));
    spawn_worker(out, wrap, move |writer| work((&mut first, &mut second), writer));
    output
}

/// Returns the input of a worker as a reader. The task behind it ends with the worker or with the
/// reader of the worker's output.
fn reader_of(input: ByteStream, output: &mpsc::Sender<Item>) -> StreamReader {
    let (input_sender, receiver) = mpsc::channel(MAX_WAITING);
    let output = output.clone();
    tokio::spawn(inherit(async move {
        tokio::select! {
            // Either the worker or the reader of its output has ended. This task drops the input.
            _ = StreamSender(input_sender).forward(input) => {}
            () = output.closed() => {}
        }
    }));
    StreamReader::new(receiver)
}

/// Runs a worker on a thread of its own.
fn spawn_worker<M>(out: StreamSender, wrap: M, work: impl FnOnce(&mut StreamWriter) -> io::Result<()> + Send + 'static)
where
    M: FnOnce(io::Error) -> Error + Send + 'static,
{
    tokio::task::spawn_blocking(move || {
        let mut writer = StreamWriter::new(out.0);
        let done = work(&mut writer).and_then(|()| writer.flush());
        let last = match done {
            Ok(()) => Item::End,
            Err(error) => Item::Failed(Error::carried_by(&error).cloned().unwrap_or_else(|| wrap(error))),
        };
        // The send fails only if the reader has closed the stream.
        drop(writer.sender.blocking_send(last));
    });
}

/// A stream as a blocking [`Read`], inside [`transform`].
#[derive(Debug)]
pub struct StreamReader {
    receiver: mpsc::Receiver<Item>,
    /// The items received together with the chunk, in reverse order.
    queued: Vec<Item>,
    chunk: Bytes,
    ended: bool,
    waited: Duration,
}

impl StreamReader {
    fn new(receiver: mpsc::Receiver<Item>) -> Self {
        Self { receiver, queued: Vec::new(), chunk: Bytes::new(), ended: false, waited: Duration::ZERO }
    }

    /// Returns the total time spent waiting for bytes.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Returns the next `wanted` bytes contiguously, or all remaining ones. Copies nothing if one
    /// chunk contains them.
    pub fn take_bytes(&mut self, wanted: usize) -> io::Result<Bytes> {
        if self.fill_buf()?.len() >= wanted {
            return Ok(self.chunk.split_to(wanted));
        }
        take_bytes(self, wanted)
    }

    /// Waits for the next chunk or the end.
    fn next_chunk(&mut self) -> io::Result<()> {
        while self.chunk.is_empty() && !self.ended {
            if self.queued.is_empty() {
                let begun = Instant::now();
                self.receiver.blocking_recv_many(&mut self.queued, MAX_WAITING);
                self.waited += begun.elapsed();
                self.queued.reverse();
            }
            match self.queued.pop() {
                Some(Item::Chunk(chunk)) => self.chunk = chunk,
                Some(Item::End) => self.ended = true,
                Some(Item::Failed(error)) => return Err(error.into()),
                None => return Err(producer_dropped().into()),
            }
        }
        Ok(())
    }
}

/// Returns the next `wanted` bytes of a reader contiguously, or all remaining ones.
pub fn take_bytes(reader: &mut (impl BufRead + ?Sized), wanted: usize) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(wanted);
    while bytes.len() < wanted {
        let ready = reader.fill_buf()?;
        if ready.is_empty() {
            break;
        }
        let taken = ready.len().min(wanted - bytes.len());
        bytes.extend_from_slice(&ready[..taken]);
        reader.consume(taken);
    }
    Ok(bytes.into())
}

impl BufRead for StreamReader {
    // Archive readers call this for every row, and the chunk is seldom empty.
    #[inline]
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() {
            self.next_chunk()?;
        }
        Ok(&self.chunk)
    }

    #[inline]
    fn consume(&mut self, bytes: usize) {
        self.chunk.advance(bytes);
    }
}

impl Read for StreamReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.fill_buf()?;
        let length = buf.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buf[..length]);
        Ok(length)
    }
}

/// The output of a stream as a blocking [`Write`], inside [`transform`].
#[derive(Debug)]
pub struct StreamWriter {
    sender: mpsc::Sender<Item>,
    pool: BufferPool,
    pending: Vec<u8>,
    chunks: u64,
    waited: Duration,
}

impl StreamWriter {
    fn new(sender: mpsc::Sender<Item>) -> Self {
        Self { sender, pool: BufferPool::default(), pending: Vec::new(), chunks: 0, waited: Duration::ZERO }
    }

    /// Returns the total time spent waiting for the reader.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Returns the number of chunks sent so far.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Sends a chunk without copying it, after the bytes written before.
    pub fn write_chunk(&mut self, chunk: Bytes) -> io::Result<()> {
        self.flush()?;
        if chunk.is_empty() {
            return Ok(());
        }
        self.send(chunk)
    }

    fn send(&mut self, chunk: Bytes) -> io::Result<()> {
        let begun = Instant::now();
        let sent = self.sender.blocking_send(Item::Chunk(chunk));
        self.waited += begun.elapsed();
        self.chunks += 1;
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the reader closed the stream"))
    }

    /// Sends all bytes of `reader` up to its first end, without an extra copy. Bytes that a decoder
    /// returns after that end belong to another frame.
    pub fn copy_from(&mut self, reader: &mut impl Read) -> io::Result<()> {
        loop {
            // `read_to_end` would begin with small reads each time.
            let (mut chunk, mut filled) = (self.pool.take(), 0);
            chunk.resize(CHUNK_BYTES, 0);
            while filled < CHUNK_BYTES {
                match reader.read(&mut chunk[filled..]) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            chunk.truncate(filled);
            self.write_chunk(self.pool.freeze(chunk))?;
            if filled < CHUNK_BYTES {
                return Ok(());
            }
        }
    }
}

impl Write for StreamWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.pending.is_empty() {
            self.pending = self.pool.take();
            self.pending.clear();
            self.pending.reserve(CHUNK_BYTES);
        }
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
        let full = mem::take(&mut self.pending);
        self.send(self.pool.freeze(full))
    }
}

/// Passes `input` on while `work` reads the same bytes on a thread of its own, and fails the stream
/// if `work` fails. The result of `work` is known once the stream has ended cleanly. `work` must
/// read to the end of file, which means that the input ended cleanly.
pub fn tee<T, W>(mut input: ByteStream, subject: String, work: W) -> (ByteStream, OnEnd<T>)
where
    T: Send + Sync + 'static,
    W: FnOnce(&mut StreamReader) -> Result<T> + Send + 'static,
{
    let result = OnEnd::new();
    let on_end = result.clone();
    let stream = async_stream::try_stream! {
        let (tap, receiver) = mpsc::channel(MAX_WAITING);
        let worker = tokio::task::spawn_blocking(move || {
            let mut reader = StreamReader::new(receiver);
            work(&mut reader).map(|done| (done, reader.ended))
        });
        while let Some(chunk) = input.next().await {
            let chunk = chunk?;
            if tap.send(Item::Chunk(chunk.clone())).await.is_err() {
                break;
            }
            yield chunk;
        }
        // The send fails only if the worker has ended. A worker that ended early is detected below.
        drop(tap.send(Item::End).await);
        let unfinished = || Error::new(Stage::Verify, Kind::Failed, subject.clone(), "the verifier stopped before the end of the stream");
        let (done, ended) = worker.await.map_err(|error| unfinished().because(error))??;
        if !ended {
            Err(unfinished())?;
        }
        on_end.set(done);
    };
    (stream.boxed(), result)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::super::{collect, failed, from_bytes};
    use super::*;

    fn uppercase(input: ByteStream) -> ByteStream {
        let wrap = |error| Error::io(Stage::Compress, "", "shouting failed", error);
        transform(input, wrap, |reader, writer| {
            let mut text = String::new();
            reader.read_to_string(&mut text)?;
            writer.write_all(text.to_uppercase().as_bytes())
        })
    }

    #[tokio::test]
    async fn a_transform_passes_bytes_and_a_clean_end() {
        let all = collect(uppercase(from_bytes("hello")), 100, Stage::Dump, "").await.unwrap();
        assert_eq!(all, "HELLO");
    }

    /// Takes `wanted` contiguous bytes repeatedly, and returns the pieces and the error at the end.
    async fn taken(input: ByteStream, wanted: usize) -> (Vec<Bytes>, Option<Error>) {
        let wrap = |error| Error::io(Stage::Compress, "", "taking failed", error);
        let mut output = transform(input, wrap, move |reader, writer| {
            loop {
                let bytes = reader.take_bytes(wanted)?;
                if bytes.is_empty() {
                    return Ok(());
                }
                writer.write_chunk(bytes)?;
            }
        });
        let mut taken = Vec::new();
        loop {
            match output.next().await {
                Some(Ok(bytes)) => taken.push(bytes),
                Some(Err(error)) => return (taken, Some(error)),
                None => return (taken, None),
            }
        }
    }

    #[tokio::test]
    async fn take_bytes_spans_chunks() {
        let chunk = Bytes::from_static(b"abcdef");
        let chunks = [chunk.clone(), Bytes::new(), chunk.slice(..1), chunk.slice(1..)];
        let input = || stream::iter(chunks.clone().map(Ok)).boxed();
        let (across, ended) = taken(input(), 5).await;
        assert_eq!((across, ended.is_none()), (vec!["abcde".into(), "fabcd".into(), "ef".into()], true));
        let (within, _) = taken(input(), 3).await;
        assert_eq!(within, ["abc", "def", "abc", "def"]);
        assert_eq!(within[1].as_ptr(), chunk[3..].as_ptr(), "bytes within one chunk are not copied");
    }

    #[tokio::test]
    async fn chunks_before_an_error_are_read_first() {
        let lost = || Err(Error::new(Stage::Dump, Kind::Unavailable, "appdb", "connection lost"));
        let chunks: Vec<_> = (10..10 + 3 * MAX_WAITING).map(|number| Bytes::from(number.to_string())).collect();
        let input = stream::iter(chunks.clone().into_iter().map(Ok).chain([lost()])).boxed();
        let (read, ended) = taken(input, 2).await;
        assert_eq!(read, chunks);
        assert_eq!(ended.unwrap().kind(), Kind::Unavailable);
    }

    #[tokio::test]
    async fn transform_forwards_the_input_error() {
        let lost = Error::new(Stage::Dump, Kind::Unavailable, "appdb", "connection lost");
        let error = collect(uppercase(failed(lost)), 100, Stage::Dump, "").await.unwrap_err();
        assert_eq!((error.stage(), error.kind()), (Stage::Dump, Kind::Unavailable));
    }

    #[tokio::test]
    async fn panic_in_a_transform_is_not_a_clean_end() {
        let wrap = |error| Error::io(Stage::Compress, "", "failed", error);
        let output = transform(from_bytes("x"), wrap, |_, _| panic!("a bug"));
        assert!(collect(output, 100, Stage::Dump, "").await.is_err());
    }

    #[tokio::test]
    async fn dropping_the_output_drops_the_input() {
        let (sender, input) = channel();
        drop(uppercase(input));
        tokio::time::timeout(std::time::Duration::from_secs(5), sender.closed()).await.unwrap();
    }

    fn count(reader: &mut StreamReader) -> Result<usize> {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).map_err(|error| Error::carried_by(&error).cloned().unwrap())?;
        Ok(all.len())
    }

    #[tokio::test]
    async fn tee_preserves_the_stream() {
        let (stream, counted) = tee(from_bytes("hello"), String::new(), count);
        assert_eq!(collect(stream, 100, Stage::Dump, "").await.unwrap(), "hello");
        assert_eq!(counted.get(), Some(&5));
    }

    #[tokio::test]
    async fn tee_error_fails_the_stream() {
        let reject = |reader: &mut StreamReader| {
            count(reader)?;
            Err::<(), _>(Error::new(Stage::Verify, Kind::Corrupt, "appdb", "unsound"))
        };
        let (stream, on_end) = tee(from_bytes("hello"), String::new(), reject);
        let error = collect(stream, 100, Stage::Dump, "").await.unwrap_err();
        assert_eq!((error.kind(), on_end.get()), (Kind::Corrupt, None));
    }

    #[tokio::test]
    async fn tee_forwards_the_input_error() {
        let lost = Error::new(Stage::Dump, Kind::Unavailable, "appdb", "connection lost");
        let (stream, on_end) = tee(failed(lost), String::new(), count);
        let error = collect(stream, 100, Stage::Dump, "").await.unwrap_err();
        assert_eq!((error.kind(), on_end.get()), (Kind::Unavailable, None));
    }

    #[tokio::test]
    async fn tee_that_stops_or_panics_is_not_a_clean_end() {
        let (stream, on_end) = tee(from_bytes("hello"), String::new(), |_| Ok(()));
        assert!(collect(stream, 100, Stage::Dump, "").await.is_err());
        assert_eq!(on_end.get(), None);
        let (stream, _) = tee(from_bytes("hello"), String::new(), |_| -> Result<()> { panic!("a bug") });
        assert!(collect(stream, 100, Stage::Dump, "").await.is_err());
    }
}
