//! The file system that a destination's folder is on: a disk that is not mounted leaves an empty
//! folder behind, which is on the file system beneath.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use longshore_core::stage::Store;
use longshore_core::{Error, Kind, Result, Stage};

use crate::config::Config;
use crate::memory::Memory;

/// Returns the folder at which the file system of `folder` is mounted.
fn mount_point(folder: &Path) -> io::Result<PathBuf> {
    let folder = folder.canonicalize()?;
    let device = folder.metadata()?.dev();
    let mut top = folder.as_path();
    while let Some(above) = top.parent() {
        if above.metadata()?.dev() != device {
            break;
        }
        top = above;
    }
    Ok(top.to_owned())
}

/// Returns true if the file system that was mounted at `before` is not mounted there now. Numbers of
/// devices change with a reboot, and tell nothing.
fn is_unmounted(before: &Path, now: &Path) -> bool {
    before != now && before.starts_with(now)
}

/// Compares the file system of a destination's folder with the last one, and remembers it.
///
/// # Errors
///
/// Fails with [`Kind::Refused`] if the folder was on a file system of its own, and now is on the one
/// beneath. Any other error means that nothing could be compared.
pub(crate) fn expect(config: &Config, destination: &str, store: &dyn Store) -> Result<()> {
    let Some((folder, now)) = at(store) else { return Ok(()) };
    let mut memory = Memory::of(config, destination)?;
    if let Some(before) = memory.mount_point.as_ref().filter(|before| is_unmounted(before, &now)) {
        let message = format!(
            "{} is on the file system mounted at {}, and was on one mounted at {}: a disk is not mounted",
            folder.display(),
            now.display(),
            before.display()
        );
        return Err(Error::new(Stage::Ship, Kind::Refused, destination, message).hint(format!(
            "mount it; if the destination has moved, say so once with `longshore prune --destination {destination} --despite listing`"
        )));
    }
    remember(&mut memory, now)
}

/// Returns true if a destination's folder was on a file system that is not mounted now.
pub(crate) fn is_gone(before: &Path, store: &dyn Store) -> bool {
    point(store).is_some_and(|now| is_unmounted(before, &now))
}

/// Remembers the file system of a destination's folder, whatever it was before: a person accepts it.
pub(crate) fn accept(config: &Config, destination: &str, store: &dyn Store) -> Result<()> {
    let Some((_, now)) = at(store) else { return Ok(()) };
    remember(&mut Memory::of(config, destination)?, now)
}

/// Returns where the file system of a destination's folder is mounted, if it has a folder.
pub(crate) fn point(store: &dyn Store) -> Option<PathBuf> {
    at(store).map(|(_, mount_point)| mount_point)
}

/// The folder of a destination, if it is one of this host that is there, and its mount point.
fn at(store: &dyn Store) -> Option<(PathBuf, PathBuf)> {
    let folder = store.folder()?;
    // The destination itself refuses a folder that is missing.
    let mount_point = mount_point(&folder).ok()?;
    Some((folder, mount_point))
}

fn remember(memory: &mut Memory, now: PathBuf) -> Result<()> {
    if memory.mount_point.as_ref() == Some(&now) {
        return Ok(());
    }
    memory.mount_point = Some(now);
    memory.keep()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_mount_point_is_an_unmounted_disk() {
        for (before, now, expected) in [
            ("/mnt/disk", "/", true),
            ("/mnt/disk", "/mnt", true),
            ("/mnt/disk", "/mnt/disk", false),
            ("/", "/mnt/disk", false),
            ("/mnt/disk", "/mnt/disk2", false),
            ("/mnt/disk2", "/mnt/disk", false),
        ] {
            assert_eq!(is_unmounted(Path::new(before), Path::new(now)), expected, "{before} {now}");
        }
    }

    #[test]
    fn a_mount_point_is_the_top_of_its_file_system() {
        assert_eq!(mount_point(Path::new("/")).unwrap(), Path::new("/"));
        assert_eq!(mount_point(Path::new("/proc/self")).unwrap(), Path::new("/proc"));
    }
}
