//! A buffer that collects the chunks of a body into parts without copying.

use std::mem;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use longshore_core::Result;
use longshore_core::stream::{ByteStream, CHUNK_BYTES};
use object_store::PutPayload;

/// The size below which chunks are merged: each separate chunk costs a frame and a list entry.
const MIN_CHUNK_BYTES: usize = 16 * 1024;

/// The bytes of one request.
pub(crate) struct Part {
    pub(crate) payload: PutPayload,
    pub(crate) bytes: u64,
    /// True if the body ended cleanly with this part.
    pub(crate) last: bool,
}

/// A body that is read part by part.
pub(crate) struct PartBuffer {
    body: ByteStream,
    /// The chunks of the next part.
    chunks: Vec<Bytes>,
    merged: BytesMut,
    bytes: u64,
    /// The bytes read beyond the last part.
    rest: Bytes,
}

impl PartBuffer {
    pub(crate) fn new(body: ByteStream) -> Self {
        Self { body, chunks: Vec::new(), merged: BytesMut::new(), bytes: 0, rest: Bytes::new() }
    }

    /// Returns the next `size` bytes, or the rest of the body. Cancel safe: dropping the future
    /// loses no bytes. Must not be called after an error or after the last part.
    pub(crate) async fn next_part(&mut self, size: u64) -> Result<Part> {
        loop {
            let length = (size - self.bytes).min(self.rest.len() as u64);
            let chunk = self.rest.split_to(length as usize);
            self.add(chunk);
            if self.bytes == size {
                return Ok(self.finish_part(false));
            }
            match self.body.next().await {
                Some(chunk) => self.rest = chunk?,
                None => return Ok(self.finish_part(true)),
            }
        }
    }

    fn add(&mut self, chunk: Bytes) {
        self.bytes += chunk.len() as u64;
        if chunk.len() < MIN_CHUNK_BYTES {
            self.merged.extend_from_slice(&chunk);
            if self.merged.len() >= CHUNK_BYTES {
                self.flush_merged();
            }
        } else {
            self.flush_merged();
            self.chunks.push(chunk);
        }
    }

    fn flush_merged(&mut self) {
        if !self.merged.is_empty() {
            self.chunks.push(mem::take(&mut self.merged).freeze());
        }
    }

    fn finish_part(&mut self, last: bool) -> Part {
        self.flush_merged();
        Part { payload: mem::take(&mut self.chunks).into_iter().collect(), bytes: mem::take(&mut self.bytes), last }
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::stream::from_bytes;
    use longshore_testkit::stream::{fails_after, is_failure, random, random_bytes};

    use super::*;

    async fn read_parts(body: ByteStream, size: u64) -> Vec<Bytes> {
        let (mut buffer, mut parts) = (PartBuffer::new(body), Vec::new());
        loop {
            let part = buffer.next_part(size).await.unwrap();
            assert_eq!(part.bytes, part.payload.content_length() as u64);
            parts.push(part.payload.into());
            if part.last {
                return parts;
            }
        }
    }

    #[tokio::test]
    async fn cuts_bodies_into_parts_of_the_requested_size() {
        for (length, size) in [(0, 10), (9, 10), (10, 10), (11, 10), (1 << 20, 300_000), (1 << 20, 1 << 18)] {
            let parts = read_parts(random(1, length), size).await;
            let (last, full) = parts.split_last().unwrap();
            assert!(
                full.iter().all(|part| part.len() as u64 == size) && last.len() as u64 <= size,
                "{length} by {size}"
            );
            assert_eq!(parts.concat(), random_bytes(1, length as usize), "{length} by {size}");
        }
    }

    #[tokio::test]
    async fn merges_small_chunks_without_copying_large_ones() {
        let body = random_bytes(1, 1 << 20);
        let part = PartBuffer::new(from_bytes(body.clone())).next_part(1 << 20).await.unwrap();
        assert_eq!(part.payload.iter().next().unwrap().as_ptr(), body.as_ptr());
        let chunks: Vec<_> = body.chunks(7).map(|chunk| Ok(body.slice_ref(chunk))).collect();
        let part = PartBuffer::new(Box::pin(futures_util::stream::iter(chunks))).next_part(1 << 20).await.unwrap();
        assert!(part.payload.iter().count() <= 4);
    }

    #[tokio::test]
    async fn returns_the_error_of_a_body_without_a_part() {
        let error = PartBuffer::new(fails_after(1000)).next_part(2000).await.map(|part| part.bytes).unwrap_err();
        assert!(is_failure(&error));
    }

    #[tokio::test]
    async fn dropped_reads_lose_no_bytes() {
        let (sender, body) = longshore_core::stream::channel();
        let mut buffer = PartBuffer::new(body);
        for chunk in ["one ", "two ", "three"] {
            sender.send(Bytes::from_static(chunk.as_bytes())).await.unwrap();
            let waiting = tokio::time::timeout(std::time::Duration::from_millis(20), buffer.next_part(100));
            assert!(waiting.await.is_err());
        }
        sender.finish().await.unwrap();
        assert_eq!(Bytes::from(buffer.next_part(100).await.unwrap().payload), "one two three");
    }
}
