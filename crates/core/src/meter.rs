//! Counts and digests bytes as they pass, and holds them against what they should be.

use std::fmt;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Kind, Stage};
use crate::stream::{self, Afterword, ByteStream};

/// How many bytes there are, and their SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Digest {
    /// The number of bytes.
    pub bytes: u64,
    /// Their SHA-256, in lower-case hexadecimal, as `sha256sum` prints it.
    pub sha256: String,
}

impl Digest {
    /// The digest of bytes at hand.
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: hex(&Sha256::digest(bytes)) }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, SHA-256 {}", self.bytes, self.sha256)
    }
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Passes `stream` on, digested on a task of its own; the digest is known once it has ended cleanly.
/// `on_bytes` hears the size of each chunk.
pub fn meter(stream: ByteStream, on_bytes: impl Fn(u64) + Send + 'static) -> (ByteStream, Afterword<Digest>) {
    let digest = Afterword::new();
    let known = digest.clone();
    let metered = async_stream::try_stream! {
        let (mut bytes, mut hash) = (0, Sha256::new());
        for await chunk in stream {
            let chunk = chunk?;
            hash.update(&chunk);
            bytes += chunk.len() as u64;
            on_bytes(chunk.len() as u64);
            yield chunk;
        }
        known.set(Digest { bytes, sha256: hex(&hash.finalize()) });
    };
    (stream::spawn(metered.boxed()), digest)
}

/// Passes `stream` on, and fails its end if it was not what `expected` says.
pub fn expect(stream: ByteStream, expected: Digest, subject: String) -> ByteStream {
    let (metered, found) = meter(stream, |_| {});
    let checked = async_stream::try_stream! {
        for await chunk in metered {
            yield chunk?;
        }
        let found = found.get().cloned();
        if found.as_ref() != Some(&expected) {
            let found = found.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string());
            let message = format!("damaged: found {found}, but the manifest says {expected}");
            Err(Error::new(Stage::Verify, Kind::Corrupt, subject, message))?;
        }
    };
    checked.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_digest_is_what_sha256sum_prints() {
        let (stream, digest) = meter(stream::from_bytes("abc"), |_| {});
        assert!(digest.get().is_none());
        stream::collect(stream, 10, Stage::Dump, "").await.unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.get(), Some(&Digest { bytes: 3, sha256: known.into() }));
    }

    #[tokio::test]
    async fn a_stream_that_failed_has_no_digest() {
        let error = Error::new(Stage::Dump, Kind::Failed, "", "dead");
        let (stream, digest) = meter(stream::failed(error), |_| {});
        assert!(stream::collect(stream, 10, Stage::Dump, "").await.is_err());
        assert!(digest.get().is_none());
    }

    #[tokio::test]
    async fn other_bytes_than_expected_fail_the_end() {
        let stream = expect(stream::from_bytes("abd"), Digest::of(b"abc"), "x".into());
        let error = stream::collect(stream, 10, Stage::Dump, "").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}
