//! Marks: later events of a backup, each recorded in a small file beside the backup.
//!
//! ```text
//! <cluster>/<subject>/<subject>-2026-06-07_091500.hold.2026-07-01_120000.json
//! ```
//!
//! Files are never overwritten, so a mark never changes: a later mark of another kind cancels its
//! effect. The kind and the time are part of the name, so a listing suffices to read them.
//!
//! | file | contents |
//! | --- | --- |
//! | `hold.rs` | remembered holds, for detecting deleted ones |
//! | `summary.rs` | the combined meaning of the marks of one backup |

mod hold;
mod summary;

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::key::{BackupName, Key, Stamp};

pub use self::hold::{Hold, RememberedHold};
pub use self::summary::Marks;

/// The suffix of the key of a mark's details, before the suffix of the encryption.
const DETAILS: &str = ".details.json";

/// The maximum size of a mark in bytes.
pub const MAX_MARK_BYTES: usize = 64 << 10;

/// The kind of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Says {
    /// Retention must keep the backup.
    Hold,
    /// Earlier holds are released.
    Released,
    /// The backup was read back from this destination without damage.
    Verified,
    /// The backup is damaged, according to a read-back from this destination or a drill.
    Damaged,
    /// The backup was restored from this destination in a drill.
    Drilled,
    /// A drill by 0.1.0 failed, because of the backup or of the drill's cluster. The backup counts
    /// as good, but needs another drill.
    Unrestorable,
    /// The backup is being restored from this destination.
    Restoring,
    /// Wrong marks, named in this mark, do not count.
    Withdrawn,
}

/// All kinds, each with its word in names.
const WORDS: [(Says, &str); 8] = [
    (Says::Hold, "hold"),
    (Says::Released, "released"),
    (Says::Verified, "verified"),
    (Says::Damaged, "damaged"),
    (Says::Drilled, "drilled"),
    (Says::Unrestorable, "unrestorable"),
    (Says::Restoring, "restoring"),
    (Says::Withdrawn, "withdrawn"),
];

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = WORDS.iter().find(|(says, _)| says == self).map_or("", |(_, word)| word);
        f.write_str(word)
    }
}

/// The parts of a mark's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MarkName {
    /// The backup.
    pub backup: BackupName,
    /// The kind of the mark.
    pub says: Says,
    /// The time of the mark.
    pub time: Stamp,
}

impl MarkName {
    /// Parses the name of a mark. Returns `None` for other keys.
    pub fn of(key: &Key) -> Option<Self> {
        let (rest, time) = key.as_str().strip_suffix(".json")?.rsplit_once('.')?;
        let (name, word) = rest.rsplit_once('.')?;
        let (says, _) = WORDS.iter().find(|(_, known)| *known == word)?;
        let backup = BackupName::of_manifest(&Key::parse(&format!("{name}.json")).ok()?)?;
        Some(Self { backup, says: *says, time: Stamp::parse(time)? })
    }

    /// Returns the label by which other marks name this one: its word and time.
    pub fn label(&self) -> String {
        format!("{}.{}", self.says, self.time)
    }

    /// Returns the mark's key.
    pub fn key(&self) -> Result<Key> {
        Key::parse(&format!("{}.{}.{}.json", self.backup, self.says, self.time))
    }

    /// Returns the key of the mark's confidential details, given the suffix of the encryption.
    pub fn details(&self, extension: &str) -> Result<Key> {
        Key::parse(&format!("{}.{}.{}{DETAILS}{extension}", self.backup, self.says, self.time))
    }

    /// Returns the name of the mark that a file of details belongs to. Returns `None` for other
    /// keys.
    pub fn of_details(key: &Key) -> Option<Self> {
        let (rest, extension) = key.as_str().rsplit_once(DETAILS)?;
        if !(extension.is_empty() || extension.starts_with('.')) {
            return None;
        }
        Self::of(&Key::parse(&format!("{rest}.json")).ok()?)
    }
}

/// The content of a mark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The version of Longshore that wrote the mark.
    #[serde(default)]
    pub longshore: String,
    /// The author: a user and a host.
    #[serde(default)]
    pub by: String,
    /// The end of the mark's validity; unlimited if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// The reason: a user's own, or the finding.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The verdict of a drill, if the mark records one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// True if decoding found content that differs from its record. A matching digest of the stored
    /// bytes does not cancel such a mark.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decoded: bool,
    /// The labels of the withdrawn marks: `damaged.2026-07-01_120000`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdraws: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marks_name_tells_what_it_says_of_which_backup() {
        let key = Key::parse("main/app/app-2026-06-07_091500.hold.2026-07-01_120000.json").unwrap();
        let name = MarkName::of(&key).unwrap();
        assert_eq!((name.backup.as_str(), name.says), ("main/app/app-2026-06-07_091500", Says::Hold));
        assert_eq!(name.time.to_string(), "2026-07-01_120000");
        assert_eq!(name.key().unwrap(), key);
        assert_eq!(BackupName::of_manifest(&key), None, "a mark is not a manifest");
        for (says, word) in WORDS {
            assert_eq!(says.to_string(), word);
        }
    }

    #[test]
    fn what_belongs_to_a_mark_is_known_by_its_name() {
        let key = Key::parse("main/app/app-2026-06-07_091500.drilled.2026-07-01_120000.details.json.age").unwrap();
        let name = MarkName::of_details(&key).unwrap();
        assert_eq!((name.says, name.details(".age").unwrap()), (Says::Drilled, key.clone()));
        assert_eq!(MarkName::of(&key), None, "details are not a mark");
        assert_eq!(BackupName::of_file(&key), Some(name.backup));
        for text in [
            "main/app/app-2026-06-07_091500.details.json.age",
            "main/app/app-2026-06-07_091500.drilled.2026-07-01_120000.details.jsonx",
            "main/app/app-2026-06-07_091500.drilled.details.json",
        ] {
            assert_eq!(MarkName::of_details(&Key::parse(text).unwrap()), None, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_mark_is_none() {
        for text in [
            "main/app/app-2026-06-07_091500.json",
            "main/app/app-2026-06-07_091500.details.json",
            "main/app/app-2026-06-07_091500.hold.json",
            "main/app/app-2026-06-07_091500.hold.2026-07-01.json",
            "main/app/app-2026-06-07_091500.held.2026-07-01_120000.json",
            "main/app/other-2026-06-07_091500.hold.2026-07-01_120000.json",
            "app-2026-06-07_091500.hold.2026-07-01_120000.json",
        ] {
            assert_eq!(MarkName::of(&Key::parse(text).unwrap()), None, "{text}");
        }
        // A database may have such a name, and has its own manifests and marks.
        let odd = "app-2026-06-07_091500.hold.2026-07-01_120000";
        let key = Key::parse(&format!("main/{odd}/{odd}-2026-06-07_091500.json")).unwrap();
        assert_eq!(MarkName::of(&key), None);
        assert!(BackupName::of_manifest(&key).is_some());
    }
}
