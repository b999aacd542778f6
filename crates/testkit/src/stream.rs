//! Streams that fail on purpose, and streams of any length that need little memory.

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use longshore_core::meter::{Algorithm, Digest, meter};
use longshore_core::stream::{ByteStream, CHUNK_BYTES, channel};
use longshore_core::{Error, Kind, Result, Stage};

/// Returns a stream of `length` pseudo-random bytes, determined by `seed`.
pub fn random(seed: u64, length: u64) -> ByteStream {
    stream::unfold((Random(seed), length), |(mut random, left)| async move {
        let chunk = left.min(CHUNK_BYTES as u64) as usize;
        (chunk > 0).then(|| (Ok(random.bytes(chunk)), (random, left - chunk as u64)))
    })
    .boxed()
}

/// Returns the bytes of [`random`].
pub fn random_bytes(seed: u64, length: usize) -> Bytes {
    Random(seed).bytes(length)
}

/// Returns a stream of `length` bytes that compress well, cost little to make, and contain their
/// position every few KiB, for huge bodies.
pub fn patterned(length: u64) -> ByteStream {
    let chunks = (0..length).step_by(CHUNK_BYTES);
    stream::iter(chunks.map(move |at| Ok(patterned_bytes(at..length.min(at + CHUNK_BYTES as u64))))).boxed()
}

/// Returns a range of the bytes of [`patterned`].
pub fn patterned_bytes(range: Range<u64>) -> Bytes {
    let page = PAGE_BYTES as u64;
    let pages = range.start / page..range.end.div_ceil(page);
    let mut bytes = [b"the same for ever".as_slice(), &[b'.'; PAGE_BYTES - 17]].concat().repeat(pages.clone().count());
    for (page, number) in bytes.chunks_mut(PAGE_BYTES).zip(pages.clone()) {
        page[..8].copy_from_slice(&number.to_be_bytes());
    }
    let skipped = (range.start - pages.start * page) as usize;
    Bytes::from(bytes).slice(skipped..skipped + (range.end - range.start) as usize)
}

/// Reads a stream to its end, and compares every byte with [`patterned`] from `start` on. Returns
/// the number of bytes.
///
/// # Panics
/// At the first difference.
pub async fn expect_patterned(start: u64, mut stream: ByteStream) -> Result<u64> {
    let mut at = start;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        let next = at + chunk.len() as u64;
        assert!(chunk == patterned_bytes(at..next), "the bytes {at} to {next} differ");
        at = next;
    }
    Ok(at - start)
}

/// The size of a repeated page, which begins with its number.
const PAGE_BYTES: usize = 4096;

/// Returns a stream of `length` bytes that then fails with [`failure`].
pub fn fails_after(length: u64) -> ByteStream {
    random(0, length).chain(stream::once(async { Err(failure()) })).boxed()
}

/// Returns a stream of `length` bytes that then hangs.
pub fn stalls_after(length: u64) -> ByteStream {
    random(0, length).chain(stream::pending()).boxed()
}

/// Returns a stream of `length` bytes that then ends without success, like a producer that was
/// cancelled or panicked.
pub fn abandoned_after(length: u64) -> ByteStream {
    let (sender, stream) = channel();
    tokio::spawn(async move {
        let mut bytes = random(0, length);
        while let Some(Ok(chunk)) = bytes.next().await {
            if sender.send(chunk).await.is_err() {
                return;
            }
        }
    });
    stream
}

/// Returns the error of [`fails_after`], which no other code returns.
pub fn failure() -> Error {
    Error::new(Stage::Dump, Kind::Unavailable, "testkit", "failed on purpose").hint("none: it is a test")
}

/// Returns true if `error` is [`failure`], unchanged.
pub fn is_failure(error: &Error) -> bool {
    let expected = failure();
    (error.stage(), error.kind(), error.chain(), error.remedy())
        == (expected.stage(), expected.kind(), expected.chain(), expected.remedy())
}

/// Reads a stream to its end and returns its digest.
pub async fn digest(stream: ByteStream) -> Result<Digest> {
    let (mut stream, digest) = meter(stream, Algorithm::Sha256, |_| {});
    while let Some(chunk) = stream.next().await {
        chunk?;
    }
    Ok(digest.get().unwrap().clone())
}

/// The SplitMix64 generator: small, fast, and random enough not to be compressible.
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
    async fn random_stream_equals_random_bytes() {
        for length in [0, 1, 7, 8, CHUNK_BYTES, CHUNK_BYTES + 9] {
            let streamed = digest(random(7, length as u64)).await.unwrap();
            assert_eq!(streamed, Digest::of(&random_bytes(7, length)));
        }
        assert_ne!(random_bytes(1, 100), random_bytes(2, 100));
    }

    #[tokio::test]
    async fn pattern_is_equal_in_every_range() {
        let length = 2 * CHUNK_BYTES as u64 + 100;
        let whole = patterned_bytes(0..length);
        assert_eq!(digest(patterned(length)).await.unwrap(), Digest::of(&whole));
        assert_eq!(expect_patterned(0, patterned(length)).await.unwrap(), length);
        for range in [0..1, 4095..4097, 4096..8192, 5..length - 3, length - 1..length, 7..7] {
            assert_eq!(patterned_bytes(range.clone()), whole[range.start as usize..range.end as usize], "{range:?}");
        }
        assert_ne!(patterned_bytes(0..4096), patterned_bytes(4096..8192));
    }

    #[tokio::test]
    async fn only_intended_failures_are_recognised() {
        assert!(is_failure(&digest(fails_after(10)).await.unwrap_err()));
        assert!(!is_failure(&digest(abandoned_after(10)).await.unwrap_err()));
    }
}
