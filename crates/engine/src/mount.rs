//! Detection of unmounted disks. A disk that is not mounted leaves an empty folder on the file
//! system beneath.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use longshore_config::Config;
use longshore_core::stage::Store;
use longshore_core::{Error, Kind, Result, Stage};

use crate::destination_state::DestinationState;

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

/// Returns true if the file system formerly mounted at `before` is not mounted there now. Device
/// numbers change with a reboot, so mount points are compared.
fn is_unmounted(before: &Path, now: &Path) -> bool {
    before != now && before.starts_with(now)
}

/// Compares the file system of a destination's folder with the remembered one, and
/// remembers the new one.
///
/// # Errors
///
/// Fails with [`Kind::Refused`] if the folder was on a mounted file system and now is on the one
/// beneath. Any other error means that the comparison failed.
pub(crate) fn expect(config: &Config, destination: &str, store: &dyn Store) -> Result<()> {
    let Some((folder, now)) = locate(store) else { return Ok(()) };
    let mut state = DestinationState::open(config, destination)?;
    if let Some(before) = state.mount_point.as_ref().filter(|before| is_unmounted(before, &now)) {
        let message = format!(
            "{} is on the file system mounted at {}, but was on the one mounted at {}: the disk is not mounted",
            folder.display(),
            now.display(),
            before.display()
        );
        return Err(Error::new(Stage::Ship, Kind::Refused, destination, message).hint(format!(
            "mount the disk; if the destination has moved, accept the change once with `longshore prune --destination {destination} --despite listing`"
        )));
    }
    remember(&mut state, now)
}

/// Returns true if a destination's folder was on a file system that is no longer mounted.
pub(crate) fn is_gone(before: &Path, store: &dyn Store) -> bool {
    point(store).is_some_and(|now| is_unmounted(before, &now))
}

/// Remembers the file system of a destination's folder without comparing it: the operator
/// accepts a change.
pub(crate) fn accept(config: &Config, destination: &str, store: &dyn Store) -> Result<()> {
    let Some((_, now)) = locate(store) else { return Ok(()) };
    remember(&mut DestinationState::open(config, destination)?, now)
}

/// Returns the mount point of a destination's folder, if the destination is a folder of this host.
pub(crate) fn point(store: &dyn Store) -> Option<PathBuf> {
    locate(store).map(|(_, mount_point)| mount_point)
}

/// Returns a destination's folder and its mount point, if the folder exists on this host.
fn locate(store: &dyn Store) -> Option<(PathBuf, PathBuf)> {
    let folder = store.capabilities().folder?.to_owned();
    // Opening the destination reports a missing folder.
    let mount_point = mount_point(&folder).ok()?;
    Some((folder, mount_point))
}

fn remember(state: &mut DestinationState, now: PathBuf) -> Result<()> {
    if state.mount_point.as_ref() == Some(&now) {
        return Ok(());
    }
    state.mount_point = Some(now);
    state.save()
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
