//! Decompression of xz as by `xz -dc`: one or more streams, with their padding.

use std::io;

use lzma_rust2::XzReader;

use super::decode_error;
use crate::error::{Error, Kind, Stage};
use crate::stream::{self, ByteStream};

/// The memory that a file may require, in KiB: `xz -9` requires 65 MiB.
const MEMORY_KIB: u32 = 100 << 10;

/// Decompresses xz, in at most 100 MiB of memory. A truncated stream or a wrong checksum is an
/// error of kind [`Kind::Corrupt`]. A file that requires more memory, or a feature that is not
/// supported here, is refused.
pub fn unxz(stream: ByteStream, subject: &str) -> ByteStream {
    let label = subject.to_owned();
    stream::transform(stream, decode_error(subject, "incomplete or damaged xz file"), move |reader, writer| {
        writer.copy_from(&mut XzReader::new_mem_limit(reader, true, MEMORY_KIB)).map_err(|error| {
            let (message, hint) = match error.kind() {
                io::ErrorKind::OutOfMemory => (
                    format!("requires more than {} MiB of memory to decompress", MEMORY_KIB >> 10),
                    format!("decompress the file with `xz -dc {label}`, or compress it again with `xz -9`"),
                ),
                // The checksum of the header is good, so a newer or a rare feature is no damage.
                // An unknown filter has the kind of damaged data, but all filters of xz are known.
                io::ErrorKind::Unsupported => (
                    "uses a feature of xz that is not supported here".to_owned(),
                    format!("decompress the file with `xz -dc {label}`"),
                ),
                _ => return error,
            };
            Error::new(Stage::Compress, Kind::Refused, label, message).because(error).hint(hint).into()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Result;
    use crate::stream::{collect, from_bytes};

    /// The output of `printf one | xz`.
    const ONE: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21, 0x01, 0x16, 0x00,
        0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x02, 0x6f, 0x6e, 0x65, 0x00, 0x00, 0x7e, 0xe5, 0x10, 0xc5,
        0xd5, 0x6a, 0x6c, 0x9a, 0x00, 0x01, 0x1b, 0x03, 0x0b, 0x2f, 0xb9, 0x10, 0x1f, 0xb6, 0xf3, 0x7d, 0x01, 0x00,
        0x00, 0x00, 0x00, 0x04, 0x59, 0x5a,
    ];

    /// The output of `printf one | xz --block-size=1`.
    const BLOCKS: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0xc0, 0x05, 0x01, 0x21, 0x01,
        0x16, 0x00, 0x27, 0xe8, 0x63, 0x83, 0x01, 0x00, 0x00, 0x6f, 0x00, 0x00, 0x00, 0x00, 0x0b, 0x69, 0xb4, 0x86,
        0xad, 0xf6, 0xf7, 0x4b, 0x02, 0xc0, 0x05, 0x01, 0x21, 0x01, 0x16, 0x00, 0x27, 0xe8, 0x63, 0x83, 0x01, 0x00,
        0x00, 0x6e, 0x00, 0x00, 0x00, 0x00, 0x64, 0x36, 0x13, 0x85, 0x13, 0xba, 0xd9, 0xf8, 0x02, 0xc0, 0x05, 0x01,
        0x21, 0x01, 0x16, 0x00, 0x27, 0xe8, 0x63, 0x83, 0x01, 0x00, 0x00, 0x65, 0x00, 0x00, 0x00, 0x00, 0x36, 0x75,
        0xea, 0xd1, 0xf3, 0x47, 0xd2, 0x48, 0x00, 0x03, 0x19, 0x01, 0x19, 0x01, 0x19, 0x01, 0xbb, 0x54, 0xa7, 0x8d,
        0xb1, 0xc4, 0x67, 0xfb, 0x02, 0x00, 0x00, 0x00, 0x00, 0x04, 0x59, 0x5a,
    ];

    /// The output of `printf one | xz --lzma2=dict=256MiB`.
    const LARGE: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21, 0x01, 0x20, 0x00,
        0x00, 0x00, 0x09, 0x88, 0xa5, 0x76, 0x01, 0x00, 0x02, 0x6f, 0x6e, 0x65, 0x00, 0x00, 0x7e, 0xe5, 0x10, 0xc5,
        0xd5, 0x6a, 0x6c, 0x9a, 0x00, 0x01, 0x1b, 0x03, 0x0b, 0x2f, 0xb9, 0x10, 0x1f, 0xb6, 0xf3, 0x7d, 0x01, 0x00,
        0x00, 0x00, 0x00, 0x04, 0x59, 0x5a,
    ];

    /// The beginning of a file whose check is of the reserved kind 2, with the right checksum.
    const UNKNOWN_CHECK: &[u8] = &[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x02, 0xd3, 0x73, 0xd7, 0xaf];

    async fn decompressed(bytes: Vec<u8>) -> Result<bytes::Bytes> {
        collect(unxz(from_bytes(bytes), "x"), 1 << 20, Stage::Compress, "").await
    }

    #[tokio::test]
    async fn accepts_several_streams_blocks_and_padding() {
        for (parts, expected) in [
            (&[ONE][..], "one"),
            (&[BLOCKS], "one"),
            (&[ONE, BLOCKS, &[0; 4]], "oneone"),
            (&[ONE, &[0; 100_000], ONE], "oneone"),
        ] {
            assert_eq!(decompressed(parts.concat()).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn truncated_or_changed_xz_is_corrupt() {
        let two = [ONE, BLOCKS].concat();
        for length in (1..two.len()).filter(|length| *length != ONE.len()) {
            let error = decompressed(two[..length].to_vec()).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "{length}: {error}");
        }
        for index in 0..ONE.len() {
            let mut changed = ONE.to_vec();
            changed[index] ^= 1;
            let error = decompressed(changed).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "{index}: {error}");
        }
        for trailing in [&b"x"[..], &[0; 5], &[0, 0, 0, 0, b'x']] {
            assert_eq!(decompressed([ONE, trailing].concat()).await.unwrap_err().kind(), Kind::Corrupt);
        }
    }

    #[tokio::test]
    async fn unsupported_check_is_refused_and_no_damage() {
        for bytes in [UNKNOWN_CHECK.to_vec(), [UNKNOWN_CHECK, &ONE[12..]].concat(), [ONE, UNKNOWN_CHECK].concat()] {
            let error = decompressed(bytes).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Refused, "{error}");
            assert!(error.remedy().unwrap().contains("xz -dc x"), "{error:?}");
        }
        let mut changed = UNKNOWN_CHECK.to_vec();
        changed[8] ^= 1;
        assert_eq!(decompressed(changed).await.unwrap_err().kind(), Kind::Corrupt);
    }

    #[tokio::test]
    async fn large_memory_is_refused_and_no_damage() {
        let error = decompressed(LARGE.to_vec()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("more than 100 MiB") && error.remedy().is_some(), "{error}");
    }
}
