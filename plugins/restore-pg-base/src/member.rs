//! The members of a base backup's tar, and their places in the restored cluster.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use tar::{EntryType, Header};

/// A file or a folder of a base backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// The path below the data directory, of normal components only.
    pub(crate) path: PathBuf,
    /// The kind of the member.
    pub(crate) kind: MemberKind,
    /// The size of a file in bytes.
    pub(crate) bytes: u64,
}

/// The kind of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
}

/// The place of a member in the restored cluster.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// No place: the member belongs to the source server only.
    Skipped,
    /// `global/pg_control`, which is written last.
    Control,
    /// `tablespace_map`, which is rewritten.
    TablespaceMap,
    /// A path below the data directory.
    DataDirectory(&'a Path),
    /// A path below the folder of a tablespace; empty for the folder itself.
    Tablespace(u32, &'a Path),
}

/// The path of the file without which no server starts.
pub(crate) const CONTROL: &str = "global/pg_control";

/// The folder of a cluster that contains its tablespaces.
pub(crate) const TABLESPACES: &str = "pg_tblspc";

/// The files that describe the state of the source server: its process, and its role as a standby.
const SKIPPED: [&str; 4] = ["postmaster.opts", "postmaster.pid", "recovery.signal", "standby.signal"];

/// The folder of replication slots, whose content belongs to the source server.
const SLOTS: &str = "pg_replslot";

impl Member {
    /// Parses a header. Accepts only files and folders below the data directory.
    pub(crate) fn parse(header: &Header) -> Result<Self> {
        let bytes = header.path_bytes();
        let damaged = |message: &str| {
            let path = String::from_utf8_lossy(&bytes);
            Error::new(Stage::Restore, Kind::Corrupt, printable(&path), message)
        };
        let kind = match header.entry_type() {
            EntryType::Regular => MemberKind::File,
            EntryType::Directory => MemberKind::Folder,
            other => {
                let letter = char::from(other.as_byte()).escape_default();
                return Err(damaged(&format!("a member of type '{letter}' in a base backup, not a file or folder")));
            }
        };
        let named = bytes.strip_prefix(b"./").unwrap_or(&bytes);
        let named = if kind == MemberKind::Folder { named.strip_suffix(b"/").unwrap_or(named) } else { named };
        if !named.split(|byte| *byte == b'/').all(is_normal) {
            return Err(damaged("not a path below a data directory"));
        }
        let size = header.entry_size().map_err(|error| damaged("the size is not a number").because(error))?;
        if kind == MemberKind::Folder && size != 0 {
            return Err(damaged("a folder with content of its own"));
        }
        Ok(Self { path: OsStr::from_bytes(named).into(), kind, bytes: size })
    }

    /// Returns the place in the restored cluster.
    pub(crate) fn place(&self) -> Result<Place<'_>> {
        let path = self.path.as_path();
        let mut parts = path.components().filter_map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        });
        let place = match (parts.next(), parts.next()) {
            (Some(name), None) if SKIPPED.contains(&name) => Place::Skipped,
            (Some(SLOTS), Some(_)) => Place::Skipped,
            (Some(TABLESPACES), Some(name)) => {
                let oid = parse_oid(name).ok_or_else(|| self.misplaced("not in the folder of a tablespace"))?;
                let below = path.strip_prefix(Path::new(TABLESPACES).join(name)).unwrap_or(path);
                if below.as_os_str().is_empty() && self.kind == MemberKind::File {
                    return Err(self.misplaced("a file instead of the folder of a tablespace"));
                }
                return Ok(Place::Tablespace(oid, below));
            }
            _ if path == Path::new(CONTROL) => Place::Control,
            _ if path == Path::new(longshore_pg_base::tablespace_map::NAME) => Place::TablespaceMap,
            _ => return Ok(Place::DataDirectory(path)),
        };
        match (self.kind, &place) {
            (MemberKind::Folder, Place::Control | Place::TablespaceMap) => {
                Err(self.misplaced("a folder instead of a file"))
            }
            _ => Ok(place),
        }
    }

    fn misplaced(&self, message: &str) -> Error {
        Error::new(Stage::Restore, Kind::Corrupt, self.path.display().to_string(), message)
    }
}

/// Returns true for a component that names an entry of the folder before it.
fn is_normal(component: &[u8]) -> bool {
    !matches!(component, b"" | b"." | b"..") && !component.contains(&0)
}

/// Parses the name of a tablespace's folder: an OID as PostgreSQL writes it.
pub(crate) fn parse_oid(name: &str) -> Option<u32> {
    name.parse().ok().filter(|oid: &u32| *oid > 0 && oid.to_string() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(path: &str, kind: EntryType, bytes: u64) -> Header {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(bytes);
        header
    }

    fn file(path: &str) -> Member {
        Member::parse(&header(path, EntryType::Regular, 1)).unwrap()
    }

    #[test]
    fn parse_accepts_files_and_folders() {
        assert_eq!(file("./base/1/1259"), file("base/1/1259"));
        let folder = Member::parse(&header("base/1/", EntryType::Directory, 0)).unwrap();
        assert_eq!(folder, Member { path: "base/1".into(), kind: MemberKind::Folder, bytes: 0 });
    }

    #[test]
    fn parse_refuses_paths_outside_the_directory() {
        for path in ["/etc/passwd", "..", "../x", "base/../../x", "base//1", "././x", ".", "", "base/1/", "base/."] {
            let error = Member::parse(&header(path, EntryType::Regular, 0)).unwrap_err();
            assert_eq!((error.kind(), error.subject()), (Kind::Corrupt, path));
        }
        assert!(Member::parse(&header("../x/", EntryType::Directory, 0)).is_err());
        assert!(Member::parse(&header("base/", EntryType::Directory, 1)).is_err());
    }

    #[test]
    fn parse_refuses_links_and_devices() {
        for kind in *b"12346xgLKS" {
            let error = Member::parse(&header("base/1", EntryType::new(kind), 0)).unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt);
            assert!(
                error.to_string().contains(&format!("\"base/1\": a member of type '{}'", char::from(kind))),
                "{error}"
            );
        }
    }

    #[test]
    fn place_skips_state_of_the_source_server() {
        for path in ["postmaster.pid", "postmaster.opts", "standby.signal", "recovery.signal", "pg_replslot/s/state"] {
            assert_eq!(file(path).place().unwrap(), Place::Skipped, "{path}");
        }
        for path in ["base/postmaster.pid", "postmaster.pid.old", "pg_replslot", "backup_label", "backup_manifest"] {
            assert_eq!(file(path).place().unwrap(), Place::DataDirectory(Path::new(path)));
        }
    }

    #[test]
    fn place_separates_special_files_and_tablespaces() {
        assert_eq!(file("global/pg_control").place().unwrap(), Place::Control);
        assert_eq!(file("tablespace_map").place().unwrap(), Place::TablespaceMap);
        let member = file("pg_tblspc/16398/PG_15_202209061/5/1");
        assert_eq!(member.place().unwrap(), Place::Tablespace(16398, Path::new("PG_15_202209061/5/1")));
        let folder = Member { path: "pg_tblspc/16398".into(), kind: MemberKind::Folder, bytes: 0 };
        assert_eq!(folder.place().unwrap(), Place::Tablespace(16398, Path::new("")));
    }

    #[test]
    fn place_refuses_members_beside_tablespaces() {
        for path in ["pg_tblspc/16398", "pg_tblspc/x/1", "pg_tblspc/016398/1", "pg_tblspc/+5/1", "pg_tblspc/0/1"] {
            assert_eq!(file(path).place().unwrap_err().kind(), Kind::Corrupt, "{path}");
        }
        let folder = Member { path: CONTROL.into(), kind: MemberKind::Folder, bytes: 0 };
        assert_eq!(folder.place().unwrap_err().kind(), Kind::Corrupt);
    }
}
