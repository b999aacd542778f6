//! The files of a cluster that a backup contains.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::control;
use longshore_pg_base::exclusion::{UnloggedRelations, is_emptied, is_omitted};
use longshore_pg_base::write::Attributes;

use crate::location::{Location, TABLESPACES, joined, unreadable};

/// The first member of an archive, by which it is recognised as a base backup.
const FIRST: &[u8] = b"PG_VERSION";

/// The folders in `pg_wal` that servers expect, and the first version that has each.
const WAL_FOLDERS: [(&[u8], u32); 2] = [(b"pg_wal/archive_status", 15), (b"pg_wal/summaries", 17)];

/// The most paths of a warning.
const MOST_NAMED: usize = 5;

/// The treatment of the content of unlogged tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnloggedContent {
    /// The backup lacks it, and recovery empties the tables.
    Omitted,
    /// The backup has it, because no recovery follows.
    Copied,
}

/// The choices of a list.
#[derive(Debug, Clone, Copy)]
struct Choices {
    major: u32,
    unlogged: UnloggedContent,
}

/// The files and directories of a backup, in the order of the archive.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<Entry>,
    /// The size of all files when they were listed.
    pub(crate) bytes: u64,
    /// The paths of links, sockets and others, which no backup contains.
    special: Vec<String>,
}

/// A file or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A directory, which precedes its content.
    Directory(Box<[u8]>, Attributes),
    /// A file, whose size and attributes may change until it is opened.
    File(Box<[u8]>),
}

impl Listing {
    /// Lists the files of a cluster of this major version. Files that are missing when they are
    /// reached were removed meanwhile.
    pub(crate) fn of(location: &Location, major: u32, unlogged: UnloggedContent) -> Result<Self> {
        let mut listing = Self::default();
        listing.entries.push(Entry::File(FIRST.into()));
        listing.add_content(location, b"", Choices { major, unlogged })?;
        Ok(listing)
    }

    /// Returns a warning about files that no backup contains, if there are any.
    pub(crate) fn warning(&self) -> Option<String> {
        let named: Vec<_> = self.special.iter().take(MOST_NAMED).map(String::as_str).collect();
        let more = self.special.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!named.is_empty()).then(|| format!("skipped, neither files nor directories: {}{more}", named.join(", ")))
    }

    fn add_content(&mut self, location: &Location, folder: &[u8], choices: Choices) -> Result<()> {
        let path = location.resolve(folder);
        let names = match fs::read_dir(&path).and_then(|entries| entries.collect::<io::Result<Vec<_>>>()) {
            Ok(entries) => entries.into_iter().map(|entry| entry.file_name()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_empty() => return Ok(()),
            Err(error) => return Err(unreadable(&path, error)),
        };
        let mut paths: Vec<Box<[u8]>> = names.map(|name| joined(folder, name)).collect();
        paths.sort_unstable();
        let unlogged = match choices.unlogged {
            UnloggedContent::Omitted => UnloggedRelations::of(paths.iter().map(|path| &**path)),
            UnloggedContent::Copied => UnloggedRelations::default(),
        };
        for path in paths {
            let is_written_apart = *path == *FIRST || *path == *control::PATH.as_bytes();
            let is_omitted = is_omitted(&path) || unlogged.omit(&path) || is_of_other_version(&path, choices.major);
            if !is_omitted && !is_written_apart {
                self.add(location, path, choices)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, location: &Location, member: Box<[u8]>, choices: Choices) -> Result<()> {
        let path = location.resolve(&member);
        let is_linked = is_tablespace(&member) || *member == *b"pg_wal";
        let found = if is_linked { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
        let metadata = match found {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_linked => return Ok(()),
            Err(error) => return Err(unreadable(&path, error)),
        };
        if metadata.is_file() {
            self.bytes = self.bytes.saturating_add(metadata.len());
            self.entries.push(Entry::File(member));
        } else if !metadata.is_dir() && is_of_databases(&member) {
            let message = "neither a file nor a folder, so the backup would lack it";
            return Err(Error::new(Stage::Dump, Kind::Refused, path.display().to_string(), message)
                .hint("if it is a link, move its target back, or use a tablespace"));
        } else if !metadata.is_dir() {
            self.special.push(printable(&String::from_utf8_lossy(&member)).to_string());
        } else {
            let attributes = attributes(&metadata);
            self.entries.push(Entry::Directory(member.clone(), attributes));
            if *member == *b"pg_wal" {
                let folders = WAL_FOLDERS.iter().filter(|(_, first)| choices.major >= *first);
                self.entries.extend(folders.map(|(path, _)| Entry::Directory((*path).into(), attributes)));
            } else if !is_emptied(&member) {
                self.add_content(location, &member, choices)?;
            }
        }
        Ok(())
    }
}

/// Returns the attributes of a file or directory.
pub(crate) fn attributes(metadata: &Metadata) -> Attributes {
    Attributes {
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid().into(),
        gid: metadata.gid().into(),
        modified: metadata.mtime(),
    }
}

/// Returns true for a path in a folder that databases need. Others contain settings and logs.
fn is_of_databases(member: &[u8]) -> bool {
    let top = member.split(|byte| *byte == b'/').next().unwrap_or_default();
    top == b"base" || top == b"global" || (top.starts_with(b"pg_") && (member.contains(&b'/') || !top.contains(&b'.')))
}

/// Returns true for the folder of a tablespace, which is a link.
fn is_tablespace(member: &[u8]) -> bool {
    let name = member.strip_prefix(TABLESPACES.as_bytes()).and_then(|rest| rest.strip_prefix(b"/"));
    name.is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_digit))
}

/// Returns true for the folder that another major version has in a tablespace, after an upgrade
/// with links.
fn is_of_other_version(member: &[u8], major: u32) -> bool {
    let mut parts = member.split(|byte| *byte == b'/');
    let in_tablespace = parts.next() == Some(TABLESPACES.as_bytes()) && parts.next().is_some();
    let (version, rest) = (parts.next(), parts.next());
    let own = format!("PG_{major}_");
    in_tablespace && rest.is_none() && version.is_some_and(|version| !version.starts_with(own.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_has_the_members_of_a_base_backup() {
        let folder = tempfile::tempdir().unwrap();
        let (data, fast) = (folder.path().join("data"), folder.path().join("fast"));
        for path in ["global", "base/5", "pg_wal/archive_status", "pg_tblspc", "pg_replslot/x", "log"] {
            fs::create_dir_all(data.join(path)).unwrap();
        }
        for path in ["PG_17_202406281/5", "PG_16_202307071/5"] {
            fs::create_dir_all(fast.join(path)).unwrap();
            fs::write(fast.join(path).join("1"), "1").unwrap();
        }
        std::os::unix::fs::symlink(&fast, data.join("pg_tblspc/16398")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", data.join("log/link")).unwrap();
        for path in [
            "PG_VERSION",
            "global/pg_control",
            "postmaster.pid",
            "base/5/7",
            "base/5/8",
            "base/5/8_init",
            "pg_wal/000000010000000000000001",
            "pg_replslot/x/state",
            "base/5/t1_9",
        ] {
            fs::write(data.join(path), "123").unwrap();
        }
        let listing = Listing::of(&Location::of(&data).unwrap(), 17, UnloggedContent::Omitted).unwrap();
        let paths: Vec<_> = listing
            .entries
            .iter()
            .map(|entry| match entry {
                Entry::Directory(path, _) => format!("{}/", String::from_utf8_lossy(path)),
                Entry::File(path) => String::from_utf8_lossy(path).into_owned(),
            })
            .collect();
        let expected = [
            "PG_VERSION",
            "base/",
            "base/5/",
            "base/5/7",
            "base/5/8_init",
            "global/",
            "log/",
            "pg_replslot/",
            "pg_tblspc/",
            "pg_tblspc/16398/",
            "pg_tblspc/16398/PG_17_202406281/",
            "pg_tblspc/16398/PG_17_202406281/5/",
            "pg_tblspc/16398/PG_17_202406281/5/1",
            "pg_wal/",
            "pg_wal/archive_status/",
            "pg_wal/summaries/",
        ];
        assert_eq!(paths, expected);
        assert_eq!(listing.bytes, 7);
        let whole = Listing::of(&Location::of(&data).unwrap(), 17, UnloggedContent::Copied).unwrap();
        assert!(whole.entries.contains(&Entry::File((*b"base/5/8").into())));
        assert_eq!(listing.warning().unwrap(), "skipped, neither files nor directories: log/link");
        // A database must not be missing silently.
        std::os::unix::fs::symlink(&fast, data.join("base/7")).unwrap();
        let refused = Listing::of(&Location::of(&data).unwrap(), 17, UnloggedContent::Omitted).unwrap_err();
        assert_eq!(refused.kind(), Kind::Refused, "{refused}");
    }
}
