//! Decompression of bzip2 as by `bzip2 -dc`: one or more streams, followed by nothing but zero
//! bytes.

use std::io::BufRead;

use bzip2::bufread::BzDecoder;

use super::{decode_error, expect_padding};
use crate::stream::{self, ByteStream};

/// The first byte of each stream.
const MAGIC: u8 = b'B';

/// Decompresses bzip2, in 4 MB of memory. A truncated stream or a wrong checksum is an error of
/// kind [`Corrupt`](crate::Kind::Corrupt).
pub fn bunzip2(stream: ByteStream, subject: &str) -> ByteStream {
    let label = subject.to_owned();
    stream::transform(stream, decode_error(subject, "incomplete or damaged bzip2 file"), move |reader, writer| {
        loop {
            writer.copy_from(&mut BzDecoder::new(&mut *reader))?;
            if reader.fill_buf()?.first() != Some(&MAGIC) {
                break;
            }
        }
        expect_padding(reader, &label, "bzip2 file")
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::stream::{collect, from_bytes};
    use crate::{Kind, Result, Stage};

    fn compressed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn decompressed(bytes: Vec<u8>) -> Result<bytes::Bytes> {
        collect(bunzip2(from_bytes(bytes), "x"), 1 << 22, Stage::Compress, "").await
    }

    #[tokio::test]
    async fn accepts_several_streams_and_zero_padding() {
        let (one, many) = (compressed(b"one"), vec![7; 2_000_000]);
        assert_eq!(decompressed(one.clone()).await.unwrap(), "one");
        // `pbzip2` writes a stream for each block.
        assert_eq!(decompressed([&one[..], &one, &[0; 100_000]].concat()).await.unwrap(), "oneone");
        assert_eq!(decompressed(compressed(&many)).await.unwrap(), many);
        assert_eq!(decompressed(compressed(b"")).await.unwrap(), "");
    }

    #[tokio::test]
    async fn truncated_bzip2_or_trailing_data_is_corrupt() {
        let one = compressed(&[b'x'; 1000]);
        let mut changed = one.clone();
        changed[12] ^= 1;
        let cuts = (1..one.len()).map(|length| one[..length].to_vec());
        let second_cuts = (1..one.len()).map(|length| [&one[..], &one[..length]].concat());
        for bytes in cuts.chain(second_cuts).chain([changed]) {
            let error = decompressed(bytes.clone()).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "{}", bytes.len());
            assert!(error.to_string().contains("incomplete or damaged bzip2 file"), "{error}");
        }
        let error = decompressed([&one[..], b"x"].concat()).await.unwrap_err();
        assert!(error.to_string().contains("unexpected data after the end of the bzip2 file"), "{error}");
    }
}
