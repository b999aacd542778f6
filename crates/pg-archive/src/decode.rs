//! Decompression of archived data, with the end of each format verified.

mod check_thread;

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{InBuffer, Operation, OutBuffer};

use crate::copy_data::Flaw;
use crate::decode::check_thread::{OutputBuffer, check_in_parallel};
use crate::facts::Compression;

/// Compressed bytes in chunks: those of the custom format, or a whole file as one chunk.
pub(crate) trait Chunks: BufRead {
    /// Returns true if the current chunk is consumed.
    fn is_at_chunk_end(&self) -> bool;

    /// Copies whole buffered chunks into `output` as far as they fit, and returns the number of
    /// bytes.
    fn coalesce_chunks(&mut self, _output: &mut [u8]) -> usize {
        0
    }

    /// Returns true if only one frame, or one gzip member, is allowed, since the content would not
    /// reveal a repeated one.
    fn has_one_frame(&self) -> bool {
        false
    }
}

/// Implements [`io::Read`] for a buffered reader.
pub(crate) fn read_buffered(input: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let piece = input.fill_buf()?;
    let length = piece.len().min(buffer.len());
    buffer[..length].copy_from_slice(&piece[..length]);
    input.consume(length);
    Ok(length)
}

/// The reason why decoding stopped.
#[derive(Debug)]
pub(crate) enum DecodeError {
    /// The compressed bytes or the decoded content are invalid.
    Flaw(Flaw),
    /// The compressed bytes could not be read.
    Io(io::Error),
}

impl From<Flaw> for DecodeError {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

impl From<io::Error> for DecodeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A consumer of decoded bytes.
pub(crate) type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), Flaw> + Send + 'a;

/// Decodes all of `input` into `sink`. Missing or surplus bytes are a flaw.
pub(crate) fn decode<C: Chunks>(codec: Codec, input: &mut C, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    match codec {
        Codec::Plain => plain(input, sink),
        Codec::Zlib => check_in_parallel(sink, |output| zlib(input, output)),
        Codec::Gzip => check_in_parallel(sink, |output| gzip(input, output)),
        Codec::Lz4 => check_in_parallel(sink, |output| lz4(input, output)),
        Codec::Zstd => check_in_parallel(sink, |output| zstd(input, output)),
    }
}

/// A form of compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Uncompressed.
    Plain,
    /// One zlib stream.
    Zlib,
    /// Gzip members.
    Gzip,
    /// LZ4 frames.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

impl Codec {
    /// Returns the form of this compression in the custom format.
    pub(crate) fn for_custom_format(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::Plain,
            Compression::Gzip => Self::Zlib,
            Compression::Lz4 => Self::Lz4,
            Compression::Zstd => Self::Zstd,
        }
    }
}

/// Passes uncompressed bytes. pg_dump writes one chunk per row, and checking many rows at once is
/// faster.
fn plain<C: Chunks>(input: &mut C, sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    const BUFFER_BYTES: usize = 128 * 1024;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut filled = 0;
    loop {
        filled += input.coalesce_chunks(&mut buffer[filled..]);
        let piece = match input.fill_buf() {
            Ok(piece) => piece,
            Err(error) => {
                // The bytes read before the error are checked first.
                sink(&buffer[..filled])?;
                return Err(error.into());
            }
        };
        let length = piece.len();
        if let Some(free) = buffer.get_mut(filled..filled + length)
            && (1..BUFFER_BYTES / 8).contains(&length)
        {
            free.copy_from_slice(piece);
            input.consume(length);
            filled += length;
            continue;
        }
        if filled > 0 {
            sink(&buffer[..std::mem::take(&mut filled)])?;
            continue;
        }
        if length == 0 {
            return Ok(());
        }
        sink(piece)?;
        input.consume(length);
    }
}

/// Decodes one stream with its Adler-32. flate2's reader is unsuitable, since it treats a truncated
/// stream as complete.
fn zlib<C: Chunks>(input: &mut C, output: &mut OutputBuffer<'_, '_>) -> Result<(), DecodeError> {
    let mut decoder = Decompress::new(true);
    loop {
        let piece = input.fill_buf()?;
        let ended = piece.is_empty();
        let (read, written) = (decoder.total_in(), decoder.total_out());
        let status = decoder.decompress(piece, output.spare(), FlushDecompress::None);
        let consumed = (decoder.total_in() - read) as usize;
        let produced = (decoder.total_out() - written) as usize;
        input.consume(consumed);
        output.advance(produced)?;
        let status = status.map_err(|_| "the zlib stream is damaged".to_owned())?;
        if status == Status::StreamEnd {
            return expect_end(input, "the end of the zlib stream");
        }
        if ended && produced == 0 {
            return Err(DecodeError::Flaw("the zlib stream is cut".to_owned()));
        }
        if !ended && consumed == 0 && produced == 0 {
            return Err(DecodeError::Flaw("the zlib stream is damaged".to_owned()));
        }
    }
}

fn expect_end<C: Chunks>(input: &mut C, after: &str) -> Result<(), DecodeError> {
    if input.fill_buf()?.is_empty() {
        Ok(())
    } else {
        Err(DecodeError::Flaw(format!("there are more bytes after {after}")))
    }
}

fn gzip<C: Chunks>(input: &mut C, output: &mut OutputBuffer<'_, '_>) -> Result<(), DecodeError> {
    if input.fill_buf()?.is_empty() {
        return Err(DecodeError::Flaw("the file is empty, where a gzip file was expected".to_owned()));
    }
    if input.has_one_frame() {
        read_all(flate2::bufread::GzDecoder::new(&mut *input), "the gzip file", output)?;
        return expect_end(input, "the end of the gzip file");
    }
    read_all(flate2::bufread::MultiGzDecoder::new(input), "the gzip file", output)
}

fn lz4<C: Chunks>(input: &mut C, output: &mut OutputBuffer<'_, '_>) -> Result<(), DecodeError> {
    loop {
        if input.fill_buf()?.is_empty() {
            return Err(DecodeError::Flaw("the data ends where an LZ4 frame was expected".to_owned()));
        }
        // lz4_flex treats a frame that is cut between two blocks as complete, but tries to read
        // more.
        let mut read = EndDetector { inner: &mut *input, read_past_end: false };
        read_all(lz4_flex::frame::FrameDecoder::new(&mut read), "the LZ4 frame", output)?;
        if read.read_past_end {
            return Err(DecodeError::Flaw("the LZ4 frame is cut".to_owned()));
        }
        if input.has_one_frame() {
            return expect_end(input, "the end of the LZ4 frame");
        }
        if input.fill_buf()?.is_empty() {
            return Ok(());
        }
    }
}

/// A reader that records an attempt to read past the end.
struct EndDetector<'a, C> {
    inner: &'a mut C,
    read_past_end: bool,
}

impl<C: Chunks> Read for EndDetector<'_, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.read_past_end |= length == 0 && !buffer.is_empty();
        Ok(length)
    }
}

/// Decodes frames. Each must end with a chunk, since pg_restore drops the rest of a chunk after a
/// frame.
fn zstd<C: Chunks>(input: &mut C, output: &mut OutputBuffer<'_, '_>) -> Result<(), DecodeError> {
    let mut decoder = zstd::stream::raw::Decoder::new()?;
    let mut within_frame = true;
    loop {
        let piece = input.fill_buf()?;
        if piece.is_empty() {
            if within_frame {
                return Err(DecodeError::Flaw("the Zstandard frame is cut".to_owned()));
            }
            return Ok(());
        }
        let mut source = InBuffer::around(piece);
        loop {
            let buffer = output.spare();
            let (before, spare_bytes) = (source.pos(), buffer.len());
            let mut target = OutBuffer::around(buffer);
            let hint = decoder
                .run(&mut source, &mut target)
                .map_err(|error| format!("the Zstandard frame is damaged: {error}"))?;
            let (consumed, produced) = (source.pos() - before, target.pos());
            output.advance(produced)?;
            within_frame = hint != 0;
            // A full output buffer means that the decoder may have more output.
            let more = source.pos() < source.src.len() || produced == spare_bytes;
            if !within_frame || !more {
                break;
            }
            if consumed == 0 && produced == 0 {
                return Err(DecodeError::Flaw("the Zstandard frame is damaged".to_owned()));
            }
        }
        let consumed = source.pos();
        input.consume(consumed);
        if !within_frame && input.has_one_frame() {
            return expect_end(input, "the end of the Zstandard frame");
        }
        if !within_frame && !input.is_at_chunk_end() {
            return Err(DecodeError::Flaw(
                "there are more bytes after the end of a Zstandard frame in its chunk, which pg_restore drops"
                    .to_owned(),
            ));
        }
    }
}

/// Reads a decoder to its end.
fn read_all(mut decoder: impl Read, what: &str, output: &mut OutputBuffer<'_, '_>) -> Result<(), DecodeError> {
    loop {
        match decoder.read(output.spare()) {
            Ok(0) => return Ok(()),
            Ok(length) => output.advance(length)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Errors of this crate pass through the decoder on their way from the input.
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<crate::Error>()) => {
                return Err(DecodeError::Io(error));
            }
            Err(error) => return Err(DecodeError::Flaw(format!("{what} is damaged or cut: {error}"))),
        }
    }
}
