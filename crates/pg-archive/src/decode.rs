//! Decompression of archived data, with the end of each format verified.

mod ahead;

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{InBuffer, Operation, OutBuffer};

use crate::decode::ahead::{Decoded, ahead};
use crate::facts::Compression;
use crate::rows::Flaw;

/// Compressed bytes in chunks: those of the custom format, or a whole file as one chunk.
pub(crate) trait Chunks: BufRead {
    /// Returns true if the current chunk is consumed.
    fn is_at_chunk_end(&self) -> bool;

    /// Copies whole buffered chunks into `room` as far as they fit, and returns the number of
    /// bytes.
    fn gather(&mut self, _room: &mut [u8]) -> usize {
        0
    }

    /// Returns true if only one frame, or one gzip member, is allowed, since the content would not
    /// reveal a repeated one.
    fn has_one_frame(&self) -> bool {
        false
    }
}

/// Implements [`io::Read`] for a buffered reader.
pub(crate) fn read_at_hand(input: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let piece = input.fill_buf()?;
    let length = piece.len().min(buffer.len());
    buffer[..length].copy_from_slice(&piece[..length]);
    input.consume(length);
    Ok(length)
}

/// The reason why decoding stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The compressed bytes or the decoded content are invalid.
    Flaw(Flaw),
    /// The compressed bytes could not be read.
    Io(io::Error),
}

impl From<Flaw> for Stop {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A consumer of decoded bytes.
pub(crate) type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), Flaw> + Send + 'a;

/// Decodes all of `input` into `sink`. Missing or surplus bytes are a flaw.
pub(crate) fn decode<C: Chunks>(form: Form, input: &mut C, sink: &mut Sink<'_>) -> Result<(), Stop> {
    match form {
        Form::Plain => plain(input, sink),
        Form::Zlib => ahead(sink, |decoded| zlib(input, decoded)),
        Form::Gzip => ahead(sink, |decoded| gzip(input, decoded)),
        Form::Lz4 => ahead(sink, |decoded| lz4(input, decoded)),
        Form::Zstd => ahead(sink, |decoded| zstd(input, decoded)),
    }
}

/// A form of compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
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

impl Form {
    /// Returns the form of this compression in the custom format.
    pub(crate) fn in_custom(compression: Compression) -> Self {
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
fn plain<C: Chunks>(input: &mut C, sink: &mut Sink<'_>) -> Result<(), Stop> {
    const ROOM_BYTES: usize = 128 * 1024;
    let mut room = vec![0; ROOM_BYTES];
    let mut gathered = 0;
    loop {
        gathered += input.gather(&mut room[gathered..]);
        let piece = match input.fill_buf() {
            Ok(piece) => piece,
            Err(error) => {
                // The bytes read before the error are checked first.
                sink(&room[..gathered])?;
                return Err(error.into());
            }
        };
        let length = piece.len();
        if let Some(free) = room.get_mut(gathered..gathered + length)
            && (1..ROOM_BYTES / 8).contains(&length)
        {
            free.copy_from_slice(piece);
            input.consume(length);
            gathered += length;
            continue;
        }
        if gathered > 0 {
            sink(&room[..std::mem::take(&mut gathered)])?;
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
fn zlib<C: Chunks>(input: &mut C, decoded: &mut Decoded<'_, '_>) -> Result<(), Stop> {
    let mut decoder = Decompress::new(true);
    loop {
        let piece = input.fill_buf()?;
        let ended = piece.is_empty();
        let (read, written) = (decoder.total_in(), decoder.total_out());
        let status = decoder.decompress(piece, decoded.room(), FlushDecompress::None);
        let consumed = (decoder.total_in() - read) as usize;
        let produced = (decoder.total_out() - written) as usize;
        input.consume(consumed);
        decoded.filled(produced)?;
        let status = status.map_err(|_| "the zlib stream is damaged".to_owned())?;
        if status == Status::StreamEnd {
            return nothing_more(input, "the end of the zlib stream");
        }
        if ended && produced == 0 {
            return Err(Stop::Flaw("the zlib stream is cut".to_owned()));
        }
        if !ended && consumed == 0 && produced == 0 {
            return Err(Stop::Flaw("the zlib stream is damaged".to_owned()));
        }
    }
}

fn nothing_more<C: Chunks>(input: &mut C, after: &str) -> Result<(), Stop> {
    if input.fill_buf()?.is_empty() { Ok(()) } else { Err(Stop::Flaw(format!("there are more bytes after {after}"))) }
}

fn gzip<C: Chunks>(input: &mut C, decoded: &mut Decoded<'_, '_>) -> Result<(), Stop> {
    if input.fill_buf()?.is_empty() {
        return Err(Stop::Flaw("the file is empty, where a gzip file was expected".to_owned()));
    }
    if input.has_one_frame() {
        read_all(flate2::bufread::GzDecoder::new(&mut *input), "the gzip file", decoded)?;
        return nothing_more(input, "the end of the gzip file");
    }
    read_all(flate2::bufread::MultiGzDecoder::new(input), "the gzip file", decoded)
}

fn lz4<C: Chunks>(input: &mut C, decoded: &mut Decoded<'_, '_>) -> Result<(), Stop> {
    loop {
        if input.fill_buf()?.is_empty() {
            return Err(Stop::Flaw("the data ends where an LZ4 frame was expected".to_owned()));
        }
        // lz4_flex treats a frame that is cut between two blocks as complete, but tries to read
        // more.
        let mut read = ReadInVain { inner: &mut *input, in_vain: false };
        read_all(lz4_flex::frame::FrameDecoder::new(&mut read), "the LZ4 frame", decoded)?;
        if read.in_vain {
            return Err(Stop::Flaw("the LZ4 frame is cut".to_owned()));
        }
        if input.has_one_frame() {
            return nothing_more(input, "the end of the LZ4 frame");
        }
        if input.fill_buf()?.is_empty() {
            return Ok(());
        }
    }
}

/// A reader that records an attempt to read past the end.
struct ReadInVain<'a, C> {
    inner: &'a mut C,
    in_vain: bool,
}

impl<C: Chunks> Read for ReadInVain<'_, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.in_vain |= length == 0 && !buffer.is_empty();
        Ok(length)
    }
}

/// Decodes frames. Each must end with a chunk, since pg_restore drops the rest of a chunk after a
/// frame.
fn zstd<C: Chunks>(input: &mut C, decoded: &mut Decoded<'_, '_>) -> Result<(), Stop> {
    let mut decoder = zstd::stream::raw::Decoder::new()?;
    let mut within_frame = true;
    loop {
        let piece = input.fill_buf()?;
        if piece.is_empty() {
            if within_frame {
                return Err(Stop::Flaw("the Zstandard frame is cut".to_owned()));
            }
            return Ok(());
        }
        let mut source = InBuffer::around(piece);
        loop {
            let room = decoded.room();
            let (before, room_bytes) = (source.pos(), room.len());
            let mut target = OutBuffer::around(room);
            let hint = decoder
                .run(&mut source, &mut target)
                .map_err(|error| format!("the Zstandard frame is damaged: {error}"))?;
            let (consumed, produced) = (source.pos() - before, target.pos());
            decoded.filled(produced)?;
            within_frame = hint != 0;
            // A full output buffer means that the decoder may have more output.
            let more = source.pos() < source.src.len() || produced == room_bytes;
            if !within_frame || !more {
                break;
            }
            if consumed == 0 && produced == 0 {
                return Err(Stop::Flaw("the Zstandard frame is damaged".to_owned()));
            }
        }
        let consumed = source.pos();
        input.consume(consumed);
        if !within_frame && input.has_one_frame() {
            return nothing_more(input, "the end of the Zstandard frame");
        }
        if !within_frame && !input.is_at_chunk_end() {
            return Err(Stop::Flaw(
                "there are more bytes after the end of a Zstandard frame in its chunk, which pg_restore drops"
                    .to_owned(),
            ));
        }
    }
}

/// Reads a decoder to its end.
fn read_all(mut decoder: impl Read, what: &str, decoded: &mut Decoded<'_, '_>) -> Result<(), Stop> {
    loop {
        match decoder.read(decoded.room()) {
            Ok(0) => return Ok(()),
            Ok(length) => decoded.filled(length)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Errors of this crate pass through the decoder on their way from the input.
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<crate::Error>()) => {
                return Err(Stop::Io(error));
            }
            Err(error) => return Err(Stop::Flaw(format!("{what} is damaged or cut: {error}"))),
        }
    }
}
