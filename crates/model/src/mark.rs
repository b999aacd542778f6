//! Marks: later events of a backup, each recorded in a small file beside the backup.
//!
//! ```text
//! <cluster>/<subject>/<subject>-2026-06-07_091500.hold.2026-07-01_120000.json
//! adopted/<key, percent-encoded>.hold.2026-07-01_120000.json     of a file of another program
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
use crate::header::HeaderName;
use crate::key::{BackupName, Key, Timestamp, decode_name, encode_name};

pub use self::hold::{Hold, RememberedHold};
pub use self::summary::Marks;

/// The suffix of the key of a mark's details, before the suffix of the encryption.
const DETAILS: &str = ".details.json";

/// The folder of the marks of files of other programs. Those programs may rename or delete unknown
/// files in their own folders.
const ADOPTED: &str = "adopted/";

/// The maximum size of a mark in bytes.
pub const MAX_MARK_BYTES: usize = 64 << 10;

/// The kind of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkKind {
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
const KIND_WORDS: [(MarkKind, &str); 8] = [
    (MarkKind::Hold, "hold"),
    (MarkKind::Released, "released"),
    (MarkKind::Verified, "verified"),
    (MarkKind::Damaged, "damaged"),
    (MarkKind::Drilled, "drilled"),
    (MarkKind::Unrestorable, "unrestorable"),
    (MarkKind::Restoring, "restoring"),
    (MarkKind::Withdrawn, "withdrawn"),
];

impl fmt::Display for MarkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = KIND_WORDS.iter().find(|(kind, _)| kind == self).map_or("", |(_, word)| word);
        f.write_str(word)
    }
}

/// The parts of a mark's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MarkName {
    /// The backup.
    pub backup: BackupName,
    /// The kind of the mark.
    pub kind: MarkKind,
    /// The time of the mark.
    pub time: Timestamp,
}

impl MarkName {
    /// Parses the name of a mark. Returns `None` for other keys.
    pub fn from_key(key: &Key) -> Option<Self> {
        let (rest, time) = key.as_str().strip_suffix(".json")?.rsplit_once('.')?;
        let (name, word) = rest.rsplit_once('.')?;
        let (kind, _) = KIND_WORDS.iter().find(|(_, known)| *known == word)?;
        let backup = match name.strip_prefix(ADOPTED) {
            // A backup of a cluster of this name is in a folder below.
            Some(encoded) if !encoded.contains('/') => {
                let file = Key::parse(&decode_name(encoded)?).ok()?;
                Some(BackupName::from_adopted_key(&file)).filter(|name| !name.is_own())?
            }
            _ => BackupName::from_manifest_key(&Key::parse(&format!("{name}.json")).ok()?)?,
        };
        Some(Self { backup, kind: *kind, time: Timestamp::parse(time)? })
    }

    /// Returns the label by which other marks name this one: its word and time.
    pub fn label(&self) -> String {
        format!("{}.{}", self.kind, self.time)
    }

    /// Returns the mark's key.
    pub fn key(&self) -> Result<Key> {
        let (kind, time) = (self.kind, self.time);
        match self.backup.is_own() {
            true => Key::parse(&format!("{}.{kind}.{time}.json", self.backup)),
            false => Key::parse(&format!("{ADOPTED}{}.{kind}.{time}.json", encode_name(self.backup.as_str()))),
        }
    }

    /// Returns the key of the mark's confidential details, given the suffix of the encryption.
    pub fn details(&self, extension: &str) -> Result<Key> {
        Key::parse(&format!("{}.{}.{}{DETAILS}{extension}", self.backup, self.kind, self.time))
    }

    /// Returns the name of the mark that a file of details belongs to. Returns `None` for other
    /// keys.
    pub fn from_details_key(key: &Key) -> Option<Self> {
        let (rest, extension) = key.as_str().rsplit_once(DETAILS)?;
        let is_encryption = extension.is_empty() || extension.starts_with('.');
        if !is_encryption || HeaderName::from_key(key).is_some() {
            return None;
        }
        Self::from_key(&Key::parse(&format!("{rest}.json")).ok()?)
    }
}

/// The content of a mark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The mark's own key: a signed mark counts only under this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
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
    fn mark_name_contains_backup_kind_and_time() {
        let key = Key::parse("main/app/app-2026-06-07_091500.hold.2026-07-01_120000.json").unwrap();
        let name = MarkName::from_key(&key).unwrap();
        assert_eq!((name.backup.as_str(), name.kind), ("main/app/app-2026-06-07_091500", MarkKind::Hold));
        assert_eq!(name.time.to_string(), "2026-07-01_120000");
        assert_eq!(name.key().unwrap(), key);
        assert_eq!(BackupName::from_manifest_key(&key), None, "a mark is not a manifest");
        for (kind, word) in KIND_WORDS {
            assert_eq!(kind.to_string(), word);
        }
    }

    #[test]
    fn mark_of_an_adopted_file_encodes_its_key() {
        let file = Key::parse("old/db_2026-06-07T03:00:01+02:00.dump").unwrap();
        let time = Timestamp::parse("2026-07-01_120000").unwrap();
        let name = MarkName { backup: BackupName::from_adopted_key(&file), kind: MarkKind::Hold, time };
        let expected = "adopted/old%2Fdb_2026-06-07T03%3A00%3A01%2B02%3A00.dump.hold.2026-07-01_120000.json";
        let key = name.key().unwrap();
        assert!(key.as_str() == expected && key.is_plain(), "{key}");
        assert_eq!(MarkName::from_key(&key), Some(name));
        for other in [
            "adopted/old/db.dump.hold.2026-07-01_120000.json",
            "adopted/old%2fdb.dump.hold.2026-07-01_120000.json",
            "adopted/%2E%2E.hold.2026-07-01_120000.json",
            "adopted/main%2Fapp%2Fapp-2026-06-07_091500.hold.2026-07-01_120000.json",
            "adopted.hold.2026-07-01_120000.json",
        ] {
            assert_eq!(MarkName::from_key(&Key::parse(other).unwrap()), None, "{other}");
        }
    }

    #[test]
    fn details_key_names_its_mark() {
        let key = Key::parse("main/app/app-2026-06-07_091500.drilled.2026-07-01_120000.details.json.age").unwrap();
        let name = MarkName::from_details_key(&key).unwrap();
        assert_eq!((name.kind, name.details(".age").unwrap()), (MarkKind::Drilled, key.clone()));
        assert_eq!(MarkName::from_key(&key), None, "details are not a mark");
        assert_eq!(BackupName::from_file_key(&key), Some(name.backup));
        for text in [
            "main/app/app-2026-06-07_091500.details.json.age",
            "main/app/app-2026-06-07_091500.drilled.2026-07-01_120000.details.jsonx",
            "main/app/app-2026-06-07_091500.drilled.details.json",
        ] {
            assert_eq!(MarkName::from_details_key(&Key::parse(text).unwrap()), None, "{text}");
        }
    }

    #[test]
    fn similar_names_are_not_marks() {
        for text in [
            "main/app/app-2026-06-07_091500.json",
            "main/app/app-2026-06-07_091500.details.json",
            "main/app/app-2026-06-07_091500.hold.json",
            "main/app/app-2026-06-07_091500.hold.2026-07-01.json",
            "main/app/app-2026-06-07_091500.held.2026-07-01_120000.json",
            "main/app/other-2026-06-07_091500.hold.2026-07-01_120000.json",
            "app-2026-06-07_091500.hold.2026-07-01_120000.json",
        ] {
            assert_eq!(MarkName::from_key(&Key::parse(text).unwrap()), None, "{text}");
        }
        // A database may have such a name, and has its own manifests and marks.
        let odd = "app-2026-06-07_091500.hold.2026-07-01_120000";
        let key = Key::parse(&format!("main/{odd}/{odd}-2026-06-07_091500.json")).unwrap();
        assert_eq!(MarkName::from_key(&key), None);
        assert!(BackupName::from_manifest_key(&key).is_some());
    }
}
