//! A buffer that collects the chunks of a body into parts without copying.

use std::mem;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use longshore_core::Result;
use longshore_core::stream::{ByteStream, CHUNK_BYTES};
use object_store::PutPayload;

/// The size below which chunks are merged: each separate chunk costs a frame and a list entry.
const CRUMB_BYTES: usize = 16 * 1024;

/// The bytes of one request.
pub(crate) struct Part {
    pub(crate) payload: PutPayload,
    pub(crate) bytes: u64,
    /// True if the body ended cleanly with this part.
    pub(crate) last: bool,
}

/// A body that is read part by part.
pub(crate) struct Gather {
    body: ByteStream,
    /// The chunks of the next part.
    chunks: Vec<Bytes>,
    crumbs: BytesMut,
    bytes: u64,
    /// The bytes read beyond the last part.
    rest: Bytes,
}

impl Gather {
    pub(crate) fn new(body: ByteStream) -> Self {
        Self { body, chunks: Vec::new(), crumbs: BytesMut::new(), bytes: 0, rest: Bytes::new() }
    }

    /// Returns the next `size` bytes, or the rest of the body. Cancel safe: dropping the future
    /// loses no bytes. Must not be called after an error or after the last part.
    pub(crate) async fn part(&mut self, size: u64) -> Result<Part> {
        loop {
            let wanted = (size - self.bytes).min(self.rest.len() as u64);
            let taken = self.rest.split_to(wanted as usize);
            self.add(taken);
            if self.bytes == size {
                return Ok(self.close(false));
            }
            match self.body.next().await {
                Some(chunk) => self.rest = chunk?,
                None => return Ok(self.close(true)),
            }
        }
    }

    fn add(&mut self, chunk: Bytes) {
        self.bytes += chunk.len() as u64;
        if chunk.len() < CRUMB_BYTES {
            self.crumbs.extend_from_slice(&chunk);
            if self.crumbs.len() >= CHUNK_BYTES {
                self.sweep_up();
            }
        } else {
            self.sweep_up();
            self.chunks.push(chunk);
        }
    }

    fn sweep_up(&mut self) {
        if !self.crumbs.is_empty() {
            self.chunks.push(mem::take(&mut self.crumbs).freeze());
        }
    }

    fn close(&mut self, last: bool) -> Part {
        self.sweep_up();
        Part { payload: mem::take(&mut self.chunks).into_iter().collect(), bytes: mem::take(&mut self.bytes), last }
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::stream::from_bytes;
    use longshore_testkit::stream::{fails_after, is_failure, random, random_bytes};

    use super::*;

    async fn gathered(body: ByteStream, size: u64) -> Vec<Bytes> {
        let (mut gather, mut parts) = (Gather::new(body), Vec::new());
        loop {
            let part = gather.part(size).await.unwrap();
            assert_eq!(part.bytes, part.payload.content_length() as u64);
            parts.push(part.payload.into());
            if part.last {
                return parts;
            }
        }
    }

    #[tokio::test]
    async fn parts_are_the_body_cut_where_it_was_asked_for() {
        for (length, size) in [(0, 10), (9, 10), (10, 10), (11, 10), (1 << 20, 300_000), (1 << 20, 1 << 18)] {
            let parts = gathered(random(1, length), size).await;
            let (last, full) = parts.split_last().unwrap();
            assert!(
                full.iter().all(|part| part.len() as u64 == size) && last.len() as u64 <= size,
                "{length} by {size}"
            );
            assert_eq!(parts.concat(), random_bytes(1, length as usize), "{length} by {size}");
        }
    }

    #[tokio::test]
    async fn whole_chunks_are_not_copied_and_crumbs_are_put_together() {
        let body = random_bytes(1, 1 << 20);
        let part = Gather::new(from_bytes(body.clone())).part(1 << 20).await.unwrap();
        assert_eq!(part.payload.iter().next().unwrap().as_ptr(), body.as_ptr());
        let crumbs: Vec<_> = body.chunks(7).map(|crumb| Ok(body.slice_ref(crumb))).collect();
        let part = Gather::new(Box::pin(futures_util::stream::iter(crumbs))).part(1 << 20).await.unwrap();
        assert!(part.payload.iter().count() <= 4);
    }

    #[tokio::test]
    async fn a_body_that_fails_gives_no_part_of_it() {
        let error = Gather::new(fails_after(1000)).part(2000).await.map(|part| part.bytes).unwrap_err();
        assert!(is_failure(&error));
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_loses_nothing() {
        let (feeder, body) = longshore_core::stream::channel();
        let mut gather = Gather::new(body);
        for chunk in ["one ", "two ", "three"] {
            feeder.feed(Bytes::from_static(chunk.as_bytes())).await.unwrap();
            let waiting = tokio::time::timeout(std::time::Duration::from_millis(20), gather.part(100));
            assert!(waiting.await.is_err());
        }
        feeder.finish().await.unwrap();
        assert_eq!(Bytes::from(gather.part(100).await.unwrap().payload), "one two three");
    }
}
