//! The files of the archive, remembered until the manifest comes at its end.

use std::ops::Range;

use super::checksum::Sums;
use crate::error::{Error, Result};
use crate::manifest::path::PathHash;
use crate::manifest::{self, Checksum, Entry, Sha2};

/// The most bytes of all names together. Errors about later files name their number instead.
const MOST_NAME_BYTES: usize = 32 << 20;

/// The start of a name that was not kept.
const NO_NAME: u32 = u32::MAX;

/// The files and directories of an archive. A file costs 37 bytes and its name, names cost
/// [`MOST_NAME_BYTES`] at most, and SHA-2 costs its digest.
pub(super) struct Files {
    records: Vec<Record>,
    /// The states by the order in the archive.
    states: Vec<State>,
    /// The start of each name in `names`, by the order in the archive.
    name_starts: Vec<u32>,
    names: Vec<u8>,
    sha2: Option<Sha2>,
    /// The digests one after another, by the order in the archive.
    digests: Vec<u8>,
}

/// A file or a directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    path: PathHash,
    /// The place in the archive's order.
    index: u32,
    crc32c: u32,
    size_bytes: u64,
}

/// The relation between a member of the archive and the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// A directory, which a manifest does not list.
    Directory,
    /// A file that must be listed.
    Unlisted,
    /// A file that may be listed or not.
    Optional,
    /// A file that was found in the manifest.
    Listed,
}

impl State {
    /// Returns the state of a file before the manifest is known.
    ///
    /// `pg_verifybackup` ignores the same files (`src/bin/pg_verifybackup/pg_verifybackup.c`): WAL
    /// is not listed, and `pg_basebackup --write-recovery-conf` changes the others. Here, they are
    /// compared if they are listed.
    pub(super) fn of_file(path: &[u8]) -> Self {
        match path {
            b"postgresql.auto.conf" | b"recovery.signal" | b"standby.signal" => Self::Optional,
            _ if path.starts_with(b"pg_wal/") => Self::Optional,
            _ => Self::Unlisted,
        }
    }
}

impl Files {
    pub(super) fn new(sha2: Option<Sha2>) -> Self {
        let (records, states, name_starts) = (Vec::new(), Vec::new(), Vec::new());
        Self { records, states, name_starts, names: Vec::new(), sha2, digests: Vec::new() }
    }

    /// Adds a member.
    pub(super) fn push(&mut self, path: &[u8], state: State, size_bytes: u64, sums: &Sums) -> Result<()> {
        let index = u32::try_from(self.records.len()).map_err(|_| {
            Error::unsupported(String::from_utf8_lossy(path), 0, "archive of more than 4,294,967,295 members")
        })?;
        self.records.push(Record { path: PathHash::of(path), index, crc32c: sums.crc32c, size_bytes });
        self.states.push(state);
        self.push_name(path);
        if let Some(sha2) = self.sha2 {
            let mut digest = sums.sha2.to_vec();
            digest.resize(sha2.digest_bytes(), 0);
            self.digests.extend_from_slice(&digest);
        }
        Ok(())
    }

    /// Keeps a name, unless an earlier one found no room.
    fn push_name(&mut self, path: &[u8]) {
        let has_room = self.name_starts.last() != Some(&NO_NAME) && self.names.len() + path.len() <= MOST_NAME_BYTES;
        let start = u32::try_from(self.names.len()).ok().filter(|_| has_room).unwrap_or(NO_NAME);
        self.name_starts.push(start);
        if has_room {
            self.names.extend_from_slice(path);
        }
    }

    /// Adds a directory.
    pub(super) fn push_directory(&mut self, path: &[u8]) -> Result<()> {
        self.push(path, State::Directory, 0, &Sums { crc32c: 0, sha2: Box::default() })
    }

    /// Sorts the files for comparison. Fails if two members have one path.
    pub(super) fn sorted(mut self) -> Result<SortedFiles> {
        self.records.sort_unstable();
        let second = self.records.windows(2).find_map(|pair| match pair {
            [first, second] if first.path == second.path => Some(second.index),
            _ => None,
        });
        match second {
            Some(index) => Err(Error::damaged(self.name(index), 0, "second member of this path")),
            None => Ok(SortedFiles(self)),
        }
    }

    /// Returns the bytes in memory that this type accounts for.
    #[cfg(test)]
    fn memory_bytes(&self) -> usize {
        self.records.capacity() * size_of::<Record>()
            + self.states.capacity()
            + self.name_starts.capacity() * size_of::<u32>()
            + self.names.capacity()
            + self.digests.capacity()
    }

    /// Returns the name of a member by its place in the archive's order.
    fn name(&self, index: u32) -> String {
        let start = |at: usize| self.name_starts.get(at).copied().filter(|start| *start != NO_NAME);
        let at = index as usize;
        let name = start(at).and_then(|from| {
            let end = start(at.saturating_add(1)).map_or(self.names.len(), |end| end as usize);
            self.names.get(from as usize..end)
        });
        name.map_or_else(|| format!("member {index}"), |name| String::from_utf8_lossy(name).into_owned())
    }

    fn digest(&self, index: u32) -> Option<(Sha2, &[u8])> {
        let sha2 = self.sha2?;
        let start = (index as usize).checked_mul(sha2.digest_bytes())?;
        let range: Range<usize> = start..start.checked_add(sha2.digest_bytes())?;
        Some((sha2, self.digests.get(range)?))
    }
}

/// The files of a whole archive, each path once.
pub(super) struct SortedFiles(Files);

impl SortedFiles {
    /// Compares an entry of the manifest with its file.
    pub(super) fn compare(&mut self, entry: &Entry<'_>) -> Result<()> {
        let name = || String::from_utf8_lossy(entry.path).into_owned();
        let path = PathHash::of(entry.path);
        let found = self.0.records.binary_search_by_key(&path, |record| record.path);
        let record = found.ok().and_then(|at| self.0.records.get(at).copied());
        let record = record.ok_or_else(|| Error::damaged(name(), 0, "missing: the manifest lists it"))?;
        let state = self.0.states.get_mut(record.index as usize);
        match state {
            Some(State::Listed) => return Err(manifest::second_entry(entry)),
            Some(State::Directory) | None => {
                return Err(Error::damaged(name(), 0, "a directory, but the manifest lists a file"));
            }
            Some(state) => *state = State::Listed,
        }
        if record.size_bytes != entry.size_bytes {
            let message = format!("{} bytes, but {} in the manifest", record.size_bytes, entry.size_bytes);
            return Err(Error::damaged(name(), 0, message));
        }
        let damaged = |algorithm: &str| {
            Err(Error::damaged(name(), 0, format!("content with another {algorithm} than in the manifest")))
        };
        match &entry.checksum {
            Checksum::None => Ok(()),
            Checksum::Crc32c(crc32c) if *crc32c == record.crc32c => Ok(()),
            Checksum::Crc32c(_) => damaged("CRC32C"),
            Checksum::Sha2(algorithm, expected) => match self.0.digest(record.index) {
                Some((computed, digest)) if computed == *algorithm => {
                    if digest == expected {
                        Ok(())
                    } else {
                        damaged(algorithm.name())
                    }
                }
                _ => {
                    let message = format!("checksums of algorithm {}, which were not computed", algorithm.name());
                    Err(Error::unsupported(manifest::NAME, entry.offset, message))
                }
            },
        }
    }

    /// Fails if a file was not listed that must be.
    pub(super) fn finish(self) -> Result<()> {
        match self.0.states.iter().position(|state| *state == State::Unlisted) {
            None => Ok(()),
            Some(index) => {
                let index = u32::try_from(index).unwrap_or(NO_NAME);
                Err(Error::damaged(self.0.name(index), 0, "not in the manifest"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(crc32c: u32) -> Sums {
        Sums { crc32c, sha2: Box::default() }
    }

    fn entry(path: &[u8], crc32c: u32) -> Entry<'_> {
        Entry { path, size_bytes: 5, checksum: Checksum::Crc32c(crc32c), offset: 0 }
    }

    #[test]
    fn files_cost_few_bytes_each() {
        let mut files = Files::new(None);
        let count = 200_000;
        let mut name_bytes = 0;
        for number in 0..count {
            let path = format!("base/16384/{number}");
            name_bytes += path.len();
            files.push(path.as_bytes(), State::Unlisted, 5, &sums(number)).unwrap();
        }
        assert_eq!(size_of::<Record>(), 32);
        // Vectors grow to twice their need at most.
        let most_bytes = 2 * (37 * count as usize + name_bytes);
        assert!(files.memory_bytes() <= most_bytes, "{} bytes", files.memory_bytes());
    }

    #[test]
    fn names_of_all_files_are_bounded() {
        let mut files = Files::new(None);
        let long = "x".repeat(1000);
        for number in 0..40_000 {
            files.push(format!("{long}{number}").as_bytes(), State::Unlisted, 5, &sums(0)).unwrap();
        }
        assert!(files.names.len() <= MOST_NAME_BYTES);
        assert_eq!(files.name(7), format!("{long}7"));
        assert_eq!(files.name(39_999), "member 39999");
    }

    #[test]
    fn second_member_of_a_path_is_damaged() {
        let mut files = Files::new(None);
        files.push(b"base/1/2", State::Unlisted, 5, &sums(1)).unwrap();
        files.push(b"base/1/3", State::Unlisted, 5, &sums(1)).unwrap();
        files.push_directory(b"base/1/2").unwrap();
        let error = files.sorted().err().unwrap();
        assert_eq!((error.place.as_str(), error.message.as_str()), ("base/1/2", "second member of this path"));
    }

    #[test]
    fn comparison_finds_each_difference() {
        let files = || {
            let mut files = Files::new(None);
            files.push_directory(b"base").unwrap();
            files.push(b"base/1", State::Unlisted, 5, &sums(1)).unwrap();
            files.push(b"pg_wal/x", State::of_file(b"pg_wal/x"), 5, &sums(2)).unwrap();
            files.sorted().unwrap()
        };
        let mut intact = files();
        intact.compare(&entry(b"base/1", 1)).unwrap();
        assert!(intact.compare(&entry(b"base/1", 1)).unwrap_err().message.contains("second entry"));
        intact.finish().unwrap();
        for (entry, message) in [
            (entry(b"base/1", 2), "content with another CRC32C than in the manifest"),
            (Entry { size_bytes: 6, ..entry(b"base/1", 1) }, "5 bytes, but 6 in the manifest"),
            (entry(b"base/2", 1), "missing: the manifest lists it"),
            (entry(b"base", 0), "a directory, but the manifest lists a file"),
        ] {
            assert_eq!(files().compare(&entry).unwrap_err().message, message);
        }
        let error = files().finish().unwrap_err();
        assert_eq!((error.place.as_str(), error.message.as_str()), ("base/1", "not in the manifest"));
    }

    #[test]
    fn sha2_without_the_option_is_unsupported() {
        let mut files = Files::new(Some(Sha2::Sha256));
        files.push(b"a", State::Unlisted, 5, &Sums { crc32c: 1, sha2: vec![7; 32].into() }).unwrap();
        let mut files = files.sorted().unwrap();
        let sha2 = |algorithm, byte, length| Entry {
            checksum: Checksum::Sha2(algorithm, vec![byte; length]),
            ..entry(b"a", 0)
        };
        let error = files.compare(&sha2(Sha2::Sha512, 7, 64)).unwrap_err();
        assert_eq!(error.kind, crate::ErrorKind::Unsupported);
        assert!(error.message.contains("SHA512"), "{error}");
        files.0.states[0] = State::Unlisted;
        assert!(files.compare(&sha2(Sha2::Sha256, 8, 32)).unwrap_err().message.contains("SHA256"));
        files.0.states[0] = State::Unlisted;
        files.compare(&sha2(Sha2::Sha256, 7, 32)).unwrap();
    }
}
