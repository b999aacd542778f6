//! `global/pg_control`: the state and settings of a cluster.
//!
//! The layout is that of `ControlFileData` (`src/include/catalog/pg_control.h`) on machines with
//! 64 bits and little-endian order: version 1300 of PostgreSQL 15 and 16, 1700 of 17, 1800 of 18.

use crc_fast::CrcAlgorithm;

use crate::error::{Error, Result};
use longshore_pg_wal::Lsn;
use longshore_pg_wal::segment::SegmentSize;

/// The path of the file in the data directory.
pub const PATH: &str = "global/pg_control";

/// The size of the file, most of which is zeros: `PG_CONTROL_FILE_SIZE`.
pub const FILE_BYTES: usize = 8192;

/// The content of `pg_control`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The identifier that `initdb` gave to the cluster.
    pub system_identifier: u64,
    /// The version of the file's layout, such as 1300.
    pub version: u32,
    /// The version of the system catalogs, such as 202506291.
    pub catalog_version: u32,
    /// The state of the cluster.
    pub state: State,
    /// The position of the last checkpoint's record.
    pub checkpoint: Lsn,
    /// The position where recovery from the last checkpoint begins.
    pub redo: Lsn,
    /// The timeline of the last checkpoint.
    pub timeline: u32,
    /// The position that recovery must reach, on standbys; else [`Lsn::INVALID`].
    pub min_recovery: Lsn,
    /// The settings that a standby must not fall below.
    pub settings: Settings,
    /// The size of data pages.
    pub block_bytes: u32,
    /// The pages of a relation's segment file.
    pub blocks_per_segment: u32,
    /// The size of pages of the write-ahead log.
    pub wal_block_bytes: u32,
    /// The size of the segments of the write-ahead log.
    pub wal_segment_size: SegmentSize,
    /// The version of the checksums of data pages; 0 without checksums.
    pub data_checksum_version: u32,
}

/// The state of a cluster: `DBState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// `starting up`
    StartingUp,
    /// `shut down`
    ShutDown,
    /// `shut down in recovery`
    ShutDownInRecovery,
    /// `shutting down`
    ShuttingDown,
    /// `in crash recovery`
    InCrashRecovery,
    /// `in archive recovery`, also that of a running standby
    InArchiveRecovery,
    /// `in production`
    InProduction,
}

/// The settings that recovery depends on: a server that replays must have no smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `wal_level`
    pub wal_level: WalLevel,
    /// `max_connections`
    pub max_connections: u32,
    /// `max_worker_processes`
    pub max_worker_processes: u32,
    /// `max_wal_senders`
    pub max_wal_senders: u32,
    /// `max_prepared_transactions`
    pub max_prepared_transactions: u32,
    /// `max_locks_per_transaction`
    pub max_locks_per_transaction: u32,
}

/// The content of the write-ahead log: `wal_level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WalLevel {
    /// `minimal`, which allows no base backups
    Minimal,
    /// `replica`
    Replica,
    /// `logical`
    Logical,
}

impl Control {
    /// Parses the file and checks its CRC.
    ///
    /// # Errors
    /// Unsupported: layouts of other versions, and of machines with big-endian order or other
    /// alignment.
    pub fn parse(content: &[u8]) -> Result<Self> {
        let file: &[u8; FILE_BYTES] = content
            .try_into()
            .map_err(|_| Error::damaged(PATH, 0, format!("{} bytes instead of {FILE_BYTES}", content.len())))?;
        let fields = Fields(file);
        let version = fields.u32(8);
        let crc_place = crc_place(version)?;
        let covered = file.get(..crc_place).unwrap_or_default();
        let computed = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, covered);
        let stored = fields.u32(crc_place);
        if u64::from(stored) != computed {
            return Err(Error::damaged(PATH, crc_place as u64, format!("CRC {stored:08X} instead of {computed:08X}")));
        }
        fields.check_alignment()?;
        Ok(Self {
            system_identifier: fields.u64(0),
            version,
            catalog_version: fields.u32(12),
            state: State::parse(fields.u32(16))?,
            checkpoint: Lsn(fields.u64(32)),
            redo: Lsn(fields.u64(40)),
            timeline: fields.u32(48),
            min_recovery: Lsn(fields.u64(136)),
            settings: Settings {
                wal_level: WalLevel::parse(fields.u32(172))?,
                max_connections: fields.setting("max_connections", 180)?,
                max_worker_processes: fields.setting("max_worker_processes", 184)?,
                max_wal_senders: fields.setting("max_wal_senders", 188)?,
                max_prepared_transactions: fields.setting("max_prepared_transactions", 192)?,
                max_locks_per_transaction: fields.setting("max_locks_per_transaction", 196)?,
            },
            block_bytes: fields.u32(216),
            blocks_per_segment: fields.u32(220),
            wal_block_bytes: fields.u32(224),
            wal_segment_size: fields.segment_size(228)?,
            data_checksum_version: fields.u32(252),
        })
    }

    /// Decides if a server of this major version, 15 to 18, wrote the file.
    pub fn is_of(&self, major: u32) -> bool {
        self.major() == Some(major)
    }

    /// Returns the major version whose catalogs the cluster has. The version of the layout alone
    /// does not decide: that of 15 is that of 16. Returns `None` for development versions and for
    /// forks of PostgreSQL.
    pub fn major(&self) -> Option<u32> {
        match (self.version, self.catalog_version) {
            (1300, 202_209_061) => Some(15),
            (1300, 202_307_071) => Some(16),
            (1700, 202_406_281) => Some(17),
            (1800, 202_506_291) => Some(18),
            _ => None,
        }
    }
}

/// Returns the number of bytes before the CRC, which covers them.
fn crc_place(version: u32) -> Result<usize> {
    match version {
        1300 | 1700 => Ok(288),
        1800 => Ok(292),
        _ if matches!(version.swap_bytes(), 1300 | 1700 | 1800) => {
            Err(Error::unsupported(PATH, 8, "written by a machine of big-endian order"))
        }
        _ => Err(Error::unsupported(PATH, 8, format!("version {version}: not one of PostgreSQL 15 to 18"))),
    }
}

impl State {
    fn parse(number: u32) -> Result<Self> {
        Ok(match number {
            0 => Self::StartingUp,
            1 => Self::ShutDown,
            2 => Self::ShutDownInRecovery,
            3 => Self::ShuttingDown,
            4 => Self::InCrashRecovery,
            5 => Self::InArchiveRecovery,
            6 => Self::InProduction,
            _ => return Err(Error::damaged(PATH, 16, format!("state {number}: not one of 0 to 6"))),
        })
    }
}

impl WalLevel {
    fn parse(number: u32) -> Result<Self> {
        Ok(match number {
            0 => Self::Minimal,
            1 => Self::Replica,
            2 => Self::Logical,
            _ => return Err(Error::damaged(PATH, 172, format!("wal_level {number}: not one of 0 to 2"))),
        })
    }
}

/// A view of the file by the places of its fields, all of which are below 300.
struct Fields<'a>(&'a [u8; FILE_BYTES]);

impl Fields<'_> {
    fn array<const N: usize>(&self, place: usize) -> [u8; N] {
        let rest = self.0.get(place..).unwrap_or_default();
        rest.first_chunk().copied().expect("a field in the first 300 of 8192 bytes")
    }

    fn u32(&self, place: usize) -> u32 {
        u32::from_le_bytes(self.array(place))
    }

    fn u64(&self, place: usize) -> u64 {
        u64::from_le_bytes(self.array(place))
    }

    /// Returns the value of a setting, which servers keep below 2^31.
    fn setting(&self, name: &str, place: usize) -> Result<u32> {
        let number = self.u32(place);
        match number <= i32::MAX as u32 {
            true => Ok(number),
            false => Err(Error::damaged(PATH, place as u64, format!("{name} of {number}"))),
        }
    }

    fn segment_size(&self, place: usize) -> Result<SegmentSize> {
        let size = SegmentSize::new(u64::from(self.u32(place)));
        size.map_err(|error| Error::damaged(PATH, place as u64, error.to_string()))
    }

    /// Checks `maxAlign` and `floatFormat`, which differ between kinds of machines.
    fn check_alignment(&self) -> Result<()> {
        let (alignment, float) = (self.u32(204), f64::from_le_bytes(self.array(208)));
        match alignment == 8 && float == 1_234_567.0 {
            true => Ok(()),
            false => {
                let message = format!("alignment of {alignment} bytes and number format {float}: another machine");
                Err(Error::unsupported(PATH, 204, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// The files that `initdb` of each release wrote, without the zeros at their ends, and the
    /// output of that release's `pg_controldata`.
    const RELEASES: [(u32, &[u8], &str); 4] = [
        (15, include_bytes!("../testdata/pg_control-15"), include_str!("../testdata/pg_controldata-15.txt")),
        (16, include_bytes!("../testdata/pg_control-16"), include_str!("../testdata/pg_controldata-16.txt")),
        (17, include_bytes!("../testdata/pg_control-17"), include_str!("../testdata/pg_controldata-17.txt")),
        (18, include_bytes!("../testdata/pg_control-18"), include_str!("../testdata/pg_controldata-18.txt")),
    ];

    fn file(head: &[u8]) -> Vec<u8> {
        let mut file = head.to_vec();
        file.resize(FILE_BYTES, 0);
        file
    }

    /// Changes a field, and makes the CRC right again.
    fn edited(head: &[u8], place: usize, value: &[u8]) -> Vec<u8> {
        let mut file = file(head);
        file[place..place + value.len()].copy_from_slice(value);
        let crc_place = crc_place(u32::from_le_bytes(head[8..12].try_into().unwrap())).unwrap();
        let crc = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, &file[..crc_place]) as u32;
        file[crc_place..crc_place + 4].copy_from_slice(&crc.to_le_bytes());
        file
    }

    fn value<'a>(text: &'a str, name: &str) -> &'a str {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of that name");
        line.trim_start_matches(':').trim()
    }

    #[test]
    fn fields_equal_those_of_pg_controldata() {
        for (major, head, text) in RELEASES {
            let control = Control::parse(&file(head)).unwrap();
            let settings = control.settings;
            let pairs = [
                ("pg_control version number", control.version.to_string()),
                ("Catalog version number", control.catalog_version.to_string()),
                ("Database system identifier", control.system_identifier.to_string()),
                ("Latest checkpoint location", control.checkpoint.to_string()),
                ("Latest checkpoint's REDO location", control.redo.to_string()),
                ("Latest checkpoint's TimeLineID", control.timeline.to_string()),
                ("Minimum recovery ending location", control.min_recovery.to_string()),
                ("max_connections setting", settings.max_connections.to_string()),
                ("max_worker_processes setting", settings.max_worker_processes.to_string()),
                ("max_wal_senders setting", settings.max_wal_senders.to_string()),
                ("max_prepared_xacts setting", settings.max_prepared_transactions.to_string()),
                ("max_locks_per_xact setting", settings.max_locks_per_transaction.to_string()),
                ("Database block size", control.block_bytes.to_string()),
                ("Blocks per segment of large relation", control.blocks_per_segment.to_string()),
                ("WAL block size", control.wal_block_bytes.to_string()),
                ("Bytes per WAL segment", control.wal_segment_size.bytes().to_string()),
                ("Data page checksum version", control.data_checksum_version.to_string()),
            ];
            for (name, found) in pairs {
                assert_eq!(found, value(text, name), "{name} of {major}");
            }
            assert_eq!((control.state, value(text, "Database cluster state")), (State::ShutDown, "shut down"));
            assert_eq!((settings.wal_level, value(text, "wal_level setting")), (WalLevel::Replica, "replica"));
            assert_eq!(control.major(), Some(major));
            assert!(control.is_of(major) && !control.is_of(major + 1));
        }
    }

    #[test]
    fn every_flipped_bit_before_the_zeros_is_found() {
        for (_, head, _) in RELEASES {
            let covered = if head[8] == 8 { 296 } else { 292 };
            for place in 0..covered {
                for bit in 0..8 {
                    let mut file = file(head);
                    file[place] ^= 1 << bit;
                    assert!(Control::parse(&file).is_err(), "bit {bit} of byte {place}");
                }
            }
        }
    }

    #[test]
    fn parse_names_unknown_versions() {
        for (version, expected) in
            [(1201u32, "version 1201: not one of"), (1900, "version 1900"), (1700u32.swap_bytes(), "big-endian")]
        {
            let mut file = file(RELEASES[0].1);
            file[8..12].copy_from_slice(&version.to_le_bytes());
            let error = Control::parse(&file).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unsupported);
            assert!(error.message.contains(expected), "{error}");
        }
    }

    #[test]
    fn parse_refuses_other_sizes() {
        let file = file(RELEASES[0].1);
        for content in [&file[..0], &file[..300], &file[..8191]] {
            assert!(Control::parse(content).unwrap_err().message.contains("bytes instead of 8192"));
        }
        assert!(Control::parse(&[file, vec![0]].concat()).is_err());
    }

    #[test]
    fn parse_refuses_impossible_fields() {
        for (_, head, _) in RELEASES {
            for (place, value) in [(16, [7, 0, 0, 0]), (172, [3, 0, 0, 0]), (180, [0xFF; 4]), (228, [1, 0, 0, 0])] {
                let error = Control::parse(&edited(head, place, &value)).unwrap_err();
                assert_eq!((error.kind, error.offset), (ErrorKind::Damaged, place as u64), "{error}");
            }
            for (place, value) in [(204, &[4, 0, 0, 0][..]), (208, &[0; 8])] {
                let error = Control::parse(&edited(head, place, value)).unwrap_err();
                assert_eq!((error.kind, error.offset), (ErrorKind::Unsupported, 204), "{error}");
            }
            assert_eq!(Control::parse(&edited(head, 16, &[5, 0, 0, 0])).unwrap().state, State::InArchiveRecovery);
        }
    }
}
