//! Checksums of data pages.
//!
//! The algorithm is that of `src/include/storage/checksum_impl.h`: 32 columns of FNV-1a over words
//! of 32 bits, mixed with the block's number. The columns are independent, so the compiler uses
//! vector instructions, of the widest kind that the processor has at run time. New and younger
//! pages are exempt, as in `verify_page_checksum` (`src/backend/backup/basebackup.c`).

use fearless_simd::{Level, Simd, dispatch};

use longshore_pg_wal::Lsn;

/// The bytes of a page: PostgreSQL's `BLCKSZ`, unless it was built with another one.
pub const PAGE_BYTES: usize = 8192;

/// The pages of a relation's segment file, except the last file: PostgreSQL's `RELSEG_SIZE`.
pub const PAGES_PER_SEGMENT: u32 = 131_072;

/// The state of a page in a backup that began at some LSN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageState {
    /// The page was never initialised: it has no checksum.
    New,
    /// The page's checksum is right.
    Good,
    /// The page's checksum is wrong, but the page changed after the backup's start: it may be torn,
    /// and replay of the write-ahead log restores it.
    Younger,
    /// The page's checksum is wrong, and nothing restores the page.
    Damaged,
}

/// The result of a page's checksum, while the backup's start may be unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageChecksum {
    /// The page was never initialised: it has no checksum.
    Absent,
    /// The stored checksum is that of the page.
    Equal,
    /// The stored checksum is not that of the page.
    Different {
        /// The position of the last change that the page names.
        lsn: Lsn,
        /// The checksum in the page.
        stored: u16,
        /// The checksum of the page's bytes.
        computed: u16,
    },
}

impl PageChecksum {
    /// Compares the checksum of `page` with that of its bytes. `block` is the number of the page in
    /// its relation's fork, counted across segment files.
    ///
    /// It needs no start LSN, which an archive of a tablespace precedes.
    pub fn of(page: &[u8; PAGE_BYTES], block: u32) -> Self {
        let header = PageHeader::of(page);
        if header.upper == 0 {
            return Self::Absent;
        }
        let computed = checksum(page, block);
        match computed == header.checksum {
            true => Self::Equal,
            false => Self::Different { lsn: header.lsn, stored: header.checksum, computed },
        }
    }

    /// Returns the page's state in a backup that began at `start`.
    pub fn state(self, start: Lsn) -> PageState {
        match self {
            Self::Absent => PageState::New,
            Self::Equal => PageState::Good,
            Self::Different { lsn, .. } if lsn >= start => PageState::Younger,
            Self::Different { .. } => PageState::Damaged,
        }
    }
}

/// Returns the state of `page`, the block with the number `block` of its relation's fork, in a
/// backup that began at `start`.
pub fn check(page: &[u8; PAGE_BYTES], block: u32, start: Lsn) -> PageState {
    PageChecksum::of(page, block).state(start)
}

/// The fields of `PageHeaderData` (`src/include/storage/bufpage.h`) that matter here.
struct PageHeader {
    lsn: Lsn,
    checksum: u16,
    upper: u16,
}

impl PageHeader {
    fn of(page: &[u8; PAGE_BYTES]) -> Self {
        let [l0, l1, l2, l3, l4, l5, l6, l7, c0, c1, _, _, _, _, u0, u1, ..] = *page;
        let upper_half = u32::from_le_bytes([l0, l1, l2, l3]);
        let lower_half = u32::from_le_bytes([l4, l5, l6, l7]);
        Self {
            lsn: Lsn(u64::from(upper_half) << 32 | u64::from(lower_half)),
            checksum: u16::from_le_bytes([c0, c1]),
            upper: u16::from_le_bytes([u0, u1]),
        }
    }
}

/// The number of columns.
const LANES: usize = 32;

/// The bytes of a row, one word for each column.
const ROW_BYTES: usize = LANES * 4;

/// The prime number of 32-bit FNV.
const PRIME: u32 = 16_777_619;

/// The first value of each column: `checksumBaseOffsets`.
const OFFSETS: [u32; LANES] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// Returns the checksum that the server stores in `page` as the block with the number `block`.
pub fn checksum(page: &[u8; PAGE_BYTES], block: u32) -> u16 {
    let hash = dispatch!(Level::new(), simd => simd.vectorize(#[inline(always)] || hash(page)));
    u16::try_from((hash ^ block) % 65_535 + 1).expect("1 to 65,535")
}

/// Returns the hash of the page without its number: `pg_checksum_block`.
#[inline(always)]
fn hash(page: &[u8; PAGE_BYTES]) -> u32 {
    let mut lanes = OFFSETS;
    let (rows, _) = page.as_chunks::<ROW_BYTES>();
    let (first, others) = rows.split_first().expect("a page has 64 rows");
    // The stored checksum counts as zero.
    let mut first = *first;
    first[8..10].fill(0);
    mix(&mut lanes, &first);
    for row in others {
        mix(&mut lanes, row);
    }
    mix(&mut lanes, &[0; ROW_BYTES]);
    mix(&mut lanes, &[0; ROW_BYTES]);
    lanes.iter().fold(0, |folded, lane| folded ^ lane)
}

/// Adds one word to each column.
#[inline(always)]
fn mix(lanes: &mut [u32; LANES], row: &[u8; ROW_BYTES]) {
    let (words, _) = row.as_chunks::<4>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        let mixed = *lane ^ u32::from_le_bytes(*word);
        *lane = mixed.wrapping_mul(PRIME) ^ (mixed >> 17);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sixth page of `pg_class`, as `initdb` of PostgreSQL 15 to 18 wrote it.
    const PAGES: [&[u8; PAGE_BYTES]; 4] = [
        include_bytes!("../testdata/page-15"),
        include_bytes!("../testdata/page-16"),
        include_bytes!("../testdata/page-17"),
        include_bytes!("../testdata/page-18"),
    ];

    const START: Lsn = Lsn(0x1_0000_0000);

    #[test]
    fn checksum_equals_that_of_each_release() {
        for page in PAGES {
            assert_eq!(PageChecksum::of(page, 5), PageChecksum::Equal);
            assert_eq!(check(page, 5, START), PageState::Good);
        }
    }

    #[test]
    fn checksum_is_the_same_without_vectors() {
        for page in PAGES {
            assert_eq!(u32::from(checksum(page, 77)), (std::hint::black_box(hash(page)) ^ 77) % 65_535 + 1);
        }
    }

    #[test]
    fn checksum_covers_the_block_number() {
        for block in [0, 4, 6, 5 + PAGES_PER_SEGMENT, u32::MAX] {
            assert_eq!(check(PAGES[0], block, START), PageState::Damaged, "{block}");
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        for page in PAGES {
            for place in 0..PAGE_BYTES {
                let mut page = *page;
                page[place] ^= 1 << (place % 8);
                assert!(matches!(PageChecksum::of(&page, 5), PageChecksum::Different { .. }), "byte {place}");
            }
        }
    }

    #[test]
    fn page_changed_after_the_start_is_younger() {
        let mut page = *PAGES[0];
        page[4000] ^= 1;
        let PageChecksum::Different { lsn, stored, computed } = PageChecksum::of(&page, 5) else { panic!("equal") };
        assert_ne!(stored, computed);
        assert_eq!(check(&page, 5, lsn), PageState::Younger);
        assert_eq!(check(&page, 5, Lsn(lsn.0 + 1)), PageState::Damaged);
        assert_eq!(check(PAGES[0], 5, Lsn(0)), PageState::Good, "a right checksum is right at any time");
    }

    #[test]
    fn page_without_content_is_new() {
        let mut page = [0; PAGE_BYTES];
        assert_eq!(check(&page, 9, START), PageState::New);
        page[8000] = 1;
        assert_eq!(check(&page, 9, START), PageState::New, "as in PageIsNew");
        page[15] = 1;
        assert_eq!(check(&page, 9, START), PageState::Damaged);
    }

    #[test]
    fn lsn_has_its_upper_half_first() {
        let mut page = [0; PAGE_BYTES];
        page[..8].copy_from_slice(&[0x16, 0, 0, 0, 0x48, 0xD8, 0x74, 0xB3]);
        page[14] = 1;
        let PageChecksum::Different { lsn, .. } = PageChecksum::of(&page, 0) else { panic!("equal") };
        assert_eq!(lsn.to_string(), "16/B374D848");
    }
}
