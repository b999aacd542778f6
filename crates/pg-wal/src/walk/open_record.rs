//! A record that continues on the next page.

use crate::facts::UnfinishedRecord;
use crate::lsn::Lsn;
use crate::record::{HEAD_BYTES, HEADER_BYTES, RecordCrc, RecordHeader};

/// A record of which some bytes were read.
#[derive(Debug)]
pub(super) struct OpenRecord {
    pub(super) lsn: Lsn,
    /// The bytes that are left on later pages.
    pub(super) remaining_bytes: u32,
    header: Vec<u8>,
    /// The first bytes after the header.
    head: Vec<u8>,
    crc: RecordCrc,
}

impl OpenRecord {
    /// Returns a record of `total_bytes` before its first byte.
    pub(super) fn new(lsn: Lsn, total_bytes: u32) -> Self {
        let header = Vec::with_capacity(HEADER_BYTES);
        Self { lsn, remaining_bytes: total_bytes, header, head: Vec::new(), crc: RecordCrc::new() }
    }

    /// Adds bytes of the record, at most a page and those that are left.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.remaining_bytes = self.remaining_bytes.saturating_sub(bytes.len() as u32);
        let missing_bytes = HEADER_BYTES.saturating_sub(self.header.len());
        let (header, body) = bytes.split_at(missing_bytes.min(bytes.len()));
        self.header.extend_from_slice(header);
        let missing_bytes = HEAD_BYTES.saturating_sub(self.head.len());
        self.head.extend_from_slice(body.get(..missing_bytes).unwrap_or(body));
        self.crc.update(body);
    }

    /// Returns the header, once it is complete.
    pub(super) fn header(&self) -> Option<RecordHeader> {
        self.header.first_chunk().map(RecordHeader::parse)
    }

    /// Returns the first bytes after the header, as far as they have been read.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Returns the CRC of the bytes, once the header is complete.
    pub(super) fn crc(&self) -> Option<u32> {
        self.header.first_chunk().map(|header| self.crc.clone().finish(header))
    }

    pub(super) fn unfinished(&self) -> UnfinishedRecord {
        UnfinishedRecord { lsn: self.lsn, missing_bytes: self.remaining_bytes }
    }
}
