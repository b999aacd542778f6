//! The keys of archived WAL.
//!
//! ```text
//! <cluster>/wal/<system id>/<timeline and log, 16 digits>/<file>-<digest>.zst.age
//! <cluster>/wal/<system id>/history/<timeline, 8 digits>.history-<digest>.zst.age
//! ```
//! The digest is the first half of the SHA-256 of the file, in hexadecimal: the same bytes have the
//! same key, so a repeated upload finds what is there, even if the host may not read it, and other
//! bytes never replace them. WAL has no manifest: the key contains all that a manifest would.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use longshore_pg_wal::ArchiveName;

use crate::error::Result;
use crate::key::{Key, encode_name};

/// The name of the folder of a cluster's archive.
const FOLDER: &str = "wal";

/// The name of the folder of histories.
const HISTORIES: &str = "history";

/// The number of digits of a digest in a key.
const DIGEST_DIGITS: usize = 32;

/// The archive of one cluster, as initdb made it: a cluster of the same name that was made anew has
/// another identifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WalFolder {
    /// The name of the cluster.
    pub cluster: String,
    /// PostgreSQL's system identifier.
    pub system_identifier: u64,
}

/// The digest of a file, as far as keys contain it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalDigest([u8; DIGEST_DIGITS / 2]);

/// The key of an archived file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalKey {
    /// PostgreSQL's system identifier of the cluster.
    pub system_identifier: u64,
    /// The name that PostgreSQL gives the file.
    pub name: ArchiveName,
    /// The digest of the file.
    pub digest: WalDigest,
    /// The key.
    pub key: Key,
}

impl WalDigest {
    /// Returns the digest of a file.
    pub fn of(content: &[u8]) -> Self {
        let mut first_half = [0; DIGEST_DIGITS / 2];
        first_half.iter_mut().zip(digest(&SHA256, content).as_ref()).for_each(|(to, from)| *to = *from);
        Self(first_half)
    }

    fn parse(digits: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_digest = digits.len() == DIGEST_DIGITS && digits.bytes().all(is_digit);
        let number = is_digest.then(|| u128::from_str_radix(digits, 16).ok()).flatten()?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for WalDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for WalDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl WalFolder {
    /// Returns the folder that contains all archives of clusters of this name.
    pub fn above(cluster: &str) -> Result<Key> {
        Key::parse(&format!("{}/{FOLDER}", encode_name(cluster)))
    }

    /// Returns the folder of all files.
    pub fn key(&self) -> Result<Key> {
        Key::parse(&format!("{}/{}", Self::above(&self.cluster)?, self.system_identifier))
    }

    /// Returns the folder of the histories of timelines.
    pub fn histories(&self) -> Result<Key> {
        Key::parse(&format!("{}/{HISTORIES}", self.key()?))
    }

    /// Returns the folder that contains this file, at every destination.
    pub fn folder_of(&self, name: ArchiveName) -> Result<Key> {
        let folder = self.key()?;
        match name {
            // A listing of the histories must not list all segments.
            ArchiveName::History { .. } => self.histories(),
            _ => Key::parse(&format!("{folder}/{}", name.to_string().get(..16).unwrap_or_default())),
        }
    }

    /// Returns the key of a file. `suffix` is that of the compression and the encryption.
    pub fn key_of(&self, name: ArchiveName, digest: WalDigest, suffix: &str) -> Result<WalKey> {
        let key = Key::parse(&format!("{}/{name}-{digest}{suffix}", self.folder_of(name)?))?;
        Ok(WalKey { system_identifier: self.system_identifier, name, digest, key })
    }
}

impl WalKey {
    /// Parses the key of an archived file. Returns `None` for all other keys.
    pub fn parse(key: &Key) -> Option<Self> {
        is_in_archive(key).then_some(())?;
        let system_identifier = key.as_str().split('/').nth(2)?.parse().ok()?;
        let (name, rest) = key.file_name().rsplit_once('-')?;
        let digits = rest.split('.').next()?;
        Some(Self { system_identifier, name: name.parse().ok()?, digest: WalDigest::parse(digits)?, key: key.clone() })
    }
}

/// Returns true for the key of a file in the folder of an archive. Backups have other folders, also
/// those that 0.1.0 made of a database named `wal`.
pub fn is_in_archive(key: &Key) -> bool {
    let mut segments = key.as_str().split('/').skip(1);
    let is_identifier = |segment: &str| !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
    segments.next() == Some(FOLDER) && segments.next().is_some_and(is_identifier) && segments.next().is_some()
}

/// Returns the folder of the archive that contains an object, given its key, up to the slash.
pub fn archive_folder(key: &Key) -> Option<&str> {
    is_in_archive(key).then(|| key.as_str().match_indices('/').nth(2))?.map(|(end, _)| &key.as_str()[..=end])
}

/// Returns true for the folder of an archive, with the slash at its end.
pub fn is_archive_folder(folder: &str) -> bool {
    let file = format!("{folder}x");
    Key::parse(&file).is_ok_and(|key| archive_folder(&key) == Some(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> WalFolder {
        WalFolder { cluster: "main".to_owned(), system_identifier: 7_512_345_678_901_234_567 }
    }

    fn digest() -> WalDigest {
        WalDigest(std::array::from_fn(|index| index as u8))
    }

    #[test]
    fn folder_of_an_archive_is_recognized() {
        let folder = |text: &str| archive_folder(&Key::parse(text).unwrap()).map(str::to_owned);
        assert_eq!(folder("main/wal/7/0000000100000000/x"), Some("main/wal/7/".to_owned()));
        assert_eq!((folder("main/wal/wal-2026-11-29_030000.json"), folder("main/shop/7/x")), (None, None));
        assert!(is_archive_folder("main/wal/7/"));
        let others = ["main/wal/", "main/wal/7/0000000100000000/", "main/wal/x/", "main/", "main/wal/7"];
        assert!(!others.into_iter().any(is_archive_folder));
    }

    #[test]
    fn digest_is_the_first_half_of_sha256() {
        assert_eq!(WalDigest::of(b"").to_string(), "e3b0c44298fc1c149afbf4c8996fb924");
    }

    #[test]
    fn keys_are_read_back() {
        for (name, expected) in [
            (
                "00000001000000A300000042",
                "main/wal/7512345678901234567/00000001000000A3/00000001000000A300000042-000102030405060708090a0b0c0d0e0f.zst.age",
            ),
            (
                "00000002.history",
                "main/wal/7512345678901234567/history/00000002.history-000102030405060708090a0b0c0d0e0f.zst.age",
            ),
            (
                "000000010000000000000002.00000028.backup",
                "main/wal/7512345678901234567/0000000100000000/000000010000000000000002.00000028.backup-000102030405060708090a0b0c0d0e0f.zst.age",
            ),
        ] {
            let key = folder().key_of(name.parse().unwrap(), digest(), ".zst.age").unwrap();
            assert_eq!(key.key.as_str(), expected);
            assert_eq!(WalKey::parse(&key.key), Some(key));
        }
    }

    #[test]
    fn other_keys_are_not_of_an_archive() {
        for key in [
            "main/wal/wal-2026-06-07_091500.dump.zst.age",
            "main/base/base-2026-06-07_091500.base.tar.zst.age",
            "main/wal/7512345678901234567/notes.txt",
            "main/wal/7512345678901234567/00000002.history-0001.zst",
            "main/wal/x/00000002.history-000102030405060708090a0b0c0d0e0f.zst",
        ] {
            let key = Key::parse(key).unwrap();
            assert_eq!(WalKey::parse(&key), None, "{key}");
        }
    }
}
