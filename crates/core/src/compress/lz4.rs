//! Decompression of LZ4 frames as by `lz4 -d`. `pg_dump --format=plain --compress=lz4` writes one
//! frame.

use std::io::{self, BufRead, Read};

use lz4_flex::frame::FrameDecoder;

use super::{decode_error, trailing_data};
use crate::stream::{self, ByteStream};

/// The first bytes of each frame.
const MAGIC: &[u8] = &[0x04, 0x22, 0x4d, 0x18];

/// Decompresses LZ4. A truncated stream or a wrong checksum, where the frame has one, is an error
/// of kind [`Corrupt`](crate::Kind::Corrupt).
pub fn unlz4(stream: ByteStream, subject: &str) -> ByteStream {
    let label = subject.to_owned();
    stream::transform(stream, decode_error(subject, "incomplete or damaged LZ4 file"), move |reader, writer| {
        loop {
            // lz4_flex takes a frame that is cut between two blocks for a complete one, but has
            // then tried to read past the end.
            let mut frame = EofDetector { inner: &mut *reader, read_past_end: false };
            writer.copy_from(&mut FrameDecoder::new(&mut frame))?;
            if frame.read_past_end {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match reader.fill_buf()? {
                [] => return Ok(()),
                [first, ..] if *first == MAGIC[0] => {}
                _ => return Err(trailing_data(&label, "LZ4 file")),
            }
        }
    })
}

/// A reader that records an attempt to read past the end.
struct EofDetector<R> {
    inner: R,
    read_past_end: bool,
}

impl<R: Read> Read for EofDetector<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.read_past_end |= length == 0 && !buffer.is_empty();
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, FrameEncoder, FrameInfo};

    use super::*;
    use crate::stream::{collect, from_bytes};
    use crate::{Kind, Result, Stage};

    /// Returns a frame of several blocks.
    fn compressed(with_checksum: bool) -> Vec<u8> {
        let info = FrameInfo::new().block_mode(BlockMode::Linked).content_checksum(with_checksum);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&plain()).unwrap();
        encoder.finish().unwrap()
    }

    fn plain() -> Vec<u8> {
        (0..300_000_u32).map(|number| (number % 251) as u8).collect()
    }

    async fn decompressed(bytes: Vec<u8>) -> Result<bytes::Bytes> {
        collect(unlz4(from_bytes(bytes), "x"), 1 << 20, Stage::Compress, "").await
    }

    #[tokio::test]
    async fn decompresses_consecutive_frames() {
        assert!(compressed(false).starts_with(MAGIC));
        for with_checksum in [false, true] {
            assert_eq!(decompressed(compressed(with_checksum)).await.unwrap(), plain());
        }
        assert_eq!(decompressed(compressed(false).repeat(2)).await.unwrap(), plain().repeat(2));
    }

    #[tokio::test]
    async fn truncated_lz4_is_corrupt() {
        let whole = compressed(false);
        for length in 1..whole.len() {
            assert_eq!(decompressed(whole[..length].to_vec()).await.unwrap_err().kind(), Kind::Corrupt, "{length}");
        }
    }

    #[tokio::test]
    async fn wrong_checksum_or_trailing_data_is_corrupt() {
        let mut changed = compressed(true);
        *changed.last_mut().unwrap() ^= 1;
        for (bytes, expected) in [
            (changed, "incomplete or damaged LZ4 file"),
            ([&compressed(false)[..], b"\x04x"].concat(), "incomplete or damaged LZ4 file"),
            ([&compressed(false)[..], b"x"].concat(), "unexpected data after the end of the LZ4 file"),
        ] {
            let error = decompressed(bytes).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
