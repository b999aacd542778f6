//! Segments of 1 MiB for tests, with damage that no server writes.

use crate::lsn::Lsn;
use crate::page::{LONG_HEADER_BYTES, PAGE_BYTES, SHORT_HEADER_BYTES};
use crate::record::{HEADER_BYTES, RecordCrc};

pub(super) const SEGMENT_BYTES: usize = 1 << 20;

/// The position of the segment.
pub(super) const START: u64 = 0x7_0050_0000;

pub(super) const SYSTEM_IDENTIFIER: u64 = 0x6AAE_352A_7154_A68B;

const CONTINUATION: u16 = 1;
pub(super) const OVERWRITE: u16 = 8;

/// A segment of PostgreSQL 17 that is being written.
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    pub(super) timeline: u32,
    /// The position of the last record.
    pub(super) previous: u64,
}

impl Writer {
    /// Returns a segment that begins with the last bytes of a record.
    pub(super) fn new(continuation: &[u8]) -> Self {
        let mut writer = Self { bytes: Vec::new(), timeline: 1, previous: START - 0x100 };
        match continuation {
            [] => writer.begin_page(0, 0),
            rest => writer.append(rest),
        }
        writer
    }

    pub(super) fn lsn(&self) -> u64 {
        START + self.bytes.len() as u64
    }

    /// Returns the bytes that are left in the page.
    pub(super) fn page_bytes_left(&self) -> usize {
        self.bytes.len().next_multiple_of(PAGE_BYTES) - self.bytes.len()
    }

    /// Appends a record with main data, and returns its position.
    pub(super) fn record(&mut self, resource_manager: u8, info: u8, data: &[u8]) -> Lsn {
        if self.page_bytes_left() == 0 {
            self.begin_page(0, 0);
        }
        let lsn = self.lsn();
        let record = record(self.previous, resource_manager, info, data);
        self.previous = lsn;
        self.append(&record);
        Lsn(lsn)
    }

    /// Appends a commit at a number of microseconds after 2000.
    pub(super) fn commit(&mut self, microseconds: i64) -> Lsn {
        self.record(1, 0x80, &[&microseconds.to_le_bytes()[..], b"more"].concat())
    }

    pub(super) fn restore_point(&mut self, name: &str) -> Lsn {
        let mut data = [&5_000_000_i64.to_le_bytes()[..], name.as_bytes()].concat();
        data.resize(72, 0);
        self.record(0, 0x70, &data)
    }

    pub(super) fn switch(&mut self) -> Lsn {
        self.record(0, 0x40, b"")
    }

    /// Appends records until the next one would begin with `left` bytes left in the page.
    pub(super) fn fill_page(&mut self, left: usize) {
        while self.page_bytes_left() > left + 260 {
            self.record(10, 0, &[7; 200]);
        }
        let data = self.page_bytes_left() - left - HEADER_BYTES - 2;
        self.record(10, 0, &vec![7; data]);
        assert_eq!(self.page_bytes_left(), left);
    }

    /// Appends records until the segment is full.
    pub(super) fn fill(&mut self) {
        while self.bytes.len() < SEGMENT_BYTES {
            self.record(10, 0, &[7; 200]);
        }
        self.bytes.truncate(SEGMENT_BYTES);
    }

    /// Returns the segment so far, with zeros at its end.
    pub(super) fn segment(&self) -> Vec<u8> {
        assert!(self.bytes.len() <= SEGMENT_BYTES);
        let mut bytes = self.bytes.clone();
        bytes.resize(SEGMENT_BYTES, 0);
        bytes
    }

    pub(super) fn begin_page(&mut self, flags: u16, remaining_bytes: u32) {
        let is_first = self.bytes.is_empty();
        let header_bytes = if is_first { LONG_HEADER_BYTES } else { SHORT_HEADER_BYTES };
        let (address, begin) = (self.lsn(), self.bytes.len());
        let flags = flags | if is_first { 2 } else { 0 };
        self.bytes.extend(0xD116_u16.to_le_bytes());
        self.bytes.extend(flags.to_le_bytes());
        self.bytes.extend(self.timeline.to_le_bytes());
        self.bytes.extend(address.to_le_bytes());
        self.bytes.extend(remaining_bytes.to_le_bytes());
        self.bytes.extend([0; 4]);
        if is_first {
            self.bytes.extend(SYSTEM_IDENTIFIER.to_le_bytes());
            self.bytes.extend((SEGMENT_BYTES as u32).to_le_bytes());
            self.bytes.extend((PAGE_BYTES as u32).to_le_bytes());
        }
        assert_eq!(self.bytes.len(), begin + header_bytes);
    }

    /// Appends bytes of a record, with the headers of the pages between, and its padding.
    fn append(&mut self, mut record: &[u8]) {
        while !record.is_empty() {
            if self.page_bytes_left() == 0 {
                self.begin_page(CONTINUATION, record.len() as u32);
            }
            let (now, later) = record.split_at(record.len().min(self.page_bytes_left()));
            self.bytes.extend_from_slice(now);
            record = later;
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }
}

/// Returns the bytes of a record.
fn record(previous: u64, resource_manager: u8, info: u8, data: &[u8]) -> Vec<u8> {
    let body = match (data.len(), u8::try_from(data.len())) {
        (0, _) => Vec::new(),
        (_, Ok(bytes)) => [&[255, bytes], data].concat(),
        (bytes, Err(_)) => [&[254], &(bytes as u32).to_le_bytes()[..], data].concat(),
    };
    let mut header = ((HEADER_BYTES + body.len()) as u32).to_le_bytes().to_vec();
    header.extend(731_u32.to_le_bytes());
    header.extend(previous.to_le_bytes());
    header.extend([info, resource_manager, 0, 0, 0, 0, 0, 0]);
    let mut crc = RecordCrc::new();
    crc.update(&body);
    let crc = crc.finish(header.first_chunk().unwrap());
    header[20..].copy_from_slice(&crc.to_le_bytes());
    header.extend(body);
    header
}
