//! Headers and CRCs of WAL records, and the few records that recovery targets refer to.
//!
//! The layout is that of `XLogRecord` (`src/include/access/xlogrecord.h`). The contents are those
//! of `xl_xact_commit`, `xl_xact_abort` (`src/include/access/xact.h`), `xl_restore_point`
//! (`src/include/access/xlog_internal.h`) and `xl_tblspc_create_rec`
//! (`src/include/commands/tablespace.h`).

use chrono::{DateTime, Utc};
use crc_fast::{CrcAlgorithm, Digest};

use crate::lsn::Lsn;

/// The bytes of a record's header. A record begins at a multiple of eight bytes.
pub const HEADER_BYTES: usize = 24;

/// The bytes of the header that the CRC covers: all before the CRC itself.
const COVERED_BYTES: usize = 20;

/// The microseconds from 1970 to 2000, where PostgreSQL's `TimestampTz` begins.
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

/// The bytes after the header that contain the time, the name of a restore point or the directory
/// of a tablespace: headers of the origin (3), the top-level transaction (5) and the data (2 or 5),
/// then 4 and at most `MAXPGPATH`.
pub(crate) const HEAD_BYTES: usize = 3 + 5 + 5 + 4 + 1024;

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// The bytes of the record: `xl_tot_len`, with the header.
    pub total_bytes: u32,
    /// The transaction: `xl_xid`, or 0.
    pub transaction: u32,
    /// The position of the record before: `xl_prev`.
    pub previous: Lsn,
    /// The kind of record within its resource manager, and flags: `xl_info`.
    pub info: u8,
    /// The resource manager: `xl_rmid`.
    pub resource_manager: u8,
    /// The CRC-32C of the record: `xl_crc`.
    pub crc: u32,
}

/// The kind of a record, as far as recovery targets and the end of a segment depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// The end of a transaction: a commit, also of a prepared transaction.
    Commit,
    /// The end of a transaction: an abort, also of a prepared transaction.
    Abort,
    /// A restore point: `XLOG_RESTORE_POINT`.
    RestorePoint,
    /// The creation of a tablespace: `XLOG_TBLSPC_CREATE`.
    Tablespace,
    /// The end of the segment's WAL: `XLOG_SWITCH`.
    Switch,
    /// Any other record.
    Other,
}

/// The most bytes after a header that are copied to compute the CRC at once, which costs half as
/// much as two steps.
const SHORT_BYTES: usize = 236;

/// The CRC-32C of a record, computed over pieces of the record: first what follows the header, then
/// the header, as in `ValidXLogRecord` (`src/backend/access/transam/xlogreader.c`).
#[derive(Debug, Clone)]
pub struct RecordCrc(Digest);

impl RecordHeader {
    /// Reads the fields without a check.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, info, resource_manager, _, _, q, r, s, t] = *bytes;
        Self {
            total_bytes: u32::from_le_bytes([a, b, c, d]),
            transaction: u32::from_le_bytes([e, f, g, h]),
            previous: Lsn(u64::from_le_bytes([i, j, k, l, m, n, o, p])),
            info,
            resource_manager,
            crc: u32::from_le_bytes([q, r, s, t]),
        }
    }

    /// Decides if PostgreSQL or an extension may have a resource manager of this number:
    /// `RmgrIdIsValid` (`src/include/access/rmgr.h`).
    pub fn has_valid_resource_manager(self) -> bool {
        matches!(self.resource_manager, 0..=21 | 128..)
    }

    /// Returns the kind of the record.
    pub fn kind(self) -> RecordKind {
        const XLOG: u8 = 0;
        const XACT: u8 = 1;
        const TABLESPACE: u8 = 5;
        match (self.resource_manager, self.info & 0xF0, self.info & 0x70) {
            (XLOG, 0x40, _) => RecordKind::Switch,
            (XLOG, 0x70, _) => RecordKind::RestorePoint,
            (TABLESPACE, 0x00, _) => RecordKind::Tablespace,
            (XACT, _, 0x00 | 0x30) => RecordKind::Commit,
            (XACT, _, 0x20 | 0x40) => RecordKind::Abort,
            _ => RecordKind::Other,
        }
    }
}

impl RecordCrc {
    /// Returns the CRC of no bytes.
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// Adds bytes that follow the header.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds the header and returns the CRC.
    pub fn finish(mut self, header: &[u8; HEADER_BYTES]) -> u32 {
        self.0.update(header.first_chunk::<COVERED_BYTES>().map_or(&[], |covered| &covered[..]));
        self.0.finalize() as u32
    }
}

/// Returns the CRC-32C of a record that is in one piece.
pub fn crc(header: &[u8; HEADER_BYTES], body: &[u8]) -> u32 {
    let mut record = [0; SHORT_BYTES + COVERED_BYTES];
    let short = record.split_at_mut_checked(body.len()).filter(|_| body.len() <= SHORT_BYTES);
    if let (Some((start, rest)), Some(covered)) = (short, header.first_chunk::<COVERED_BYTES>())
        && let Some(end) = rest.first_chunk_mut()
    {
        start.copy_from_slice(body);
        *end = *covered;
        return crc_fast::crc32_iscsi(record.get(..body.len() + COVERED_BYTES).unwrap_or_default());
    }
    let mut crc = RecordCrc::new();
    crc.update(body);
    crc.finish(header)
}

impl Default for RecordCrc {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the time in the commit, abort or restore point whose bytes after the header begin with
/// `body`; `None` if the bytes contain no time.
pub fn time(body: &[u8]) -> Option<DateTime<Utc>> {
    let microseconds = i64::from_le_bytes(*main_data(body)?.first_chunk()?);
    DateTime::from_timestamp_micros(microseconds.checked_add(EPOCH_MICROSECONDS)?)
}

/// Returns the name in the restore point whose bytes after the header begin with `body`, at most 63
/// bytes; invalid UTF-8 is replaced, since the name has the encoding of a database.
pub fn restore_point_name(body: &[u8]) -> Option<String> {
    let name: &[u8; 64] = main_data(body)?.get(8..)?.first_chunk()?;
    let name = name.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Returns the directory in the creation of a tablespace whose bytes after the header begin with
/// `body`; empty for a tablespace within the data directory.
pub fn tablespace_directory(body: &[u8]) -> Option<Vec<u8>> {
    let directory = main_data(body)?.get(4..)?;
    Some(directory.split(|byte| *byte == 0).next()?.to_vec())
}

/// Returns the main data of a record without references to blocks.
fn main_data(mut body: &[u8]) -> Option<&[u8]> {
    const DATA_SHORT: u8 = 255;
    const DATA_LONG: u8 = 254;
    const ORIGIN: u8 = 253;
    const TOP_LEVEL_TRANSACTION: u8 = 252;
    loop {
        let after = match *body.first()? {
            DATA_SHORT => return body.get(2..),
            DATA_LONG => return body.get(5..),
            ORIGIN => 3,
            TOP_LEVEL_TRANSACTION => 5,
            _ => return None,
        };
        body = body.get(after..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of PostgreSQL 17: the restore point `before` of 2026-12-01 06:48:47.012583 UTC.
    fn restore_point() -> (Vec<u8>, Vec<u8>) {
        let mut body = vec![255, 72];
        let time: i64 = DateTime::parse_from_rfc3339("2026-12-01T06:48:47.012583Z").unwrap().timestamp_micros();
        body.extend((time - EPOCH_MICROSECONDS).to_le_bytes());
        body.extend(b"before");
        body.resize(74, 0);
        let mut header = vec![98, 0, 0, 0, 0, 0, 0, 0, 0x28, 0, 0, 6, 5, 0, 0, 0, 0x70, 0, 0, 0];
        header.extend([0; 4]);
        (header, body)
    }

    fn header_of(resource_manager: u8, info: u8) -> RecordHeader {
        RecordHeader { total_bytes: 24, transaction: 0, previous: Lsn(0), info, resource_manager, crc: 0 }
    }

    #[test]
    fn directory_of_a_tablespace_is_read() {
        let mut body = vec![255, 20];
        body.extend(16_398_u32.to_le_bytes());
        body.extend(b"/srv/annex\0pad");
        assert_eq!(header_of(5, 0x00).kind(), RecordKind::Tablespace);
        assert_eq!(header_of(5, 0x10).kind(), RecordKind::Other);
        assert_eq!(tablespace_directory(&body).as_deref(), Some(&b"/srv/annex"[..]));
        assert_eq!(tablespace_directory(&[255, 2, 0]), None);
    }

    #[test]
    fn header_is_read() {
        let (mut bytes, _) = restore_point();
        bytes[4] = 7;
        bytes[20] = 9;
        let header = RecordHeader::parse(bytes.first_chunk().unwrap());
        let previous = Lsn(0x5_0600_0028);
        let expected = RecordHeader { total_bytes: 98, transaction: 7, previous, crc: 9, ..header_of(0, 0x70) };
        assert_eq!(header, expected);
    }

    #[test]
    fn crc_covers_all_but_itself_and_ends_with_the_header() {
        let mut crc = RecordCrc::new();
        crc.update(b"56789");
        let mut header = [b'0'; HEADER_BYTES];
        header[20..].fill(0xFF);
        let expected = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, b"5678900000000000000000000");
        assert_eq!(u64::from(crc.finish(&header)), expected);
    }

    #[test]
    fn crc_of_one_piece_equals_that_of_many() {
        let (header, body) = ([7; HEADER_BYTES], [9; 2 * SHORT_BYTES]);
        for end in 0..body.len() {
            let mut pieces = RecordCrc::new();
            body[..end].chunks(100).for_each(|piece| pieces.update(piece));
            assert_eq!(crc(&header, &body[..end]), pieces.finish(&header), "{end} bytes");
        }
    }

    #[test]
    fn kind_is_that_of_pg_waldump() {
        for (manager, info, expected) in [
            (0, 0x40, RecordKind::Switch),
            (0, 0x41, RecordKind::Switch),
            (0, 0x70, RecordKind::RestorePoint),
            (0, 0xC0, RecordKind::Other),
            (1, 0x00, RecordKind::Commit),
            (1, 0x80, RecordKind::Commit),
            (1, 0x10, RecordKind::Other),
            (1, 0x20, RecordKind::Abort),
            (1, 0xA0, RecordKind::Abort),
            (1, 0xB0, RecordKind::Commit),
            (1, 0xC0, RecordKind::Abort),
            (1, 0x50, RecordKind::Other),
            (1, 0x60, RecordKind::Other),
            (10, 0x40, RecordKind::Other),
        ] {
            assert_eq!(header_of(manager, info).kind(), expected, "{manager} {info:X}");
        }
    }

    #[test]
    fn resource_manager_is_builtin_or_custom() {
        let valid = |manager| header_of(manager, 0).has_valid_resource_manager();
        assert!(valid(0) && valid(21) && valid(128) && valid(255));
        assert!(!valid(22) && !valid(127));
    }

    #[test]
    fn restore_point_has_a_time_and_a_name() {
        let (_, body) = restore_point();
        assert_eq!(time(&body).unwrap().to_rfc3339(), "2026-12-01T06:48:47.012583+00:00");
        assert_eq!(restore_point_name(&body).as_deref(), Some("before"));
        for end in 0..body.len() {
            assert_eq!(restore_point_name(&body[..end]), None);
            assert_eq!(time(&body[..end]).is_some(), end >= 10);
        }
    }

    #[test]
    fn time_follows_other_headers() {
        let (_, body) = restore_point();
        let prefixed = |prefix: &[u8], rest: &[u8]| [prefix, rest].concat();
        let long = prefixed(&[254, 72, 0, 0, 0], &body[2..]);
        let most = prefixed(&[253, 1, 0, 252, 9, 0, 0, 0], &long);
        assert!(most.len() <= HEAD_BYTES);
        for body in [&long, &most] {
            assert_eq!(restore_point_name(body).as_deref(), Some("before"));
        }
        assert_eq!(time(&prefixed(&[0], &body)), None, "a reference to a block");
        assert_eq!(time(&[255, 8, 255, 255, 255, 255, 255, 255, 255, 0x7F]), None, "infinity");
    }
}
