//! Compression between Verify and Encrypt: zstd on several threads, with its checksum, in the format that `zstd -d` reads.
//!
//! What others compressed otherwise is only undone: gzip, of which users' own scripts make much, and LZ4, which pg_dump has.

mod gzip;
mod lz4;

use std::io::{self, Read};

use crate::error::{Error, Kind, Stage};
use crate::stream::{self, ByteStream, CHUNK_BYTES};

pub use gzip::gunzip;
pub use lz4::unlz4;

/// How the pipeline compresses what a dump stage hands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all: the dump is to stay as it is, or is compressed already.
    None,
    /// As one zstd stream with a checksum.
    Zstd {
        /// zstd's level, 1 to 19.
        level: i32,
        /// Threads that compress; 0 and 1 both mean one.
        threads: u32,
    },
}

impl Compression {
    /// What the file's name ends with: `.zst`, or nothing.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Zstd { .. } => ".zst",
        }
    }

    /// Compresses `stream`.
    pub fn compress(self, stream: ByteStream, subject: &str) -> ByteStream {
        let Self::Zstd { level, threads } = self else {
            return stream;
        };
        stream::transform(stream, failure(subject, "cannot compress"), move |reader, writer| {
            let mut encoder = zstd::Encoder::new(writer, level)?;
            encoder.include_checksum(true)?;
            if threads > 1 {
                encoder.multithread(threads)?;
                // Bounds what the workers hold, whatever the level says: about three jobs a thread.
                encoder.set_parameter(zstd::zstd_safe::CParameter::JobSize(2 * 1024 * 1024))?;
            }
            copy(reader, &mut encoder)?;
            encoder.finish().map(drop)
        })
    }
}

/// Undoes zstd. A stream that was cut, or whose checksum does not fit, ends in an error of kind [`Kind::Corrupt`].
pub fn decompress(stream: ByteStream, subject: &str) -> ByteStream {
    stream::transform(stream, damaged(subject, "not a whole zstd stream"), |reader, writer| {
        let mut decoder = zstd::Decoder::with_buffer(reader)?;
        writer.pour(&mut decoder)
    })
}

/// What a decoder's error says of the stream.
fn damaged(subject: &str, what: &'static str) -> impl FnOnce(io::Error) -> Error + Send + 'static {
    let subject = subject.to_owned();
    move |error| {
        Error::new(Stage::Compress, Kind::Corrupt, subject, format!("cannot decompress: {what}")).because(error)
    }
}

/// The error of what goes on behind its end.
fn surplus(subject: &str, what: &str) -> io::Error {
    let message = format!("something else follows the end of the {what}");
    Error::new(Stage::Compress, Kind::Corrupt, subject, message).into()
}

fn failure(subject: &str, message: &'static str) -> impl FnOnce(io::Error) -> Error + Send + 'static {
    let subject = subject.to_owned();
    move |error| Error::io(Stage::Compress, subject, message, error)
}

/// As [`io::copy`], with a buffer of the size that chunks have.
fn copy(reader: &mut impl Read, writer: &mut impl io::Write) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(()),
            length => writer.write_all(&buffer[..length])?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{collect, from_bytes};

    const ZSTD: Compression = Compression::Zstd { level: 3, threads: 2 };

    async fn packed(bytes: &[u8]) -> Vec<u8> {
        let stream = ZSTD.compress(from_bytes(bytes.to_vec()), "x");
        collect(stream, 1 << 24, Stage::Compress, "").await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn what_was_compressed_comes_back() {
        for length in [0, 1, 5_000_000] {
            let bytes: Vec<u8> = (0..length).map(|n: u32| (n % 251) as u8).collect();
            let back = decompress(from_bytes(packed(&bytes).await), "x");
            assert_eq!(collect(back, 1 << 24, Stage::Compress, "").await.unwrap(), bytes);
        }
    }

    #[tokio::test]
    async fn a_cut_or_changed_stream_is_damage() {
        let whole = packed(&vec![7; 1_000_000]).await;
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bad in [&whole[..whole.len() - 1], &whole[..10], &flipped] {
            let error =
                collect(decompress(from_bytes(bad.to_vec()), "x"), 1 << 24, Stage::Compress, "").await.unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt);
        }
    }
}
