//! Files of other programs, adopted as backups.

use std::fmt;

use chrono::{DateTime, Utc};
use longshore_core::stage::Entry;
use longshore_model::Result;
use longshore_model::key::{BackupName, Key};
use longshore_model::mark::{MarkName, Marks};
use longshore_model::series::Series;
use longshore_retention::Candidate;

/// The reason why a file is not adopted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The name does not match the pattern.
    NoMatch,
    /// The name contains an invalid date, or two different dates.
    InvalidDate,
    /// The time does not exist in the time zone: the zone or the name is wrong.
    NonexistentTime,
    /// The name is reserved for files of Longshore's own backups.
    Reserved,
    /// The name matches several patterns.
    Ambiguous(Vec<String>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMatch => f.write_str("the name matches no pattern"),
            Self::InvalidDate => f.write_str("the name contains an invalid date, or two different dates"),
            Self::NonexistentTime => f.write_str("the time does not exist in the time zone"),
            Self::Reserved => f.write_str("the name is reserved for files of Longshore's own backups"),
            Self::Ambiguous(names) => {
                write!(f, "the name matches several patterns: {}", names.join(", "))
            }
        }
    }
}

/// A file adopted as a backup. It is unverified, and only its name describes it, and its holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The backup's name: the whole key.
    pub name: BackupName,
    /// The series: all files of a database that match one pattern.
    pub series: Series,
    /// The time in the name: the earlier one if clocks were set back and the time occurred twice.
    pub time: DateTime<Utc>,
    /// The file's key; of a dump in directory format, that of its table of contents.
    pub key: Key,
    /// The size in bytes, of all files of a dump in directory format.
    pub bytes: u64,
    /// The other files of a dump in directory format.
    pub parts: Vec<Entry>,
    /// The files beside it that contain its checksum.
    pub checksums: Vec<Key>,
    /// The marks of the file: its holds.
    pub marks: Marks,
}

impl Adopted {
    /// Returns true if the file is not empty: a listing shows no other damage.
    pub fn is_good(&self) -> bool {
        self.own_bytes() > 0
    }

    /// Returns the size of the file itself in bytes, without the other files of a dump in directory
    /// format.
    pub fn own_bytes(&self) -> u64 {
        self.bytes - self.parts.iter().map(|part| part.bytes).sum::<u64>()
    }

    /// Returns every key to delete, in the order of deletion.
    pub fn keys(&self) -> Result<Vec<Key>> {
        // Without its table of contents, the rest of a folder is no dump.
        let parts = self.parts.iter().map(|part| &part.key);
        let files = std::iter::once(&self.key).chain(parts).chain(&self.checksums).cloned().map(Ok);
        files.chain(self.marks.names.iter().map(MarkName::key)).collect()
    }

    /// Returns the properties of the file for retention.
    pub fn candidate(&self) -> Candidate {
        Candidate {
            name: self.name.clone(),
            time: self.time,
            bytes: self.bytes,
            good: self.is_good(),
            verified: false,
            drilled: false,
            held: self.marks.held.clone(),
            locked_until: None,
            restoring_until: None,
            begins_window: false,
            continues_others: false,
            needs: Vec::new(),
        }
    }
}
