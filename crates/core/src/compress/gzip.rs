//! Decompression of gzip as by `zcat`: one or more members, followed by nothing but zero bytes.

use std::io::BufRead;

use flate2::bufread::GzDecoder;

use super::{decode_error, expect_padding};
use crate::stream::{self, ByteStream};

/// The first byte of each member.
const MAGIC: u8 = 0x1f;

/// Decompresses gzip. A truncated stream or a wrong checksum is an error of kind
/// [`Corrupt`](crate::Kind::Corrupt).
pub fn gunzip(stream: ByteStream, subject: &str) -> ByteStream {
    let label = subject.to_owned();
    stream::transform(stream, decode_error(subject, "incomplete or damaged gzip file"), move |reader, writer| {
        loop {
            writer.copy_from(&mut GzDecoder::new(&mut *reader))?;
            if reader.fill_buf()?.first() != Some(&MAGIC) {
                break;
            }
        }
        expect_padding(reader, &label, "gzip file")
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::stream::{collect, from_bytes};
    use crate::{Kind, Result, Stage};

    fn compressed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn decompressed(bytes: &[&[u8]]) -> Result<bytes::Bytes> {
        collect(gunzip(from_bytes(bytes.concat()), "x"), 1 << 20, Stage::Compress, "").await
    }

    #[tokio::test]
    async fn accepts_several_members_and_zero_padding() {
        let (one, two) = (compressed(b"one"), compressed(b"two"));
        for (parts, expected) in [
            (&[&one[..]][..], "one"),
            (&[&one, &two], "onetwo"),
            (&[&one, &[0]], "one"),
            (&[&one, &two, &[0; 100_000]], "onetwo"),
        ] {
            assert_eq!(decompressed(parts).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn truncated_gzip_or_trailing_data_is_corrupt() {
        let one = compressed(&[b'x'; 1000]);
        let cut = &one[..one.len() - 1];
        for (parts, expected) in [
            (&[cut][..], "incomplete or damaged gzip file"),
            (&[&one, cut], "incomplete or damaged gzip file"),
            (&[&one, b"x"], "unexpected data after the end of the gzip file"),
            (&[&one, &[0; 9], b"x"], "unexpected data after the end of the gzip file"),
            (&[&one, &[0; 9], &one], "unexpected data after the end of the gzip file"),
        ] {
            let error = decompressed(parts).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
