//! The records of a segment, page by page.

use crate::facts::{
    Defect, DefectKind, End, NewTablespace, RestorePoint, RestorePoints, SegmentFacts, TransactionEnds,
    UnfinishedRecord,
};
use crate::lsn::Lsn;
use crate::page::{LongHeader, PAGE_BYTES, PageHeader, major_version};
use crate::record::{self, HEADER_BYTES, RecordHeader, RecordKind};
use crate::walk::open_record::OpenRecord;

/// The records of a segment up to some page.
#[derive(Debug)]
pub(super) struct Records {
    magic: u16,
    open: Open,
    facts: SegmentFacts,
}

/// A record that continues on the next page.
#[derive(Debug)]
enum Open {
    /// There is none.
    None,
    /// A record that began in the segment before, with the bytes that are left of it.
    Continuation(u32),
    /// A record that began in this segment.
    Record(Box<OpenRecord>),
}

/// The end of the records.
#[derive(Debug)]
pub(super) enum Stop {
    /// The record `XLOG_SWITCH`.
    Switch {
        /// The bytes of the page up to the end of the record.
        rest: usize,
    },
    /// No further record, unless later pages belong to this segment.
    Tip {
        /// The position after the last record.
        lsn: Lsn,
        /// The bytes of the page before that position.
        rest: usize,
    },
    /// A page or record is invalid.
    Damage(Defect),
}

impl Open {
    /// Returns the number of bytes of the record on later pages.
    fn remaining_bytes(&self) -> u32 {
        match self {
            Self::None => 0,
            Self::Continuation(bytes) => *bytes,
            Self::Record(record) => record.remaining_bytes,
        }
    }
}

impl Stop {
    /// Returns the number of bytes of the page before the rest.
    pub(super) fn rest(&self) -> usize {
        match self {
            Self::Switch { rest } | Self::Tip { rest, .. } => *rest,
            Self::Damage(_) => PAGE_BYTES,
        }
    }
}

impl Records {
    pub(super) fn new(header: &LongHeader) -> Self {
        let facts = SegmentFacts {
            file_bytes: 0,
            major: major_version(header.page.magic).unwrap_or_default(),
            first_timeline: header.page.timeline,
            last_timeline: header.page.timeline,
            start: header.page.address,
            system_identifier: header.system_identifier,
            segment_size: header.segment_size,
            continuation_bytes: 0,
            records: 0,
            first_record: None,
            last_record: None,
            previous_record: None,
            end_of_records: header.page.address,
            unfinished_record: None,
            transactions: None,
            restore_points: RestorePoints::default(),
            new_tablespaces: Vec::new(),
            end: End::Full,
        };
        Self { magic: header.page.magic, open: Open::None, facts }
    }

    /// Reads the next page, which begins at `lsn` if it is of this segment.
    pub(super) fn page(&mut self, page: &[u8; PAGE_BYTES], lsn: Lsn) -> Result<(), Stop> {
        let header = self.header(page, lsn)?;
        let begin = match self.continued(&header, lsn)? {
            Open::None => header.bytes(),
            open => self.finish_record(open, page, header.bytes(), lsn)?,
        };
        self.begin_records(page, begin, lsn)
    }

    /// Returns the segment's facts.
    pub(super) fn finish(self, file_bytes: u64, end: End) -> SegmentFacts {
        let unfinished_record: Option<UnfinishedRecord> = match self.open {
            Open::Record(open) if !matches!(end, End::Damaged(_)) => Some(open.unfinished()),
            _ => None,
        };
        SegmentFacts { file_bytes, unfinished_record, end, ..self.facts }
    }

    /// Reads and checks the header of a page.
    fn header(&mut self, page: &[u8; PAGE_BYTES], lsn: Lsn) -> Result<PageHeader, Stop> {
        let header = page.first_chunk().map(PageHeader::parse);
        let header = header.filter(|header| header.address == lsn).ok_or(Stop::Tip { lsn, rest: 0 })?;
        let damaged = |message| Err(self.damage(DefectKind::PageHeader, lsn, message));
        if header.magic != self.magic {
            return damaged(format!("magic number {:04X} instead of {:04X}", header.magic, self.magic));
        }
        if header.flags.has_unknown() || header.flags.has_long_header() != (lsn == self.facts.start) {
            return damaged(format!("flags {:04X}", header.flags.0));
        }
        if header.timeline < self.facts.last_timeline {
            return damaged(format!("timeline {} after {}", header.timeline, self.facts.last_timeline));
        }
        self.facts.last_timeline = header.timeline;
        Ok(header)
    }

    /// Returns the record that the page must continue, and compares it with the page's header.
    fn continued(&mut self, header: &PageHeader, lsn: Lsn) -> Result<Open, Stop> {
        let open = std::mem::replace(&mut self.open, Open::None);
        let damaged = |message| Err(self.damage(DefectKind::Continuation, lsn, message));
        let is_first = lsn == self.facts.start;
        let remaining_bytes = if is_first { header.remaining_bytes } else { open.remaining_bytes() };
        match (header.flags.is_continuation(), header.flags.is_overwrite()) {
            (true, true) => damaged("a record both continued and overwritten".to_owned()),
            (true, false) if remaining_bytes == 0 => damaged("the continuation of no record".to_owned()),
            (true, false) if header.remaining_bytes != remaining_bytes => {
                let found = header.remaining_bytes;
                damaged(format!("the continuation of a record with {found} bytes left instead of {remaining_bytes}"))
            }
            (true, false) if is_first => {
                self.facts.continuation_bytes = remaining_bytes;
                Ok(Open::Continuation(remaining_bytes))
            }
            (true, false) => Ok(open),
            (false, true) => Ok(Open::None),
            (false, false) if is_first || remaining_bytes == 0 => Ok(Open::None),
            (false, false) => damaged(format!("no continuation of a record with {remaining_bytes} bytes left")),
        }
    }

    /// Reads the rest of a record, and returns the number of bytes of the page up to the next one.
    fn finish_record(&mut self, open: Open, page: &[u8; PAGE_BYTES], at: usize, lsn: Lsn) -> Result<usize, Stop> {
        let body = page.get(at..).unwrap_or_default();
        let body = body.get(..open.remaining_bytes() as usize).unwrap_or(body);
        let next = aligned(at + body.len());
        match open {
            Open::None => {}
            Open::Continuation(bytes) => match bytes.saturating_sub(body.len() as u32) {
                0 => self.facts.end_of_records = Lsn(lsn.0.saturating_add(next as u64)),
                left => self.open = Open::Continuation(left),
            },
            Open::Record(mut record) => {
                let had_header = record.header().is_some();
                record.push(body);
                if let Some(header) = record.header().filter(|_| !had_header) {
                    self.check_header(&header, record.lsn)?;
                }
                if record.remaining_bytes > 0 {
                    self.open = Open::Record(record);
                } else if let (Some(header), Some(crc)) = (record.header(), record.crc()) {
                    self.check_crc(&header, crc, record.lsn)?;
                    self.add(&header, record.head(), record.lsn, (lsn, next))?;
                }
            }
        }
        Ok(next)
    }

    /// Reads the records that begin in the page after `at` bytes.
    fn begin_records(&mut self, page: &[u8; PAGE_BYTES], mut at: usize, page_lsn: Lsn) -> Result<(), Stop> {
        while let Some((rest, total_bytes)) = page.get(at..).and_then(|rest| Some((rest, rest.first_chunk()?))) {
            let lsn = Lsn(page_lsn.0.saturating_add(at as u64));
            let total_bytes = u32::from_le_bytes(*total_bytes);
            if total_bytes == 0 && is_zeros(rest) {
                return Err(Stop::Tip { lsn, rest: at });
            }
            if (total_bytes as usize) < HEADER_BYTES {
                return Err(self.damage(DefectKind::RecordHeader, lsn, format!("{total_bytes} bytes")));
            }
            match rest.get(..total_bytes as usize).and_then(<[u8]>::split_first_chunk) {
                Some((header_bytes, body)) => {
                    let header = RecordHeader::parse(header_bytes);
                    self.check_header(&header, lsn)?;
                    self.check_crc(&header, record::crc(header_bytes, body), lsn)?;
                    at = aligned(at + total_bytes as usize);
                    self.add(&header, body, lsn, (page_lsn, at))?;
                }
                None => {
                    let mut record = Box::new(OpenRecord::new(lsn, total_bytes));
                    record.push(rest);
                    if let Some(header) = record.header() {
                        self.check_header(&header, lsn)?;
                    }
                    self.open = Open::Record(record);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Checks a record's header like `ValidXLogRecordHeader`.
    fn check_header(&self, header: &RecordHeader, lsn: Lsn) -> Result<(), Stop> {
        if !header.has_valid_resource_manager() {
            let message = format!("resource manager {}", header.resource_manager);
            return Err(self.damage(DefectKind::RecordHeader, lsn, message));
        }
        let (found, start) = (header.previous, self.facts.start);
        match self.facts.last_record {
            Some(last) if found != last => {
                let message = format!("the record before is at {found} instead of {last}");
                Err(self.damage(DefectKind::PreviousRecord, lsn, message))
            }
            None if found >= start => {
                let message = format!("the record before is at {found} instead of before {start}");
                Err(self.damage(DefectKind::PreviousRecord, lsn, message))
            }
            _ => Ok(()),
        }
    }

    fn check_crc(&self, header: &RecordHeader, computed: u32, lsn: Lsn) -> Result<(), Stop> {
        if header.crc == computed {
            return Ok(());
        }
        let message = format!("CRC {:08X} instead of {computed:08X}", header.crc);
        Err(self.damage(DefectKind::Crc, lsn, message))
    }

    /// Adds a valid record. It ends in the page of `end`, after the bytes given there.
    fn add(&mut self, header: &RecordHeader, body: &[u8], lsn: Lsn, end: (Lsn, usize)) -> Result<(), Stop> {
        let facts = &mut self.facts;
        let (page, rest) = end;
        facts.records += 1;
        if facts.first_record.is_none() {
            (facts.first_record, facts.previous_record) = (Some(lsn), Some(header.previous));
        }
        facts.last_record = Some(lsn);
        facts.end_of_records = Lsn(page.0.saturating_add(rest as u64));
        match header.kind() {
            RecordKind::Commit | RecordKind::Abort => {
                let ends = record::time(body).map(|time| TransactionEnds::with(facts.transactions, time));
                facts.transactions = ends.or(facts.transactions);
            }
            RecordKind::RestorePoint => {
                if let Some(name) = record::restore_point_name(body) {
                    facts.restore_points.push(RestorePoint { lsn, name, time: record::time(body) });
                }
            }
            RecordKind::Tablespace => {
                let is_kept = facts.new_tablespaces.len() < NewTablespace::MOST;
                if let Some(directory) = record::tablespace_directory(body).filter(|_| is_kept) {
                    facts.new_tablespaces.push(NewTablespace { lsn, directory });
                }
            }
            RecordKind::Switch => {
                facts.end_of_records = Lsn(facts.start.0.saturating_add(facts.segment_size.bytes().into()));
                return Err(Stop::Switch { rest });
            }
            RecordKind::Other => {}
        }
        Ok(())
    }

    fn damage(&self, kind: DefectKind, lsn: Lsn, message: String) -> Stop {
        let offset = lsn.0.saturating_sub(self.facts.start.0);
        Stop::Damage(Defect { kind, lsn, offset, message })
    }
}

/// Decides if bytes, at most a page, are zeros.
pub(super) fn is_zeros(bytes: &[u8]) -> bool {
    const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];
    ZEROS.get(..bytes.len()).is_some_and(|zeros| zeros == bytes)
}

/// Rounds a number of bytes up to where the next record can begin: `MAXALIGN`.
fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(8)
}
