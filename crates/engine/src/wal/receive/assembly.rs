//! The segment that is being received.

use bytes::Bytes;
use longshore_pg_wal::Lsn;
use longshore_pg_wal::segment::{Segment, SegmentSize};

/// The bytes of the first page's header. With less, a file is not recognizable as a segment.
const HEADER_BYTES: usize = 40;

/// A segment that is being received, from its first byte on.
pub(super) struct Assembly {
    segment: Segment,
    size: SegmentSize,
    content: Vec<u8>,
    /// WAL of the segments after this one.
    rest: Bytes,
}

impl Assembly {
    /// Returns a segment without any byte. `content` is a buffer, whose bytes are replaced.
    pub(super) fn new(segment: Segment, size: SegmentSize, mut content: Vec<u8>) -> Self {
        content.clear();
        Self { segment, size, content, rest: Bytes::new() }
    }

    pub(super) fn segment(&self) -> Segment {
        self.segment
    }

    /// Returns the position after the last byte received.
    pub(super) fn position(&self) -> Lsn {
        Lsn(self.end().0.saturating_add(self.rest.len() as u64))
    }

    /// Returns the position after the last byte of this segment received.
    pub(super) fn end(&self) -> Lsn {
        Lsn(self.segment.start(self.size).0.saturating_add(self.content.len() as u64))
    }

    pub(super) fn is_full(&self) -> bool {
        self.content.len() >= self.size.bytes() as usize
    }

    /// Returns true if a partial segment can be made.
    pub(super) fn is_recognizable(&self) -> bool {
        self.content.len() >= HEADER_BYTES
    }

    /// Adds WAL. Returns false if the WAL does not follow that before.
    pub(super) fn push(&mut self, start: Lsn, mut bytes: Bytes) -> bool {
        if start != self.position() || !self.rest.is_empty() {
            return false;
        }
        let missing_bytes = self.size.bytes() as usize - self.content.len();
        let own = bytes.split_to(missing_bytes.min(bytes.len()));
        self.content.extend_from_slice(&own);
        self.rest = bytes;
        true
    }

    /// Removes the segment, which is full, and continues with the next one in another buffer.
    pub(super) fn take(&mut self, buffer: Vec<u8>) -> (Segment, Bytes) {
        let next = Segment { timeline: self.segment.timeline, number: self.segment.number + 1 };
        let full = std::mem::replace(self, Self::new(next, self.size, buffer));
        self.push(next.start(self.size), full.rest);
        (full.segment, full.content.into())
    }

    /// Returns the segment so far in another buffer, with zeros up to its size.
    pub(super) fn padded(&self, mut content: Vec<u8>) -> Bytes {
        content.clear();
        content.extend_from_slice(&self.content);
        content.resize(self.size.bytes() as usize, 0);
        content.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wal_is_divided_into_segments() {
        let size = SegmentSize::new(1 << 20).unwrap();
        let mut assembly = Assembly::new(Segment { timeline: 3, number: 2 }, size, Vec::new());
        assert!(!assembly.push(Lsn((2 << 20) + 1), Bytes::from_static(b"x")), "a gap");
        let wal: Vec<u8> = (0..3_u32 << 20).map(|at| at as u8 ^ (at >> 8) as u8).collect();
        let mut whole = Vec::new();
        for (at, piece) in wal.chunks(100_000).enumerate() {
            let start = Lsn((2 << 20) + at as u64 * 100_000);
            assert!(assembly.push(start, Bytes::copy_from_slice(piece)));
            assert_eq!(assembly.position().0, start.0 + piece.len() as u64);
            while assembly.is_full() {
                let (segment, content) = assembly.take(Vec::new());
                assert_eq!((segment.timeline, segment.number), (3, 2 + whole.len() as u64));
                whole.push(content);
            }
        }
        assert!(whole.concat() == wal, "the content differs");
        assert!(!assembly.is_recognizable());
        assert!(assembly.push(assembly.position(), Bytes::from_static(&[7; 50])));
        let padded = assembly.padded(Vec::new());
        assert!(padded.len() == 1 << 20 && padded[..50] == [7; 50] && padded[50..].iter().all(|byte| *byte == 0));
        assert!(assembly.is_recognizable() && assembly.end() == Lsn((5 << 20) + 50));
    }
}
