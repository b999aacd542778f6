//! Marks: what became known of a backup after it was made, each a small file of its own beside it.
//!
//! ```text
//! <cluster>/<subject>/<subject>-2026-06-07_091500.hold.2026-07-01_120000.json
//! ```
//!
//! Nothing is ever overwritten, so a mark is never changed: a later one of another kind takes its effect away. The time in its name is
//! when it was made; what kind it is and when it was made, a listing tells.
//!
//! | file | holds |
//! | --- | --- |
//! | `hold.rs` | holds as they were seen, so that a deleted one is missed |
//! | `summary.rs` | what the marks of one backup say together |

mod hold;
mod summary;

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result, Stage};
use crate::key::{BackupName, Key, Stamp};
use crate::stage::{Ship, Store};
use crate::stream::{collect, from_bytes};

pub use self::hold::RememberedHold;
pub use self::summary::Marks;

/// The end, before the encryption's, of the key of a mark's details.
const DETAILS: &str = ".details.json";

/// The most bytes a mark may have.
pub(crate) const MAX_MARK_BYTES: usize = 64 << 10;

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Says {
    /// Retention is to leave the backup alone.
    Hold,
    /// No hold that was made before counts any more.
    Released,
    /// It was read back whole from this destination.
    Verified,
    /// The backup is damaged: found by reading it back from this destination, or by a drill.
    Damaged,
    /// It was restored in a drill from this destination.
    Drilled,
    /// A drill by 0.1.0 failed, for the backup's sake or the place's: it does not count, but asks for another drill.
    Unrestorable,
    /// Somebody restores it from this destination.
    Restoring,
    /// Marks that were wrong do not count; the mark names them.
    Withdrawn,
}

/// All kinds, and the word for each in a name.
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

/// What the name of a mark tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MarkName {
    /// The backup that it is about.
    pub backup: BackupName,
    /// What it says.
    pub says: Says,
    /// When it was made.
    pub time: Stamp,
}

impl MarkName {
    /// What the name of a mark tells, if it is a mark's.
    pub fn of(key: &Key) -> Option<Self> {
        let (rest, time) = key.as_str().strip_suffix(".json")?.rsplit_once('.')?;
        let (name, word) = rest.rsplit_once('.')?;
        let (says, _) = WORDS.iter().find(|(_, known)| *known == word)?;
        let backup = BackupName::of_manifest(&Key::parse(&format!("{name}.json")).ok()?)?;
        Some(Self { backup, says: *says, time: Stamp::parse(time)? })
    }

    /// What other marks call it: its word and time.
    pub fn label(&self) -> String {
        format!("{}.{}", self.says, self.time)
    }

    /// The mark's key.
    pub fn key(&self) -> Result<Key> {
        Key::parse(&format!("{}.{}.{}.json", self.backup, self.says, self.time))
    }

    /// The key of what belongs to the mark and names what is in the plaintext; `extension` is the encryption's.
    pub fn details(&self, extension: &str) -> Result<Key> {
        Key::parse(&format!("{}.{}.{}{DETAILS}{extension}", self.backup, self.says, self.time))
    }

    /// The name of the mark that a file of details belongs to, if it is such a file.
    pub fn of_details(key: &Key) -> Option<Self> {
        let (rest, extension) = key.as_str().rsplit_once(DETAILS)?;
        if !(extension.is_empty() || extension.starts_with('.')) {
            return None;
        }
        Self::of(&Key::parse(&format!("{rest}.json")).ok()?)
    }
}

/// What is in a mark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The version of Longshore that wrote it.
    #[serde(default)]
    pub longshore: String,
    /// Who made it: a user and a host.
    #[serde(default)]
    pub by: String,
    /// Until when it counts; for good without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Why it was made: a person's reason, or what was found.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What a drill found, where the mark is the record of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// True if the damage was found in decoded content that differs from its record. Sealed bytes
    /// that are as shipped do not take it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decoded: bool,
    /// The marks that it withdraws, each as its word and time: `damaged.2026-07-01_120000`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdraws: Vec<String>,
}

impl Mark {
    /// Puts the mark beside a backup. Where one of the same second lies already, it takes the next.
    pub async fn put(
        &self,
        store: &dyn Ship,
        backup: &BackupName,
        says: Says,
        time: DateTime<Utc>,
    ) -> Result<MarkName> {
        put(self, store, MarkName { backup: backup.clone(), says, time: Stamp::new(time) }).await
    }

    /// Reads a mark.
    async fn get(store: &dyn Store, name: &MarkName) -> Result<Self> {
        let key = name.key()?;
        let bytes = collect(store.fetch(&key, None).await?, MAX_MARK_BYTES, Stage::Catalog, key.as_str()).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::new(Stage::Catalog, Kind::Corrupt, key.as_str(), "not a mark").because(error))
    }
}

/// Puts what a mark holds beside a backup. Where one of the same second lies already, it takes the next.
pub(crate) async fn put(content: &impl Serialize, store: &dyn Ship, mut name: MarkName) -> Result<MarkName> {
    let mut bytes = serde_json::to_vec_pretty(content).map_err(|error| {
        Error::new(Stage::Catalog, Kind::Failed, name.backup.as_str(), "cannot write a mark").because(error)
    })?;
    bytes.push(b'\n');
    loop {
        match store.ship(&name.key()?, from_bytes(bytes.clone())).await {
            Err(error) if error.kind() == Kind::AlreadyExists => {
                name.time = Stamp::new(name.time.time() + chrono::TimeDelta::seconds(1));
            }
            shipped => return shipped.map(|()| name),
        }
    }
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
        assert_eq!(BackupName::of_manifest(&key), None, "no manifest bears such a name");
        for (says, word) in WORDS {
            assert_eq!(says.to_string(), word);
        }
    }

    #[test]
    fn what_belongs_to_a_mark_is_known_by_its_name() {
        let key = Key::parse("main/app/app-2026-06-07_091500.drilled.2026-07-01_120000.details.json.age").unwrap();
        let name = MarkName::of_details(&key).unwrap();
        assert_eq!((name.says, name.details(".age").unwrap()), (Says::Drilled, key.clone()));
        assert_eq!(MarkName::of(&key), None, "it is no mark itself");
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
        // A database may bear such a name, and has manifests and marks of its own.
        let odd = "app-2026-06-07_091500.hold.2026-07-01_120000";
        let key = Key::parse(&format!("main/{odd}/{odd}-2026-06-07_091500.json")).unwrap();
        assert_eq!(MarkName::of(&key), None);
        assert!(BackupName::of_manifest(&key).is_some());
    }
}
