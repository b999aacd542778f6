//! The sizes of the parts of an upload, and the limit on their number.

/// The maximum number of parts of an upload in S3 and GCS.
pub(crate) const MAX_PARTS: u64 = 10_000;

/// The maximum number of bytes of a part in Azure; S3 and GCS allow more.
const MAX_PART_BYTES: u64 = 4_000 << 20;

/// A part has at least 1/1,250 of the bytes sent before it: the smallest size with which 10,000
/// parts hold 5 TiB.
const GROWTH_DIVISOR: u64 = 1_250;

/// The size of the parts of an upload, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartSize {
    /// The first parts have this size. Later parts are larger, so that any upload fits into 10,000
    /// parts.
    Growing(u64),
    /// All parts but the last have this size, for stores that require it.
    Equal(u64),
}

impl PartSize {
    /// Returns the size of the next part, in bytes, after `sent` bytes.
    pub(crate) fn next(self, sent: u64) -> u64 {
        match self {
            Self::Growing(first) => {
                (sent / GROWTH_DIVISOR).next_multiple_of(1 << 20).clamp(first, MAX_PART_BYTES.max(first))
            }
            Self::Equal(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const TIB: u64 = 1 << 40;

    /// Returns the number of parts for `total` bytes, and the size of the largest.
    fn parts(size: PartSize, total: u64) -> (u64, u64) {
        let (mut sent, mut count, mut largest) = (0, 0, 0);
        while sent < total {
            let part = size.next(sent).min(total - sent);
            (sent, count, largest) = (sent + part, count + 1, largest.max(part));
        }
        (count, largest)
    }

    #[test]
    fn fits_5_tib_with_any_first_part() {
        for first in [5 * MIB, 8 * MIB, 100 * MIB, 1024 * MIB] {
            let (count, largest) = parts(PartSize::Growing(first), 5 * TIB);
            assert!(count <= MAX_PARTS, "{first}: {count} parts");
            assert!(largest <= MAX_PART_BYTES, "{first}: a part of {largest} bytes");
        }
    }

    #[test]
    fn grows_parts_with_the_bytes_sent() {
        let size = PartSize::Growing(8 * MIB);
        for (gibibytes, mebibytes) in [(0, 8), (9, 8), (40, 33), (100, 82), (1024, 839)] {
            assert_eq!(size.next(gibibytes << 30), mebibytes * MIB, "after {gibibytes} GiB");
        }
    }

    #[test]
    fn keeps_equal_parts_equal() {
        assert_eq!(parts(PartSize::Equal(64 * MIB), MAX_PARTS * 64 * MIB), (MAX_PARTS, 64 * MIB));
    }
}
