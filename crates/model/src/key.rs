//! Names in a destination: dated, in UTC, and confined to the destination.
//!
//! ```text
//! <cluster>/<subject>/<subject>-2026-06-07_091500.dump.zst.age    the artifact
//! <cluster>/<subject>/<subject>-2026-06-07_091500.details.json.age  encrypted details
//! <cluster>/<subject>/<subject>-2026-06-07_091500.json            its manifest
//! RESTORE.md                                                      how to restore by hand
//! ```

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode_byte, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result, Stage};

/// The maximum length of a key in bytes; object stores allow 1,024.
const MAX_KEY_BYTES: usize = 900;

/// The key of the page that describes a restore by hand. Every destination contains it, and it
/// belongs to no backup.
pub const RESTORE_PAGE: &str = "RESTORE.md";

/// The key of the page that describes headers beside encrypted files. It belongs to no backup.
pub const HEADERS_PAGE: &str = "RESTORE-HEADERS.md";

/// The name of an object in a destination: segments of `A-Za-z0-9._%-` that do not begin with a
/// dot, joined by slashes.
///
/// A key is neither absolute nor empty and cannot refer to a parent, so it cannot leave its
/// destination. Names that begin with a dot are reserved for the destination's own files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Key(Arc<str>);

impl Key {
    /// Parses a key.
    ///
    /// Names of other programs may also contain `:`, `+`, `@`, `,`, `=` and spaces, except at the
    /// beginning of a segment, and no space at its end. Longshore never gives its own files such
    /// names: see [`Key::is_plain`].
    pub fn parse(text: &str) -> Result<Self> {
        let is_valid = |segment: &[u8]| match segment {
            [] | [b'.', ..] | [.., b' '] => false,
            [first, ..] => {
                is_own(*first)
                    && segment.iter().all(|&byte| is_own(byte) || FOREIGN.contains(&byte))
                    && !SYSTEM_FOLDERS.contains(&segment)
            }
        };
        if text.len() > MAX_KEY_BYTES || !text.as_bytes().split(|&byte| byte == b'/').all(is_valid) {
            let message = "invalid key: expected segments of A-Z a-z 0-9 . _ % - that do not begin with a dot";
            return Err(Error::new(Stage::Ship, Kind::Usage, text, message));
        }
        Ok(Self(text.into()))
    }

    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if the key consists of the characters of Longshore's own names.
    pub fn is_plain(&self) -> bool {
        self.0.bytes().all(|byte| is_own(byte) || byte == b'/')
    }

    /// Returns the last segment.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Returns true if the key is that of an object below the folder `under`.
    pub fn is_below(&self, under: &Self) -> bool {
        self.0.strip_prefix(under.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Returns all but the last segment, or `""` at the top.
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Key {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.as_str().to_owned()
    }
}

/// Returns true for the characters of Longshore's own names.
fn is_own(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'%')
}

/// The characters that only names of other programs contain. Names of folders with metadata of
/// network storage begin with `@`.
const FOREIGN: &[u8] = b":+@,= ";

/// The folders of file systems, which may be unreadable.
const SYSTEM_FOLDERS: [&[u8]; 2] = [b"lost+found", b"System Volume Information"];

/// The bytes of a name that are encoded: all but `A-Za-z0-9._-`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

/// Percent-encodes every byte outside `A-Za-z0-9._-`, and a leading dot or dash. Different names
/// remain different, and the result is a segment of a [`Key`].
pub fn encode_name(name: &str) -> String {
    match name.as_bytes() {
        [b'.' | b'-', ..] => encode_reserved_name(name),
        _ => utf8_percent_encode(name, ENCODED).to_string(),
    }
}

/// Encodes a name as [`encode_name`] does, and its first byte in any case, for a name that is also
/// a reserved word.
pub fn encode_reserved_name(name: &str) -> String {
    match name.as_bytes() {
        [first, ..] if first.is_ascii() => {
            format!("{}{}", percent_encode_byte(*first), utf8_percent_encode(&name[1..], ENCODED))
        }
        _ => utf8_percent_encode(name, ENCODED).to_string(),
    }
}

/// Decodes a name that [`encode_name`] encoded. Returns `None` for other texts.
pub fn decode_name(segment: &str) -> Option<String> {
    let name = percent_decode_str(segment).decode_utf8().ok()?;
    (encode_name(&name) == segment).then(|| name.into_owned())
}

/// The time that all artifacts of a run share, in UTC, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Stamp"))]
pub struct Timestamp(DateTime<Utc>);

/// The form of a timestamp in a name.
const TIMESTAMP_FORM: &str = "%Y-%m-%d_%H%M%S";
/// The length of a timestamp in a name, in bytes.
const TIMESTAMP_BYTES: usize = "0000-00-00_000000".len();

impl Timestamp {
    /// Creates the timestamp of a time, truncated to the second.
    pub fn new(time: DateTime<Utc>) -> Self {
        Self(time.trunc_subsecs(0))
    }

    /// Parses a timestamp in the form used in names, such as `2026-06-07_091500`.
    pub fn parse(text: &str) -> Option<Self> {
        let time = NaiveDateTime::parse_from_str(text, TIMESTAMP_FORM).ok()?.and_utc();
        let timestamp = Self(time);
        // A lenient parser would accept two names for one time, and chrono accepts leap seconds.
        let is_usual = text.len() == TIMESTAMP_BYTES && time.timestamp_subsec_millis() == 0;
        (is_usual && timestamp.to_string() == text).then_some(timestamp)
    }

    /// Returns the time.
    pub fn time(self) -> DateTime<Utc> {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.format(TIMESTAMP_FORM).fmt(f)
    }
}

/// The common prefix of the keys of one backup: `<cluster>/<subject>/<subject>-<timestamp>`. Also
/// the backup's name for users.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BackupName(Key);

/// The suffix of a manifest's key.
const MANIFEST: &str = ".json";
/// The suffix of the key of details, before the suffix of the encryption.
pub(crate) const DETAILS: &str = ".details.json";

impl BackupName {
    /// Creates the name of the backup of `subject` (a segment: see [`encode_name`]) in `cluster` at
    /// `timestamp`.
    pub fn new(cluster: &str, subject: &str, timestamp: Timestamp) -> Result<Self> {
        Ok(Self(Key::parse(&format!("{}/{subject}/{subject}-{timestamp}", encode_name(cluster)))?))
    }

    /// Returns the name of the backup whose manifest has this key. Returns `None` for other files
    /// with the same suffix, such as a user's notes.
    pub fn from_manifest_key(key: &Key) -> Option<Self> {
        let name = key.as_str().strip_suffix(MANIFEST).filter(|_| key.is_plain())?;
        let [_, subject, file] = <[&str; 3]>::try_from(name.split('/').collect::<Vec<_>>()).ok()?;
        Timestamp::parse(file.strip_prefix(subject)?.strip_prefix('-')?)?;
        Some(Self(Key::parse(name).ok()?))
    }

    /// Returns the name of an adopted file, made by another program: its whole key. Only the keys
    /// of its marks are derived from such a name.
    pub fn from_adopted_key(key: &Key) -> Self {
        Self(key.clone())
    }

    /// Returns false for the name of an adopted file.
    pub fn is_own(&self) -> bool {
        Self::from_manifest_key(&self.manifest()).is_some()
    }

    /// Returns the key of the artifact, given its suffix, such as `.dump.zst.age`.
    pub fn artifact(&self, extension: &str) -> Result<Key> {
        Key::parse(&format!("{}{extension}", self.0))
    }

    /// Returns the key of the manifest.
    pub fn manifest(&self) -> Key {
        Key(format!("{}{MANIFEST}", self.0).into())
    }

    /// Returns the key of the details, given the suffix of the encryption.
    pub fn details(&self, extension: &str) -> Result<Key> {
        Key::parse(&format!("{}{DETAILS}{extension}", self.0))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the name without its folder.
    pub fn file_name(&self) -> &str {
        self.0.file_name()
    }

    /// Returns true if the key is that of a file of the backup.
    pub(crate) fn is_prefix_of(&self, key: &Key) -> bool {
        key.as_str().strip_prefix(self.as_str()).is_some_and(|suffix| suffix.starts_with('.'))
    }

    /// Returns the folder of all backups of the same subject.
    pub fn folder(&self) -> &str {
        self.0.folder()
    }

    /// Returns the time of the run, or `None` for an adopted file.
    pub fn time(&self) -> Option<Timestamp> {
        let name = self.file_name();
        Timestamp::parse(name.get(name.len().checked_sub(TIMESTAMP_BYTES)?..)?)
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backup_name_contains_its_time() {
        let time = Timestamp::parse("2026-06-07_091500").unwrap();
        assert_eq!(BackupName::new("main", "my%20db", time).unwrap().time(), Some(time));
        for adopted in ["app.dump", "old/app-2026-06-07.dump"] {
            assert_eq!(BackupName::from_adopted_key(&Key::parse(adopted).unwrap()).time(), None);
        }
    }

    #[test]
    fn key_cannot_leave_its_destination() {
        for bad in [
            "",
            "/etc/passwd",
            "a//b",
            "a/../b",
            "..",
            ".",
            "a/.",
            "a/",
            "a\0b",
            "a\\b",
            ".hidden",
            "é",
            " a",
            "a ",
            "a/ b",
            ":a",
            "@eaDir/x",
            "lost+found/x",
            "a/System Volume Information",
            "a~",
            "a;b",
            "a'b",
            "a*b",
            "a&b",
        ] {
            assert!(Key::parse(bad).is_err(), "{bad:?}");
            assert!(serde_json::from_value::<Key>(bad.into()).is_err(), "{bad:?}");
        }
        assert!(Key::parse("main/appdb/appdb-2026-06-07_091500.dump.zst.age").is_ok());
    }

    #[test]
    fn names_of_other_programs_are_keys() {
        for text in ["db_2026-06-07T03:00:01+02:00.dump", "a b/c@host,n=1.sql.gz", "a:"] {
            assert!(!Key::parse(text).unwrap().is_plain(), "{text}");
        }
        assert!(Key::parse("a/b%20c_d-e.f").unwrap().is_plain());
        let foreign = Key::parse("a b/a:b/a:b-2026-06-07_091500.json").unwrap();
        assert_eq!(BackupName::from_manifest_key(&foreign), None);
    }

    #[test]
    fn different_names_have_different_encodings() {
        let names =
            ["a/b", "a_b", "a%2Fb", "a b", "a.b", ".", "..", "-x", "é", "A/b", "a\nb", "\u{1F418}", "quo\"te", "a'b"];
        let encoded: std::collections::BTreeSet<_> = names.iter().map(|name| encode_name(name)).collect();
        assert_eq!(encoded.len(), names.len());
        for name in &encoded {
            assert!(Key::parse(name).is_ok_and(|key| key.is_plain()), "{name}");
        }
        assert!(
            names
                .iter()
                .zip(names.map(encode_name))
                .all(|(name, encoded)| decode_name(&encoded).as_deref() == Some(name))
        );
        assert_eq!(
            [decode_name("a%2"), decode_name("a%41"), decode_name("a:b"), decode_name("%ff")],
            [const { None }; 4]
        );
        assert_eq!(encode_name("my app/ä"), "my%20app%2F%C3%A4");
    }

    #[test]
    fn timestamp_has_exactly_one_text_form() {
        let timestamp = Timestamp::parse("2026-06-07_091500").unwrap();
        assert_eq!(timestamp.to_string(), "2026-06-07_091500");
        for bad in [
            "2026-6-7_091500",
            "2026-06-07_0915",
            "2026-02-30_000000",
            "2026-06-07_091500x",
            "+2026-06-07_091500",
            "2026-06-07_246000",
            "2026-06-07_09150",
            "2026-06-07_+91500",
            "2026_06-07_091500",
            "2026-06-07_091560",
            "2026-06-07_235960",
            "-0001-01-01_000000",
            "+12026-01-01_00000",
            "2026-06-07_09150é",
        ] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn backup_keys_share_a_prefix() {
        let name = BackupName::new("main", "appdb", Timestamp::parse("2026-06-07_091500").unwrap()).unwrap();
        assert_eq!(name.artifact(".dump.zst.age").unwrap().as_str(), "main/appdb/appdb-2026-06-07_091500.dump.zst.age");
        assert_eq!(BackupName::from_manifest_key(&name.manifest()).as_ref(), Some(&name));
        assert_eq!(BackupName::from_manifest_key(&name.details("").unwrap()), None);
        for (text, expected) in [
            ("main/appdb/appdb-2026-06-07_091500.json", true),
            ("main/appdb/appdb-2026-06-07_091500", false),
            ("main/appdb/appdb-2026-06-07_0915000.json", false),
            ("main/appdb/appdb-2026-06-07_091501.json", false),
        ] {
            assert_eq!(name.is_prefix_of(&Key::parse(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn recognises_manifest_keys() {
        for stranger in [
            "notes.json",
            "main/notes.json",
            "main/appdb/notes.json",
            "main/appdb/appdb.json",
            "main/appdb/appdb-.json",
            "main/appdb/appdb-2026-06-07.json",
            "main/appdb/appdb-2026-02-30_000000.json",
            "main/appdb/other-2026-06-07_091500.json",
            "appdb/appdb-2026-06-07_091500.json",
            "old/main/appdb/appdb-2026-06-07_091500.json",
            "main/appdb/appdb-2026-06-07_091500",
        ] {
            assert_eq!(BackupName::from_manifest_key(&Key::parse(stranger).unwrap()), None, "{stranger}");
        }
        for subject in ["globals", "my%20app", "a-2026-06-07_091500"] {
            let name = BackupName::new("main", subject, Timestamp::parse("2026-06-07_091500").unwrap()).unwrap();
            assert_eq!(BackupName::from_manifest_key(&name.manifest()), Some(name));
        }
    }
}
