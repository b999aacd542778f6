//! The settings of uploads, and the number of parts in memory at once: the configured number while
//! parts are small, and fewer as they grow.

use crate::part_size::PartSize;

/// The maximum number of bytes of one body in memory: sent and collected parts. A single larger
/// part may exceed it.
///
/// | sent so far | part | maximum in memory, with the default settings |
/// | --- | --- | --- |
/// | up to 10 GiB | 8 MiB | 40 MiB: 4 being sent, one being collected |
/// | 30 GiB | 25 MiB | 75 MiB: 2 and one |
/// | 50 GiB | 41 MiB | 82 MiB: 1 and one |
/// | 60 GiB to 117 GiB | 50 to 96 MiB | one part: it is sent before the next is collected |
/// | 500 GiB | 410 MiB | one part |
/// | 1 TiB | 840 MiB | one part |
/// | 4.9 TiB | 4000 MiB | one part |
const MAX_BUFFERED_BYTES: u64 = 96 << 20;

/// The settings of uploads.
#[derive(Debug, Clone, Copy)]
pub struct Transfer {
    /// The size of parts.
    pub part_size: PartSize,
    /// The number of parts that are sent at once, while they are small.
    pub parallel: usize,
    /// The number of retries of a request.
    pub retries: usize,
}

impl Transfer {
    /// Returns true if a part of `part_bytes` may be collected while `in_flight_bytes` are being
    /// sent.
    pub(crate) fn may_buffer(&self, in_flight_bytes: u64, part_bytes: u64) -> bool {
        // A user who configures larger first parts accepts their memory use.
        let configured = self.part_size.next(0) * (self.parallel as u64 + 1);
        in_flight_bytes == 0 || in_flight_bytes + part_bytes <= MAX_BUFFERED_BYTES.max(configured)
    }

    /// Returns true if another part may be sent.
    pub(crate) fn may_send(&self, parts: usize) -> bool {
        parts < self.parallel
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::part_size::MAX_PARTS;

    const MIB: u64 = 1 << 20;
    const TIB: u64 = 1 << 40;

    /// Simulates sending `total` bytes with parts that complete only when waited for. Calls
    /// `buffered` with the bytes sent before each part, the size of the part, and all bytes in
    /// memory; returns the number of parts.
    fn send(transfer: Transfer, total: u64, mut buffered: impl FnMut(u64, u64, u64)) -> u64 {
        let (mut sent, mut count, mut in_flight) = (0, 0, VecDeque::new());
        while sent < total {
            let part = transfer.part_size.next(sent);
            while !transfer.may_buffer(in_flight.iter().sum(), part) {
                in_flight.pop_front();
            }
            buffered(sent, part, in_flight.iter().sum::<u64>() + part);
            while !transfer.may_send(in_flight.len()) {
                in_flight.pop_front();
            }
            in_flight.push_back(part);
            (sent, count) = (sent + part, count + 1);
        }
        count
    }

    fn growing(first: u64, parallel: usize) -> Transfer {
        Transfer { part_size: PartSize::Growing(first), parallel, retries: 0 }
    }

    #[test]
    fn bounds_buffered_bytes_except_for_a_single_part() {
        for (first, parallel) in [(5, 1), (5, 64), (8, 4), (8, 16), (16, 4), (64, 4), (4000, 2)] {
            let bound = (96 * MIB).max(first * MIB * (parallel as u64 + 1));
            let count = send(growing(first * MIB, parallel), 5 * TIB, |sent, part, buffered| {
                assert!(
                    buffered <= bound.max(part),
                    "{buffered} bytes are buffered after {sent}, with {parallel} of {first} MiB"
                );
            });
            assert!(count <= MAX_PARTS, "{count} parts");
        }
    }

    #[test]
    fn matches_the_documented_memory_use() {
        let mut measured = Vec::new();
        let mut points = [0, 9, 30, 50, 60, 116, 500, 1024, 5000].into_iter().peekable();
        send(growing(8 * MIB, 4), 5 * TIB, |sent, part, buffered| {
            // No part is in flight at the start, so the measurement is taken a few parts later.
            if points.next_if(|gibibytes| sent >= (gibibytes << 30) + 32 * MIB).is_some() {
                measured.push((part / MIB, buffered / MIB));
            }
        });
        let expected = [(8, 40), (8, 40), (25, 75), (41, 82), (50, 50), (96, 96), (410, 410), (840, 840), (4000, 4000)];
        assert_eq!(measured, expected);
    }

    #[test]
    fn buffers_as_many_equal_parts_as_configured() {
        let transfer = Transfer { part_size: PartSize::Equal(64 * MIB), parallel: 4, retries: 0 };
        let mut most = 0;
        let count = send(transfer, MAX_PARTS * 64 * MIB, |_, _, buffered| most = most.max(buffered));
        assert_eq!((count, most), (MAX_PARTS, 320 * MIB));
    }
}
