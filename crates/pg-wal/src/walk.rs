//! A walk over one WAL segment, from the first record to the last, in bounded memory.
//!
//! The rules are those of `XLogReadRecord` (`src/backend/access/transam/xlogreader.c`): page
//! headers have the right address, and each record names the one before it and has the right CRC.
//! A walk ends at the first page or record that does not follow, and decides from the rest of the
//! file if that is the end of the WAL or a [defect](crate::facts::Defect).
//!
//! These bytes have no meaning for PostgreSQL: the padding of page headers and after records,
//! `xlp_rem_len` without its flag, the flag `XLP_BKP_REMOVABLE`, the flag
//! `XLP_FIRST_IS_OVERWRITE_CONTRECORD` where no record is unfinished, and the bytes after
//! `XLOG_SWITCH`.
//!
//! One segment alone does not verify the records that begin or end in another segment. A damaged
//! length on the last page can look like such a record. So callers that have the next segment
//! compare its [`continuation_bytes`](SegmentFacts::continuation_bytes) with the
//! [`missing_bytes`](crate::facts::UnfinishedRecord::missing_bytes) of this one, and its
//! [`previous_record`](SegmentFacts::previous_record) with the
//! [`last_record`](SegmentFacts::last_record), or with the unfinished one.

mod open_record;
mod records;

use std::fmt;
use std::io::{self, Read};

use crate::facts::{Defect, DefectKind, End, Rest, SegmentFacts};
use crate::lsn::Lsn;
use crate::page::{InvalidHeader, LongHeader, PAGE_BYTES, PageHeader};

use records::{Records, Stop, is_zeros};

/// The bytes that [`read`] reads at once.
const READ_BYTES: usize = 128 << 10;

/// A walk over a segment that is fed with pieces of its file.
#[derive(Debug, Default)]
pub struct Walker {
    file_bytes: u64,
    /// The beginning of a page that is not complete yet.
    incomplete: Vec<u8>,
    walk: Option<Result<Walk, InvalidHeader>>,
}

/// The reason why a file was not read as a segment.
#[derive(Debug)]
pub enum ReadError {
    /// The file could not be read, so its content is unknown.
    Io(io::Error),
    /// The file is no segment that this crate supports.
    Header(InvalidHeader),
}

/// A walk after the first page.
#[derive(Debug)]
struct Walk {
    header: LongHeader,
    records: Records,
    walked_bytes: u64,
    stop: Option<Stop>,
    /// True until another byte than zero follows the stop.
    rest_is_zeros: bool,
}

/// Walks over the segment that `reader` contains.
///
/// # Errors
/// If the file cannot be read or does not begin like a segment. Defects after the first page's
/// header are no error: they are [`End::Damaged`].
pub fn read(mut reader: impl Read) -> Result<SegmentFacts, ReadError> {
    let mut walker = Walker::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return walker.finish().map_err(ReadError::Header),
            Ok(count) => walker.push(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ReadError::Io(error)),
        }
    }
}

impl Walker {
    /// Returns a walk over a file before its first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes of the file. The result does not depend on the division into pieces; pieces of
    /// whole pages cost least.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.file_bytes = self.file_bytes.saturating_add(bytes.len() as u64);
        if !self.incomplete.is_empty() {
            let missing_bytes = PAGE_BYTES - self.incomplete.len();
            let (now, later) = bytes.split_at(missing_bytes.min(bytes.len()));
            self.incomplete.extend_from_slice(now);
            bytes = later;
            let incomplete = std::mem::take(&mut self.incomplete);
            match incomplete.first_chunk() {
                Some(page) => self.page(page),
                None => self.incomplete = incomplete,
            }
        }
        while let Some((page, later)) = bytes.split_first_chunk() {
            self.page(page);
            bytes = later;
        }
        self.incomplete.extend_from_slice(bytes);
    }

    /// Returns the contents of the segment after its last byte.
    ///
    /// # Errors
    /// If the file does not begin like a segment.
    pub fn finish(self) -> Result<SegmentFacts, InvalidHeader> {
        match self.walk {
            Some(walk) => Ok(walk?.finish(self.file_bytes)),
            None => Err(InvalidHeader::TooShort { bytes: self.file_bytes }),
        }
    }

    fn page(&mut self, page: &[u8; PAGE_BYTES]) {
        let walk = self.walk.get_or_insert_with(|| {
            let header = page.first_chunk().ok_or(InvalidHeader::TooShort { bytes: PAGE_BYTES as u64 })?;
            LongHeader::parse(header).map(Walk::new)
        });
        if let Ok(walk) = walk {
            walk.page(page);
        }
    }
}

impl Walk {
    fn new(header: LongHeader) -> Self {
        Self { header, records: Records::new(&header), walked_bytes: 0, stop: None, rest_is_zeros: true }
    }

    fn page(&mut self, page: &[u8; PAGE_BYTES]) {
        let lsn = Lsn(self.header.page.address.0.saturating_add(self.walked_bytes));
        if self.walked_bytes >= u64::from(self.header.segment_size.bytes()) {
            return;
        }
        self.walked_bytes += PAGE_BYTES as u64;
        match &self.stop {
            None => self.stop = self.records.page(page, lsn).err(),
            Some(Stop::Tip { lsn: tip, .. }) if self.is_of_segment(page, lsn) => {
                let offset = tip.0.saturating_sub(self.header.page.address.0);
                let message = format!("no WAL, but more of it in the page at {lsn}");
                let defect = Defect { kind: DefectKind::Gap, lsn: *tip, offset, message };
                self.stop = Some(Stop::Damage(defect));
            }
            Some(_) => {
                self.rest_is_zeros &= is_zeros(page);
                return;
            }
        }
        let rest = self.stop.as_ref().and_then(|stop| page.get(stop.rest()..)).unwrap_or_default();
        self.rest_is_zeros &= is_zeros(rest);
    }

    /// Decides if a page belongs to the WAL of this segment, and not to the file's former content.
    fn is_of_segment(&self, page: &[u8; PAGE_BYTES], lsn: Lsn) -> bool {
        let header = page.first_chunk().map(PageHeader::parse);
        header.is_some_and(|header| header.address == lsn && header.magic == self.header.page.magic)
    }

    fn finish(self, file_bytes: u64) -> SegmentFacts {
        let is_whole = self.walked_bytes == u64::from(self.header.segment_size.bytes());
        let rest = match self.rest_is_zeros {
            _ if !is_whole => Rest::Missing,
            true => Rest::Zeros,
            false => Rest::Other,
        };
        let end = match self.stop {
            None if is_whole => End::Full,
            None | Some(Stop::Tip { .. }) => End::Unfinished(rest),
            Some(Stop::Switch { .. }) => End::Switched(rest),
            Some(Stop::Damage(defect)) => End::Damaged(defect),
        };
        self.records.finish(file_bytes, end)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("WAL segment: cannot be read"),
            Self::Header(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Header(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
