//! The end of a record, which is continued over the headers of pages.

use crate::lsn::Lsn;
use crate::page::{LONG_HEADER_BYTES, PAGE_BYTES, SHORT_HEADER_BYTES};
use crate::segment::SegmentSize;

/// The alignment of records: `MAXIMUM_ALIGNOF` on machines with 64 bits.
const ALIGNMENT: u64 = 8;

/// Returns the position after a record of `total_bytes` that starts at `start`, where the next
/// record starts unless a page header is there.
pub fn record_end(start: Lsn, total_bytes: u32, size: SegmentSize) -> Lsn {
    let (mut at, mut missing) = (start.0, u64::from(total_bytes));
    loop {
        let page_end = (at / PAGE_BYTES as u64 + 1).saturating_mul(PAGE_BYTES as u64);
        let here = page_end - at;
        if missing <= here {
            return Lsn(at.saturating_add(missing).next_multiple_of(ALIGNMENT));
        }
        missing -= here;
        let is_first = page_end.is_multiple_of(u64::from(size.bytes()));
        let header = if is_first { LONG_HEADER_BYTES } else { SHORT_HEADER_BYTES };
        at = page_end.saturating_add(header as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_continues_after_the_headers_of_pages() {
        let end = |start, bytes| record_end(Lsn(start), bytes, SegmentSize::DEFAULT).0;
        assert_eq!(end(0x100_0028, 114), 0x100_0028 + 120);
        assert_eq!(end(0x100_0000 + 8192 - 120, 114), 0x100_0000 + 8192);
        assert_eq!(end(0x100_0000 + 8192 - 64, 114), 0x100_0000 + 8192 + 24 + 56, "50 bytes on the next page");
        assert_eq!(end(0x200_0000 - 64, 114), 0x200_0000 + 40 + 56, "on the first page of a segment");
        assert_eq!(end(0x100_0028, 8192), 0x100_0000 + 8192 + 24 + 40);
    }
}
