//! Streams that fail on purpose, and streams of any length that need no memory.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use longshore_core::meter::{Digest, meter};
use longshore_core::stream::{ByteStream, CHUNK_BYTES, channel};
use longshore_core::{Error, Kind, Result, Stage};

/// `length` bytes that look random and are the same for the same `seed`.
pub fn random(seed: u64, length: u64) -> ByteStream {
    stream::unfold((Random(seed), length), |(mut random, left)| async move {
        let chunk = left.min(CHUNK_BYTES as u64) as usize;
        (chunk > 0).then(|| (Ok(random.bytes(chunk)), (random, left - chunk as u64)))
    })
    .boxed()
}

/// What [`random`] streams, at hand.
pub fn random_bytes(seed: u64, length: usize) -> Bytes {
    Random(seed).bytes(length)
}

/// `length` bytes, then [`failure`].
pub fn fails_after(length: u64) -> ByteStream {
    random(0, length).chain(stream::once(async { Err(failure()) })).boxed()
}

/// `length` bytes, then nothing, for ever: a producer that hangs.
pub fn stalls_after(length: u64) -> ByteStream {
    random(0, length).chain(stream::pending()).boxed()
}

/// `length` bytes, then the end of a producer that did not say it had succeeded: a task that was cancelled or has panicked.
pub fn abandoned_after(length: u64) -> ByteStream {
    let (feeder, stream) = channel();
    tokio::spawn(async move {
        let mut bytes = random(0, length);
        while let Some(Ok(chunk)) = bytes.next().await {
            if feeder.feed(chunk).await.is_err() {
                return;
            }
        }
    });
    stream
}

/// What [`fails_after`] fails with: nothing else does, so it is known again.
pub fn failure() -> Error {
    Error::new(Stage::Dump, Kind::Unavailable, "testkit", "failed on purpose").hint("none: it is a test")
}

/// Whether `error` is [`failure`], unchanged.
pub fn is_failure(error: &Error) -> bool {
    let expected = failure();
    (error.stage(), error.kind(), error.chain(), error.remedy())
        == (expected.stage(), expected.kind(), expected.chain(), expected.remedy())
}

/// Reads a stream to its end, and keeps its digest alone.
pub async fn digest(stream: ByteStream) -> Result<Digest> {
    let (mut stream, digest) = meter(stream, |_| {});
    while let Some(chunk) = stream.next().await {
        chunk?;
    }
    Ok(digest.get().unwrap().clone())
}

/// The SplitMix64 generator: small, fast, and good enough that nothing compresses it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    fn bytes(&mut self, length: usize) -> Bytes {
        let mut bytes = vec![0; length];
        for word in bytes.chunks_mut(8) {
            word.copy_from_slice(&self.next().to_le_bytes()[..word.len()]);
        }
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_of_a_seed_is_the_bytes_of_that_seed() {
        for length in [0, 1, 7, 8, CHUNK_BYTES, CHUNK_BYTES + 9] {
            let streamed = digest(random(7, length as u64)).await.unwrap();
            assert_eq!(streamed, Digest::of(&random_bytes(7, length)));
        }
        assert_ne!(random_bytes(1, 100), random_bytes(2, 100));
    }

    #[tokio::test]
    async fn what_fails_on_purpose_is_known_again_and_what_is_abandoned_is_another_error() {
        assert!(is_failure(&digest(fails_after(10)).await.unwrap_err()));
        assert!(!is_failure(&digest(abandoned_after(10)).await.unwrap_err()));
    }
}
