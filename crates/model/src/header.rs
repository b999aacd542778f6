//! Headers beside encrypted files: each gives other recipients access to a file, which itself never
//! changes.
//!
//! ```text
//! …/<subject>-2026-06-07_091500.dump.zst.age                                       the file
//! …/<subject>-2026-06-07_091500.dump.zst.age.header.<time>-<digits>.age-header     its header
//! ```
//! The digits identify the set of recipients, so a listing shows which files already have a header
//! for these recipients.

use std::fmt;

use serde::Serialize;

use crate::digest::Digest;
use crate::error::Result;
use crate::key::{Key, Timestamp};

/// The suffix of an encrypted file.
pub(crate) const SEALED: &str = ".age";
/// The word before the time of a header.
pub(crate) const WORD: &str = ".header.";
/// The suffix of a header.
const HEADER: &str = ".age-header";
/// The number of digits that identify a set of recipients.
const DIGITS: usize = 16;

/// The maximum size of a header in bytes: enough for thousands of recipients.
pub const MAX_HEADER_BYTES: usize = 1 << 20;

/// A set of recipients, as part of a header's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RecipientSet(String);

impl RecipientSet {
    /// Returns the set of the recipients with these fingerprints, in any order.
    pub fn of(fingerprints: &[String]) -> Self {
        let mut sorted: Vec<&str> = fingerprints.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let digest = Digest::of(sorted.join("\n").as_bytes());
        Self(digest.hex().chars().take(DIGITS).collect())
    }

    fn parse(digits: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (digits.len() == DIGITS && digits.bytes().all(is_digit)).then(|| Self(digits.to_owned()))
    }
}

impl fmt::Display for RecipientSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The parts of a header's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeaderName {
    /// The key of the encrypted file.
    pub sealed: Key,
    /// The time at which the header was made.
    pub time: Timestamp,
    /// The recipients.
    pub recipients: RecipientSet,
}

impl HeaderName {
    /// Returns true for the key of an encrypted file that can have headers.
    pub fn is_sealed(key: &Key) -> bool {
        key.as_str().ends_with(SEALED)
    }

    /// Parses the name of a header. Returns `None` for other keys.
    pub fn from_key(key: &Key) -> Option<Self> {
        let (sealed, stamp) = key.as_str().strip_suffix(HEADER)?.rsplit_once(WORD)?;
        let (time, digits) = stamp.rsplit_once('-')?;
        let sealed = Key::parse(sealed).ok().filter(Self::is_sealed)?;
        Some(Self { sealed, time: Timestamp::parse(time)?, recipients: RecipientSet::parse(digits)? })
    }

    /// Returns the header's key.
    pub fn key(&self) -> Result<Key> {
        Key::parse(&format!("{}{WORD}{}-{}{HEADER}", self.sealed, self.time, self.recipients))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::BackupName;
    use crate::mark::MarkName;
    use crate::wal_key::WalKey;

    const BACKUP: &str = "main/app/app-2026-06-07_091500";
    const STAMP: &str = ".header.2026-11-30_200100-1f0c9a7e5d3b2c4a.age-header";

    fn header_of(suffix: &str) -> Key {
        Key::parse(&format!("{BACKUP}{suffix}{STAMP}")).unwrap()
    }

    #[test]
    fn header_name_contains_file_time_and_recipients() {
        for suffix in [".dump.zst.age", ".details.json.age", ".drilled.2026-07-01_120000.details.json.age"] {
            let key = header_of(suffix);
            let name = HeaderName::from_key(&key).unwrap();
            assert_eq!(name.sealed.as_str(), format!("{BACKUP}{suffix}"));
            assert_eq!(
                (name.time.to_string(), name.recipients.to_string()),
                ("2026-11-30_200100".to_owned(), "1f0c9a7e5d3b2c4a".to_owned())
            );
            assert_eq!(name.key().unwrap(), key);
            assert_eq!(BackupName::from_file_key(&key).unwrap().as_str(), BACKUP);
        }
    }

    #[test]
    fn header_is_no_other_file_of_its_backup() {
        for suffix in [".dump.zst.age", ".details.json.age", ".drilled.2026-07-01_120000.details.json.age"] {
            let key = header_of(suffix);
            assert_eq!((MarkName::from_key(&key), MarkName::from_details_key(&key)), (None, None), "{key}");
            assert_eq!(BackupName::from_manifest_key(&key), None, "{key}");
        }
        let of = |text: &str| Key::parse(&format!("{text}{STAMP}")).unwrap();
        let digest = "0".repeat(32);
        let wal = of(&format!("main/wal/7/0000000100000016/0000000100000016000000B3-{digest}.zst.age"));
        assert_eq!(WalKey::parse(&wal), None);
        assert_eq!(
            HeaderName::from_key(&wal).and_then(|name| WalKey::parse(&name.sealed)).map(|key| key.system_identifier),
            Some(7)
        );
    }

    #[test]
    fn similar_names_are_not_headers() {
        for text in [
            format!("{BACKUP}.dump.zst.age"),
            format!("{BACKUP}.dump.zst{STAMP}"),
            format!("{BACKUP}.dump.zst.age.header.2026-11-30_200100.age-header"),
            format!("{BACKUP}.dump.zst.age.header.2026-11-30-1f0c9a7e5d3b2c4a.age-header"),
            format!("{BACKUP}.dump.zst.age.header.2026-11-30_200100-1F0C9A7E5D3B2C4A.age-header"),
            format!("{BACKUP}.dump.zst.age.header.2026-11-30_200100-1f0c9a7e5d3b2c4a.age"),
            format!("{BACKUP}.dump.zst.age{STAMP}{STAMP}"),
        ] {
            assert_eq!(HeaderName::from_key(&Key::parse(&text).unwrap()), None, "{text}");
        }
    }

    #[test]
    fn order_of_recipients_does_not_matter() {
        let set = |all: &[&str]| RecipientSet::of(&all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(set(&["a", "b"]), set(&["b", "a", "b"]));
        assert_ne!(set(&["a", "b"]), set(&["a"]));
        assert_eq!(RecipientSet::parse(&set(&["a"]).to_string()), Some(set(&["a"])));
    }
}
