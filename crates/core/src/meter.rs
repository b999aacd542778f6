//! Counts, digests and size checks of streams.

use std::io::{self, BufRead};

use aws_lc_rs::digest::{Context, SHA256};
use futures_util::StreamExt;

use crate::error::{Error, Kind, Stage};
use crate::stream::{ByteStream, OnEnd, StreamReader, tee};

pub use crate::digest::{Algorithm, Digest, Hash, hex};

/// Passes `stream` on and digests it on a thread of its own. The digest is known once the stream
/// has ended cleanly. Calls `on_bytes` with the size of each chunk.
pub fn meter(
    stream: ByteStream,
    algorithm: Algorithm,
    on_bytes: impl Fn(u64) + Send + 'static,
) -> (ByteStream, OnEnd<Digest>) {
    let heard = stream.inspect(move |chunk| on_bytes(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64)));
    tee(heard.boxed(), String::new(), move |reader| {
        read(reader, algorithm).map_err(|error| match Error::carried_by(&error) {
            Some(carried) => carried.clone(),
            None => Error::io(Stage::Verify, "", "cannot digest the stream", error),
        })
    })
}

/// Returns the digest of all bytes of a reader.
fn read(reader: &mut StreamReader, algorithm: Algorithm) -> io::Result<Digest> {
    match algorithm {
        Algorithm::Sha256 => {
            let mut hash = Context::new(&SHA256);
            let bytes = feed(reader, |chunk| hash.update(chunk))?;
            Ok(Digest { bytes, hash: Hash::Sha256(hex(hash.finish().as_ref())) })
        }
        Algorithm::Blake3 => {
            let mut hash = blake3::Hasher::new();
            let bytes = feed(reader, |chunk| {
                hash.update(chunk);
            })?;
            Ok(Digest { bytes, hash: Hash::Blake3(hash.finalize().to_hex().to_string()) })
        }
    }
}

/// Passes all bytes of a reader to `update`, and returns their number.
fn feed(reader: &mut StreamReader, mut update: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut bytes = 0;
    loop {
        let chunk = reader.fill_buf()?;
        let length = chunk.len();
        if length == 0 {
            return Ok(bytes);
        }
        update(chunk);
        bytes += length as u64;
        reader.consume(length);
    }
}

/// Passes `stream` on, and fails if its digest differs from `expected`: at the end, or before the
/// first chunk that exceeds the expected size.
pub fn expect(stream: ByteStream, expected: Digest, subject: String) -> ByteStream {
    let damaged = |subject: String, found: &str, expected: &Digest| {
        let message = format!("damaged: found {found}, but the manifest records {expected}");
        Error::new(Stage::Verify, Kind::Corrupt, subject, message)
    };
    let bounded = {
        let (expected, subject) = (expected.clone(), subject.clone());
        async_stream::try_stream! {
            let mut bytes = 0_u64;
            for await chunk in stream {
                let chunk = chunk?;
                bytes = bytes.saturating_add(chunk.len() as u64);
                if bytes > expected.bytes {
                    Err(damaged(subject.clone(), "more bytes", &expected))?;
                }
                yield chunk;
            }
        }
    };
    let (metered, found) = meter(bounded.boxed(), expected.algorithm(), |_| {});
    let checked = async_stream::try_stream! {
        for await chunk in metered {
            yield chunk?;
        }
        let found = found.get().cloned();
        if found.as_ref() != Some(&expected) {
            let found = found.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string());
            Err(damaged(subject, &found, &expected))?;
        }
    };
    checked.boxed()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::stream;

    #[tokio::test]
    async fn digests_equal_sha256sum_and_b3sum() {
        let known = [
            (Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (Algorithm::Blake3, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
        ];
        for (algorithm, known) in known {
            let (stream, digest) = meter(stream::from_bytes("abc"), algorithm, |_| {});
            assert!(digest.get().is_none());
            stream::collect(stream, 10, Stage::Dump, "").await.unwrap();
            let digest = digest.get().unwrap();
            assert_eq!((digest.bytes, digest.hex(), digest.algorithm()), (3, known, algorithm));
        }
    }

    #[test]
    fn a_digest_names_its_algorithm() {
        let blake3 = Digest { bytes: 3, hash: Hash::Blake3("64".into()) };
        for (digest, json) in [(Digest::of(b""), "\"sha256\":\"e3b0"), (blake3, "{\"bytes\":3,\"blake3\":\"64\"}")] {
            let written = serde_json::to_string(&digest).unwrap();
            assert!(written.contains(json), "{written}");
            assert_eq!(serde_json::from_str::<Digest>(&written).unwrap(), digest);
        }
    }

    #[tokio::test]
    async fn failed_stream_has_no_digest() {
        let error = Error::new(Stage::Dump, Kind::Failed, "", "dead");
        let (stream, digest) = meter(stream::failed(error), Algorithm::Sha256, |_| {});
        assert!(stream::collect(stream, 10, Stage::Dump, "").await.is_err());
        assert!(digest.get().is_none());
    }

    #[tokio::test]
    async fn unexpected_bytes_fail_the_end() {
        let stream = expect(stream::from_bytes("abd"), Digest::of(b"abc"), "x".into());
        let error = stream::collect(stream, 10, Stage::Dump, "").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }

    #[tokio::test]
    async fn longer_stream_fails_at_the_expected_end() {
        let endless = futures_util::stream::repeat_with(|| Ok(Bytes::from_static(b"abc")));
        let mut stream = expect(endless.boxed(), Digest::of(b"abcabcab"), "x".into());
        let mut passed = 0;
        let error = loop {
            match stream.next().await.unwrap() {
                Ok(chunk) => passed += chunk.len(),
                Err(error) => break error,
            }
        };
        assert_eq!((passed, error.kind()), (6, Kind::Corrupt));
        assert!(error.to_string().contains("found more bytes"), "{error}");
    }
}
