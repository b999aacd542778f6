//! Headers of WAL pages.
//!
//! The layouts are those of `XLogPageHeaderData` and `XLogLongPageHeaderData`
//! (`src/include/access/xlog_internal.h`), and the checks of the first page are those of
//! `XLogReaderValidatePageHeader` (`src/backend/access/transam/xlogreader.c`).

use std::fmt;

use crate::lsn::Lsn;
use crate::segment::{InvalidSegmentSize, SegmentSize};

/// The bytes of a page: `XLOG_BLCKSZ`, unless PostgreSQL was built with another one.
pub const PAGE_BYTES: usize = 8192;

/// The bytes of the header of a page, except for the first page of a segment.
pub const SHORT_HEADER_BYTES: usize = 24;

/// The bytes of the header of a segment's first page.
pub const LONG_HEADER_BYTES: usize = 40;

/// The header of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    /// The version of the format, `XLOG_PAGE_MAGIC`.
    pub magic: u16,
    /// The flags of the page.
    pub flags: Flags,
    /// The timeline on which the page was begun. On a new timeline's first segment, the pages up to
    /// the promotion have that of the parent.
    pub timeline: u32,
    /// The position of the page's first byte.
    pub address: Lsn,
    /// The number of bytes that are left of a record that began on an earlier page. It has a
    /// meaning only with the flag of a continuation.
    pub remaining_bytes: u32,
}

/// The header of a segment's first page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongHeader {
    /// The fields that each page has.
    pub page: PageHeader,
    /// The identifier that `initdb` gave to the cluster.
    pub system_identifier: u64,
    /// The size of the cluster's segments.
    pub segment_size: SegmentSize,
}

/// The flags of a page: `XLP_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(pub u16);

/// The first bytes of a file that is no WAL segment which this crate supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidHeader {
    /// The file has less than a page.
    TooShort {
        /// The bytes of the file.
        bytes: u64,
    },
    /// The file is no WAL of PostgreSQL 15 to 18. A file that a server prepares for later has zero.
    Magic(u16),
    /// The page has no long header, or unknown flags.
    Flags(Flags),
    /// The timeline is zero.
    Timeline,
    /// PostgreSQL was built with pages of another size than [`PAGE_BYTES`].
    PageSize {
        /// The bytes of a page.
        bytes: u32,
    },
    /// No cluster has segments of this size.
    SegmentSize(InvalidSegmentSize),
    /// No segment of this size begins at the page's address.
    Address(Lsn),
}

/// Returns the major version of PostgreSQL whose WAL has this magic number, 15 to 18.
pub fn major_version(magic: u16) -> Option<u32> {
    match magic {
        0xD110 => Some(15),
        0xD113 => Some(16),
        0xD116 => Some(17),
        0xD118 => Some(18),
        _ => None,
    }
}

impl PageHeader {
    /// Reads the fields without a check.
    pub fn parse(bytes: &[u8; SHORT_HEADER_BYTES]) -> Self {
        let [start, timeline, address_low, address_high, remaining_bytes, _] = words(bytes);
        Self {
            magic: start as u16,
            flags: Flags((start >> 16) as u16),
            timeline,
            address: Lsn(u64::from(address_high) << 32 | u64::from(address_low)),
            remaining_bytes,
        }
    }

    /// Returns the number of bytes of the header.
    pub fn bytes(self) -> usize {
        if self.flags.has_long_header() { LONG_HEADER_BYTES } else { SHORT_HEADER_BYTES }
    }
}

impl LongHeader {
    /// Reads and checks the header of a segment's first page. The checks concern the header alone,
    /// not its relation to the name of the file.
    pub fn parse(bytes: &[u8; LONG_HEADER_BYTES]) -> Result<Self, InvalidHeader> {
        let [.., id_low, id_high, segment_bytes, page_bytes] = words::<LONG_HEADER_BYTES, 10>(bytes);
        let page = PageHeader::parse(bytes.first_chunk().unwrap_or(&[0; SHORT_HEADER_BYTES]));
        if major_version(page.magic).is_none() {
            return Err(InvalidHeader::Magic(page.magic));
        }
        if page.flags.has_unknown() || !page.flags.has_long_header() {
            return Err(InvalidHeader::Flags(page.flags));
        }
        if page.timeline == 0 {
            return Err(InvalidHeader::Timeline);
        }
        if page_bytes as usize != PAGE_BYTES {
            return Err(InvalidHeader::PageSize { bytes: page_bytes });
        }
        let segment_size = SegmentSize::new(segment_bytes.into()).map_err(InvalidHeader::SegmentSize)?;
        if !page.address.0.is_multiple_of(segment_bytes.into()) {
            return Err(InvalidHeader::Address(page.address));
        }
        Ok(Self { page, system_identifier: u64::from(id_high) << 32 | u64::from(id_low), segment_size })
    }
}

impl Flags {
    /// The page begins with the rest of a record that began on an earlier page:
    /// `XLP_FIRST_IS_CONTRECORD`.
    pub fn is_continuation(self) -> bool {
        self.0 & 0x0001 != 0
    }

    /// The page has a long header: `XLP_LONG_HEADER`.
    pub fn has_long_header(self) -> bool {
        self.0 & 0x0002 != 0
    }

    /// The page replaces the lost rest of a record that began on an earlier page, after a crash:
    /// `XLP_FIRST_IS_OVERWRITE_CONTRECORD`.
    pub fn is_overwrite(self) -> bool {
        self.0 & 0x0008 != 0
    }

    /// The page has flags outside `XLP_ALL_FLAGS`.
    pub fn has_unknown(self) -> bool {
        self.0 & !0x000F != 0
    }
}

/// Splits `BYTES` bytes into `WORDS` numbers; missing ones are zero.
fn words<const BYTES: usize, const WORDS: usize>(bytes: &[u8; BYTES]) -> [u32; WORDS] {
    let mut words = [0; WORDS];
    words.iter_mut().zip(bytes.as_chunks().0).for_each(|(word, bytes)| *word = u32::from_le_bytes(*bytes));
    words
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { bytes } => write!(f, "WAL segment: {bytes} bytes, less than a page"),
            Self::Magic(magic) => write!(f, "WAL segment: magic number {magic:04X} is not one of PostgreSQL 15 to 18"),
            Self::Flags(Flags(flags)) => write!(f, "WAL segment: flags {flags:04X} are not those of a first page"),
            Self::Timeline => write!(f, "WAL segment: timeline 0"),
            Self::PageSize { bytes } => write!(f, "WAL segment: pages of {bytes} bytes are not supported"),
            Self::SegmentSize(error) => error.fmt(f),
            Self::Address(address) => write!(f, "WAL segment: no segment begins at {address}"),
        }
    }
}

impl std::error::Error for InvalidHeader {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bytes of a segment of PostgreSQL 17.
    const FIRST: [u8; LONG_HEADER_BYTES] = [
        0x16, 0xD1, 0x07, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x05, 0x00, 0x00, 0x00, 0x46, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x8B, 0xA6, 0x54, 0x71, 0x2A, 0x35, 0xAE, 0x6A, 0x00, 0x00, 0x00, 0x01,
        0x00, 0x20, 0x00, 0x00,
    ];

    fn changed(at: usize, value: u8) -> Result<LongHeader, InvalidHeader> {
        let mut bytes = FIRST;
        bytes[at] = value;
        LongHeader::parse(&bytes)
    }

    #[test]
    fn long_header_is_read() {
        let header = LongHeader::parse(&FIRST).unwrap();
        assert_eq!(header.page.timeline, 1);
        assert_eq!(header.page.address, Lsn(0x5_0200_0000));
        assert_eq!(header.page.remaining_bytes, 0x46);
        assert!(header.page.flags.is_continuation() && !header.page.flags.is_overwrite());
        assert_eq!(header.page.bytes(), LONG_HEADER_BYTES);
        assert_eq!(header.system_identifier, 0x6AAE_352A_7154_A68B);
        assert_eq!(header.segment_size, SegmentSize::DEFAULT);
        assert_eq!(PageHeader { flags: Flags(5), ..header.page }.bytes(), SHORT_HEADER_BYTES);
    }

    #[test]
    fn magic_names_the_release() {
        let majors: Vec<_> = (0..=u16::MAX).filter_map(|magic| Some((magic, major_version(magic)?))).collect();
        assert_eq!(majors, [(0xD110, 15), (0xD113, 16), (0xD116, 17), (0xD118, 18)]);
    }

    #[test]
    fn first_page_without_sense_is_refused() {
        assert_eq!(changed(0, 0x17), Err(InvalidHeader::Magic(0xD117)));
        assert_eq!(changed(2, 0x05), Err(InvalidHeader::Flags(Flags(5))));
        assert_eq!(changed(2, 0x17), Err(InvalidHeader::Flags(Flags(0x17))));
        assert_eq!(changed(4, 0), Err(InvalidHeader::Timeline));
        assert_eq!(changed(37, 0x40), Err(InvalidHeader::PageSize { bytes: 16_384 }));
        assert_eq!(
            changed(33, 1).unwrap_err().to_string(),
            SegmentSize::new((16 << 20) + 256).unwrap_err().to_string()
        );
        assert_eq!(changed(9, 0x20), Err(InvalidHeader::Address(Lsn(0x5_0200_2000))));
        assert_eq!(changed(35, 4), Err(InvalidHeader::Address(Lsn(0x5_0200_0000))), "64 MiB");
    }
}
