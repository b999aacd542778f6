//! Detection and removal of a file's wrappings, by its first bytes.

use futures_util::{StreamExt, stream};
use longshore_config::registry::Registry;
use longshore_core::compress::{bunzip2, decompress, gunzip, unlz4, unxz};
use longshore_core::plugin::{IDENTITY_HINT, Identities};
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};

/// The number of bytes from which a wrapping is detected.
const HEAD_BYTES: usize = 512;
/// The maximum depth of nested wrappings. The limit stops a file that unwraps to itself.
const MAX_WRAPPINGS: usize = 4;

/// A file without its wrappings.
pub(crate) struct Unwrapped {
    /// The names of the removed wrappings, the outermost first.
    pub(crate) wrappings: Vec<String>,
    /// The first bytes of the contents.
    pub(crate) head: Vec<u8>,
    /// The contents, including the head.
    pub(crate) stream: ByteStream,
}

/// Removes all wrappings. Returns at least `head_bytes` first bytes of the contents, if there are
/// as many.
pub(crate) async fn remove_wrappings(
    mut stream: ByteStream,
    name: &str,
    registry: &Registry,
    identities: &Identities,
    head_bytes: usize,
) -> Result<Unwrapped> {
    let mut wrappings = Vec::new();
    loop {
        let (head, whole) = peek(stream, head_bytes.max(HEAD_BYTES)).await?;
        stream = whole;
        let Some(wrapping) = wrapping(&head) else {
            return Ok(Unwrapped { wrappings, head, stream });
        };
        if wrappings.len() == MAX_WRAPPINGS {
            let message = format!("wrapped more than {MAX_WRAPPINGS} times");
            return Err(Error::new(Stage::Verify, Kind::Refused, name, message));
        }
        wrappings.push(wrapping.to_owned());
        stream = match wrapping {
            "zstd" => decompress(stream, name),
            "gzip" => gunzip(stream, name),
            "lz4" => unlz4(stream, name),
            "xz" => unxz(stream, name),
            "bzip2" => bunzip2(stream, name),
            encryption if identities.is_empty() => {
                let error = Error::new(Stage::Decrypt, Kind::Usage, name, format!("encrypted with {encryption}"));
                return Err(error.hint(IDENTITY_HINT));
            }
            encryption => registry.decrypt.build(encryption, identities)?.decrypt(stream, name).await?,
        };
    }
}

/// Returns the name of the wrapping of bytes that begin with `head`.
fn wrapping(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"age-encryption.org/v1\n") || head.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
        Some("age")
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) {
        // The second is a skippable frame, with which pzstd output begins.
        Some("zstd")
    } else if head.starts_with(&[0x1f, 0x8b]) {
        Some("gzip")
    } else if head.starts_with(&[0x04, 0x22, 0x4d, 0x18]) {
        Some("lz4")
    } else if head.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        Some("xz")
    } else if matches!(head, [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..]) {
        Some("bzip2")
    } else {
        None
    }
}

/// Returns the first bytes of a stream, and the whole stream.
async fn peek(stream: ByteStream, head_bytes: usize) -> Result<(Vec<u8>, ByteStream)> {
    let (mut head, mut chunks) = (Vec::new(), Vec::new());
    let mut stream = stream.fuse();
    while head.len() < head_bytes {
        let Some(chunk) = stream.next().await else { break };
        let chunk = match chunk {
            Ok(chunk) => chunk,
            // The reader of the whole stream meets the error where it occurred.
            Err(error) if !head.is_empty() => {
                chunks.push(Err(error));
                break;
            }
            Err(error) => return Err(error),
        };
        head.extend_from_slice(&chunk[..chunk.len().min(head_bytes - head.len())]);
        chunks.push(Ok(chunk));
    }
    Ok((head, stream::iter(chunks).chain(stream).boxed()))
}

/// Returns true if `head` contains `words`.
pub(super) fn contains(head: &[u8], words: &[u8]) -> bool {
    head.windows(words.len()).any(|window| window == words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_wrappings_by_first_bytes() {
        for (head, expected) in [
            (&b"age-encryption.org/v1\n-> X25519"[..], Some("age")),
            (b"-----BEGIN AGE ENCRYPTED FILE-----\n", Some("age")),
            (b"\x28\xb5\x2f\xfd\x04", Some("zstd")),
            (b"\x50\x2a\x4d\x18\x04\0\0\0", Some("zstd")),
            (b"\x1f\x8b\x08", Some("gzip")),
            (b"\x04\x22\x4d\x18\x64", Some("lz4")),
            (b"\xfd7zXZ\0\0\x04", Some("xz")),
            (b"BZh91AY&SY", Some("bzip2")),
            (b"BZh/toc.dat\0", None),
            (b"PGDMP", None),
            (b"", None),
        ] {
            assert_eq!(wrapping(head), expected, "{head:?}");
        }
    }
}
