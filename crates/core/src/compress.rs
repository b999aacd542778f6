//! Compression between Verify and Encrypt: zstd on several threads, with its checksum, in the
//! format of `zstd -d`.
//!
//! Other formats are only decompressed: gzip, bzip2 and xz, which other backup tools write, and
//! LZ4, which pg_dump offers.

mod bzip2;
mod gzip;
mod lz4;
mod xz;

use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};

use zstd::zstd_safe::CParameter;

use crate::error::{Error, Kind, Stage};
use crate::stream::{self, ByteStream, OnEnd, StreamReader, StreamWriter};
pub use bzip2::bunzip2;
pub use gzip::gunzip;
pub use lz4::unlz4;
pub use xz::unxz;

/// The number of bytes that one thread compresses at a time. This bounds the memory of each thread
/// to about three times as much at any level.
const JOB_BYTES: u32 = 2 << 20;

/// The compression of a dump in the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// No compression: the dump must stay as it is, or is already compressed.
    None,
    /// One zstd stream with a checksum.
    Zstd {
        /// zstd's compression level, from 1 to 19.
        level: i32,
        /// The number of compressing threads; 0 and 1 both mean one.
        threads: u32,
    },
}

/// The default compression level: zstd's own.
pub const DEFAULT_LEVEL: i32 = 3;

/// The statistics of a compression.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompressionStats {
    /// The level used.
    pub level: i32,
    /// The total time that the dump waited for compression.
    pub dump_wait: Duration,
}

impl Compression {
    /// Returns the suffix of the file's name: `.zst` or nothing.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Zstd { .. } => ".zst",
        }
    }

    /// Compresses `stream`. The statistics are known once the stream has ended cleanly, if anything
    /// was compressed.
    pub fn compress(self, stream: ByteStream, subject: &str) -> (ByteStream, OnEnd<CompressionStats>) {
        let stats = OnEnd::new();
        let Self::Zstd { level, threads } = self else {
            return (stream, stats);
        };
        let on_end = stats.clone();
        let stream = stream::transform(stream, io_error(subject, "cannot compress"), move |reader, writer| {
            let dump_wait = encode(reader, writer, threads, level)?;
            on_end.set(CompressionStats { level, dump_wait });
            Ok(())
        });
        (stream, stats)
    }
}

impl Compression {
    /// Returns about the number of bytes to which the parts of a file are compressed, at
    /// [`DEFAULT_LEVEL`] or less.
    pub(crate) fn compressed_bytes<'a>(self, parts: impl Iterator<Item = &'a [u8]>) -> io::Result<u64> {
        let Self::Zstd { level, .. } = self else { return Ok(parts.map(|part| part.len() as u64).sum()) };
        let mut encoder = zstd::Encoder::new(Vec::new(), level.min(DEFAULT_LEVEL))?;
        for part in parts {
            encoder.write_all(part)?;
        }
        Ok(encoder.finish()?.len() as u64)
    }
}

/// Compresses the input as one frame with a checksum. Returns the time that the other stages waited
/// for compression.
fn encode(reader: &mut StreamReader, writer: &mut StreamWriter, threads: u32, level: i32) -> io::Result<Duration> {
    let begun = Instant::now();
    let mut encoder = zstd::Encoder::new(writer, level)?;
    encoder.include_checksum(true)?;
    // Even one worker runs in parallel with the reader.
    encoder.multithread(threads.max(1))?;
    encoder.set_parameter(CParameter::JobSize(JOB_BYTES))?;
    loop {
        let chunk = reader.fill_buf()?;
        let length = chunk.len();
        if length == 0 {
            break;
        }
        encoder.write_all(chunk)?;
        reader.consume(length);
    }
    let writer = encoder.finish()?;
    Ok(begun.elapsed().saturating_sub(reader.waited() + writer.waited()))
}

/// Decompresses zstd. A truncated stream or a wrong checksum is an error of kind [`Kind::Corrupt`].
pub fn decompress(stream: ByteStream, subject: &str) -> ByteStream {
    stream::transform(stream, decode_error(subject, "incomplete or damaged zstd stream"), |reader, writer| {
        let mut decoder = zstd::Decoder::with_buffer(reader)?;
        writer.copy_from(&mut decoder)
    })
}

/// Returns the mapping of a decoder's error.
fn decode_error(subject: &str, what: &'static str) -> impl FnOnce(io::Error) -> Error + Send + 'static {
    let subject = subject.to_owned();
    move |error| {
        Error::new(Stage::Compress, Kind::Corrupt, subject, format!("cannot decompress: {what}")).because(error)
    }
}

/// Reads the zero bytes with which tapes and block devices pad their last block. Fails for other
/// data after the end of a file.
fn expect_padding(reader: &mut StreamReader, subject: &str, what: &str) -> io::Result<()> {
    loop {
        match reader.fill_buf()? {
            [] => return Ok(()),
            piece if piece.iter().any(|byte| *byte != 0) => return Err(trailing_data(subject, what)),
            piece => {
                let length = piece.len();
                reader.consume(length);
            }
        }
    }
}

/// Returns the error of data after the end of a stream.
fn trailing_data(subject: &str, what: &str) -> io::Error {
    let message = format!("unexpected data after the end of the {what}");
    Error::new(Stage::Compress, Kind::Corrupt, subject, message).into()
}

fn io_error(subject: &str, message: &'static str) -> impl FnOnce(io::Error) -> Error + Send + 'static {
    let subject = subject.to_owned();
    move |error| Error::io(Stage::Compress, subject, message, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{collect, from_bytes};

    const ZSTD: Compression = Compression::Zstd { level: 3, threads: 2 };

    async fn compressed(bytes: &[u8]) -> Vec<u8> {
        let (stream, _) = ZSTD.compress(from_bytes(bytes.to_vec()), "x");
        collect(stream, 1 << 24, Stage::Compress, "").await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn decompression_restores_the_input() {
        for length in [0, 1, 5_000_000] {
            let bytes: Vec<u8> = (0..length).map(|n: u32| (n % 251) as u8).collect();
            let back = decompress(from_bytes(compressed(&bytes).await), "x");
            assert_eq!(collect(back, 1 << 24, Stage::Compress, "").await.unwrap(), bytes);
        }
    }

    #[tokio::test]
    async fn truncated_or_changed_zstd_is_corrupt() {
        let whole = compressed(&vec![7; 1_000_000]).await;
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bad in [&whole[..whole.len() - 1], &whole[..10], &flipped] {
            let error =
                collect(decompress(from_bytes(bad.to_vec()), "x"), 1 << 24, Stage::Compress, "").await.unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt);
        }
    }

    #[tokio::test]
    async fn compression_reports_its_statistics_at_the_end() {
        let (stream, stats) = ZSTD.compress(from_bytes(vec![7; 1_000_000]), "x");
        assert!(stats.get().is_none());
        collect(stream, 1 << 24, Stage::Compress, "").await.unwrap();
        assert_eq!(stats.get().unwrap().level, 3);
        assert!(Compression::None.compress(from_bytes("x"), "x").1.get().is_none());
    }
}
