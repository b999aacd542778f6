//! The volumes that contain the files of a cluster.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::exclusion::is_emptied;
use serde::{Deserialize, Serialize};

use super::program::{Programs, words};
use super::settings::{Known, With};
use crate::location::{Location, joined, unreadable};
use crate::wal;

/// The list of mounts of this process.
const MOUNTS: &str = "/proc/self/mountinfo";

/// The number that the root of each btrfs subvolume has among its files.
const SUBVOLUME_ROOT: u64 = 256;

/// The kind of btrfs in the list of mounts.
const BTRFS: &str = "btrfs";

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The folder of the file system that is mounted, `/` as a rule.
    pub(crate) root: PathBuf,
    /// The mount point.
    pub(crate) point: PathBuf,
    /// The kind of the file system.
    pub(crate) kind: String,
    /// The device, or the dataset.
    pub(crate) source: String,
}

impl Mount {
    /// Returns the mount that contains a path without links.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let mounts = fs::read_to_string(MOUNTS).map_err(|error| unreadable(Path::new(MOUNTS), error))?;
        let containing = mounts.lines().filter_map(Self::parse).filter(|mount| path.starts_with(&mount.point));
        // Of two mounts at one point, the later one hides the earlier one.
        let found = containing.max_by_key(|mount| mount.point.as_os_str().len());
        found.ok_or_else(|| {
            Error::new(Stage::Dump, Kind::NotFound, path.display().to_string(), "no mounted file system contains it")
        })
    }

    /// Returns true if a file system is mounted at a path.
    pub(crate) fn is_at(path: &Path) -> bool {
        Self::of(path).is_ok_and(|mount| mount.point == path)
    }

    /// Parses a line of the list (`Documentation/filesystems/proc.rst` of Linux).
    fn parse(line: &str) -> Option<Self> {
        let (of_mount, of_system) = line.split_once(" - ")?;
        let mut of_mount = of_mount.split(' ').skip(3);
        let (root, point) = (of_mount.next()?, of_mount.next()?);
        let mut of_system = of_system.split(' ');
        let (kind, source) = (of_system.next()?, of_system.next()?);
        let source = String::from_utf8_lossy(&unescaped(source)).into_owned();
        let path = |text| PathBuf::from(OsString::from_vec(unescaped(text)));
        Some(Self { root: path(root), point: path(point), kind: kind.to_owned(), source })
    }
}

/// A volume that contains files of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// The folder of the live volume: its mount point, or the root of a subvolume.
    pub(crate) live: PathBuf,
    /// The name by which the programs know the volume, if they have one.
    pub(crate) id: String,
    /// The folder of the mounted file system that is seen at `live`.
    pub(crate) inner: PathBuf,
    /// The kind of the file system.
    pub(crate) kind: String,
}

impl Volume {
    /// Finds the volume that contains a folder.
    pub(crate) async fn of(folder: &Path, with: &With, programs: &Programs) -> Result<Self> {
        let mount = Mount::of(folder)?;
        let refused = |message: String, hint: &str| {
            Err(Error::new(Stage::Dump, Kind::Refused, folder.display().to_string(), message).hint(hint))
        };
        let (live, id) = match with {
            With::Known(Known::Btrfs) => (subvolume(folder)?, String::new()),
            With::Known(Known::XfsReflink) | With::Commands(_) => (mount.point, String::new()),
            With::Known(Known::Zfs) => {
                let zfs = programs.find("zfs")?;
                if !programs.succeeds(&words(&[&zfs, "list", &mount.source])).await? {
                    let message = format!("on {} ({}), not on a ZFS dataset", mount.kind, mount.point.display());
                    return refused(message, "move it to a dataset, or use type = \"pg_files\"");
                }
                (mount.point, mount.source)
            }
            With::Known(Known::Lvm) => {
                let lvs = programs.find("lvs")?;
                let names = ["--noheadings", "--separator", "/", "--options", "vg_name,lv_name"];
                let command: Vec<String> = [lvs.as_str()]
                    .iter()
                    .chain(&names)
                    .chain(&[mount.source.as_str()])
                    .map(|word| (*word).to_owned())
                    .collect();
                match programs.run(&command).await {
                    Ok(id) => (mount.point, id.trim().to_owned()),
                    Err(error) => {
                        let message = format!("on {}, not on a logical volume", mount.source);
                        return refused(message, "move it to a logical volume, or use type = \"pg_files\"")
                            .map_err(|refused: Error| refused.because(error));
                    }
                }
            }
        };
        // A subvolume is snapshotted from its own root.
        let inner = if matches!(with, With::Known(Known::Btrfs)) { PathBuf::new() } else { mount.root };
        Ok(Self { live, id, inner, kind: mount.kind })
    }
}

/// Replaces the octal numbers of blanks and others.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut parts = text.split('\\');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        match part.split_at_checked(3).and_then(|(digits, rest)| Some((u8::from_str_radix(digits, 8).ok()?, rest))) {
            Some((byte, rest)) => {
                bytes.push(byte);
                bytes.extend_from_slice(rest.as_bytes());
            }
            None => bytes.extend_from_slice(format!("\\{part}").as_bytes()),
        }
    }
    bytes
}

/// Returns the root of the btrfs subvolume that contains a path without links.
pub(crate) fn subvolume(path: &Path) -> Result<PathBuf> {
    let mount = Mount::of(path)?;
    if mount.kind != BTRFS {
        let message =
            format!("on {} ({}), not on btrfs: a snapshot by btrfs would lack it", mount.kind, mount.point.display());
        return Err(Error::new(Stage::Dump, Kind::Refused, path.display().to_string(), message)
            .hint("move it to a btrfs subvolume, or use type = \"pg_files\""));
    }
    let is_root = |path: &&Path| path.metadata().is_ok_and(|found| found.ino() == SUBVOLUME_ROOT);
    path.ancestors().find(is_root).map(Path::to_owned).ok_or_else(|| {
        Error::new(Stage::Dump, Kind::Refused, path.display().to_string(), "the root of its subvolume is not visible")
            .hint("mount the whole subvolume")
    })
}

/// Fails if the folder of WAL is not in the data directory: a snapshot of the data directory lacks
/// it.
pub(crate) fn expect_wal_inside(location: &Location) -> Result<()> {
    let folder = wal::folder(&location.data);
    let found = folder.symlink_metadata().map_err(|error| unreadable(&folder, error))?;
    let data = location.data.metadata().map_err(|error| unreadable(&location.data, error))?;
    if found.is_dir() && found.dev() == data.dev() {
        return Ok(());
    }
    let message = "not in the data directory: the snapshot would lack the WAL";
    Err(Error::new(Stage::Dump, Kind::Refused, folder.display().to_string(), message)
        .hint("move it back into the data directory, or set consistency = \"backup\""))
}

/// Fails if a folder of the cluster is on another volume than the folder that contains it: the
/// snapshot would lack it.
pub(crate) fn expect_whole(location: &Location) -> Result<()> {
    expect_one_device(&location.data, b"", &location.data)?;
    location.tablespaces.values().try_for_each(|folder| expect_one_device(folder, b"", folder))
}

fn expect_one_device(root: &Path, member: &[u8], path: &Path) -> Result<()> {
    let device = |path: &Path| path.symlink_metadata().map(|found| found.dev());
    let expected = device(root).map_err(|error| unreadable(root, error))?;
    for entry in fs::read_dir(path).map_err(|error| unreadable(path, error))? {
        let entry = entry.map_err(|error| unreadable(path, error))?;
        let member = joined(member, entry.file_name());
        // The WAL is read from the live cluster.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || is_emptied(&member) {
            continue;
        }
        match device(&entry.path()) {
            Ok(found) if found == expected => match expect_one_device(root, &member, &entry.path()) {
                Err(error) if error.kind() == Kind::NotFound => {}
                result => result?,
            },
            Ok(_) => {
                let message = format!("on another volume than {}: the snapshot would lack it", root.display());
                return Err(Error::new(Stage::Dump, Kind::Refused, entry.path().display().to_string(), message)
                    .hint("move the folder to the volume of the data directory, or use type = \"pg_files\""));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&entry.path(), error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_parsed_with_their_escapes() {
        let line = r"36 35 98:0 /sub /mnt/my\040disk rw,noatime master:1 - btrfs /dev/root rw,errors=continue";
        let expected = Mount {
            root: "/sub".into(),
            point: "/mnt/my disk".into(),
            kind: "btrfs".to_owned(),
            source: "/dev/root".to_owned(),
        };
        assert_eq!(Mount::parse(line), Some(expected));
        assert_eq!(Mount::parse("36 35"), None);
        assert_eq!(unescaped(r"a\x"), br"a\x");
    }

    #[test]
    fn mount_of_a_path_is_found() {
        assert_eq!(Mount::of(Path::new("/proc/self")).unwrap().kind, "proc");
        assert!(Mount::is_at(Path::new("/proc")) && !Mount::is_at(Path::new("/proc/self")));
    }
}
