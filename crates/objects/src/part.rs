//! How large the parts of an upload are, and when there are too many.

/// The most parts that an upload may have in S3 and GCS.
pub(crate) const MAX_PARTS: u64 = 10_000;

/// The most bytes that a part may have in Azure; S3 and GCS allow more.
const MAX_PART_BYTES: u64 = 4_000 << 20;

/// A part is at least this share of what was sent before it: as small as 10,000 parts of 5 TiB allow.
const SHARE: u64 = 1_250;

/// How large the parts of an upload are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartSize {
    /// So many bytes at first, and more as the upload grows, so that any size fits into 10,000 parts.
    Growing(u64),
    /// So many bytes each, but the last: for stores that take no others.
    Equal(u64),
}

impl PartSize {
    /// The size of the next part, in bytes, after `sent` bytes.
    pub(crate) fn next(self, sent: u64) -> u64 {
        match self {
            Self::Growing(first) => (sent / SHARE).next_multiple_of(1 << 20).clamp(first, MAX_PART_BYTES.max(first)),
            Self::Equal(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const TIB: u64 = 1 << 40;

    /// How many parts `total` bytes take, and the size of the largest.
    fn parts(size: PartSize, total: u64) -> (u64, u64) {
        let (mut sent, mut count, mut largest) = (0, 0, 0);
        while sent < total {
            let part = size.next(sent).min(total - sent);
            (sent, count, largest) = (sent + part, count + 1, largest.max(part));
        }
        (count, largest)
    }

    #[test]
    fn five_tebibytes_fit_whatever_the_first_part() {
        for first in [5 * MIB, 8 * MIB, 100 * MIB, 1024 * MIB] {
            let (count, largest) = parts(PartSize::Growing(first), 5 * TIB);
            assert!(count <= MAX_PARTS, "{first}: {count} parts");
            assert!(largest <= MAX_PART_BYTES, "{first}: a part of {largest}");
        }
    }

    #[test]
    fn parts_stay_as_small_as_they_may() {
        let size = PartSize::Growing(8 * MIB);
        for (gibibytes, mebibytes) in [(0, 8), (9, 8), (40, 33), (100, 82), (1024, 839)] {
            assert_eq!(size.next(gibibytes << 30), mebibytes * MIB, "after {gibibytes} GiB");
        }
    }

    #[test]
    fn equal_parts_are_equal_to_the_end() {
        assert_eq!(parts(PartSize::Equal(64 * MIB), MAX_PARTS * 64 * MIB), (MAX_PARTS, 64 * MIB));
    }
}
