//! The steps from a snapshot's creation to its removal, for each maker of snapshots.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use longshore_core::{Error, Kind, Result, Stage};
use serde::{Deserialize, Serialize};

use super::kept;
use super::program::{Programs, words};
use super::reflink;
use super::settings::{Commands, Known, Snapshot, With};
use super::volume::{Mount, Volume};
use crate::location::{Location, unreadable};

/// The kind of XFS in the list of mounts, whose snapshots have the identifier of the original.
const XFS: &str = "xfs";

/// The attempts to unmount a snapshot of which a thread may still read a block, and the time
/// between them.
const UNMOUNT_ATTEMPTS: usize = 50;
const UNMOUNT_PAUSE: Duration = Duration::from_millis(100);

/// A maker of snapshots of a cluster's volumes.
#[derive(Debug, Clone)]
pub(crate) struct Maker {
    with: With,
    size: Option<String>,
    programs: Programs,
    live: Location,
    volumes: Vec<Volume>,
    /// The folder of each snapshot's own folder.
    folder: PathBuf,
    /// The beginning of the names of this cluster's snapshots.
    prefix: String,
    /// The name of the copy of files that was removed last. Locked while files are copied, since a
    /// thread continues after its caller was cancelled.
    removed: Arc<Mutex<Option<String>>>,
}

/// The maker and the volumes of a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Made {
    with: With,
    live: Location,
    volumes: Vec<Volume>,
}

impl Maker {
    /// Finds the volumes of a cluster whose folders are at `live`, without links.
    pub(crate) async fn new(settings: &Snapshot, live: Location, cluster: &str) -> Result<Self> {
        let programs = settings.programs();
        let required: &[&str] = match &settings.with {
            With::Known(Known::Btrfs) => &["btrfs"],
            With::Known(Known::Zfs) => &["zfs"],
            With::Known(Known::Lvm) => &["lvs", "lvcreate", "lvremove", "mount", "umount"],
            With::Known(Known::XfsReflink) | With::Commands(_) => &[],
        };
        for name in required {
            programs.find(name)?;
        }
        let mut volumes: Vec<Volume> = Vec::new();
        for folder in std::iter::once(&live.data).chain(live.tablespaces.values()) {
            let volume = Volume::of(folder, &settings.with, &programs).await?;
            if !volumes.contains(&volume) {
                volumes.push(volume);
            }
        }
        let folder = match &settings.with {
            with if with.is_within_file_system() => within_file_system(settings, &live, &volumes)?,
            _ => settings.mount_dir().to_owned(),
        };
        if settings.with.is_within_file_system() {
            let source = Mount::of(&folder)?.source;
            for volume in &volumes {
                if Mount::of(&volume.live)?.source != source {
                    let message =
                        format!("on another file system than {}: the snapshot would lack it", folder.display());
                    return Err(Error::new(Stage::Dump, Kind::Refused, volume.live.display().to_string(), message)
                        .hint("move its files to the file system of the data directory, or use type = \"pg_files\""));
                }
            }
        }
        Ok(Self {
            with: settings.with.clone(),
            size: settings.size.clone(),
            programs,
            live,
            volumes,
            folder,
            prefix: prefix(cluster),
            removed: Arc::default(),
        })
    }

    /// Fails unless the snapshots of all volumes are of one moment.
    pub(super) fn expect_one_moment(&self) -> Result<()> {
        let pool = |volume: &Volume| volume.id.split('/').next().unwrap_or_default().to_owned();
        let is_one_moment = match &self.with {
            With::Known(Known::Zfs) => self.volumes.iter().all(|volume| pool(volume) == pool(&self.volumes[0])),
            With::Known(Known::Btrfs | Known::Lvm) => self.volumes.len() == 1,
            With::Known(Known::XfsReflink) => false,
            // The user's program makes all snapshots in one call.
            With::Commands(_) => true,
        };
        if is_one_moment {
            return Ok(());
        }
        let message = "the cluster is on several volumes, whose snapshots are not of one moment";
        Err(Error::new(Stage::Dump, Kind::Refused, self.description(), message)
            .hint("set consistency = \"backup\", or move the cluster to one volume"))
    }

    /// Returns the maker of a snapshot that exists.
    pub(super) fn of_existing(made: Made, folder: &Path, programs: Programs) -> Self {
        let Made { with, live, volumes } = made;
        let (folder, prefix) = (folder.to_owned(), String::new());
        Self { with, size: None, programs, live, volumes, folder, prefix, removed: Arc::default() }
    }

    /// Returns what a later process must know to use or remove the snapshots.
    pub(super) fn made(&self) -> Made {
        Made { with: self.with.clone(), live: self.live.clone(), volumes: self.volumes.clone() }
    }

    /// Returns the folder of each snapshot's own folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the beginning of the names of this cluster's snapshots.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the programs that make snapshots.
    pub(super) fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Describes the volumes.
    pub(crate) fn description(&self) -> String {
        let volumes: Vec<_> = self.volumes.iter().map(|volume| volume.live.display().to_string()).collect();
        format!("snapshots of {} in {}", volumes.join(" and "), self.folder.display())
    }

    /// Returns the name of a snapshot that is made now.
    pub(crate) fn name(&self, now: DateTime<Utc>) -> String {
        format!("{}{}", self.prefix, now.format("%Y%m%dT%H%M%SZ"))
    }

    /// Returns the names of the snapshots of this cluster that exist, or may exist, and are not
    /// kept.
    pub(crate) fn existing(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(&self.folder, error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| unreadable(&self.folder, error))?.file_name();
            let name = name.into_string().unwrap_or_default();
            let is_left = is_snapshot_name(&self.prefix, &name) && !kept::is_kept(&self.folder.join(&name));
            names.extend(is_left.then_some(name));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Creates a snapshot, and mounts it. The caller removes it, also after an error.
    pub(crate) async fn create(&self, name: &str, major: u32) -> Result<Location> {
        let own = self.folder.join(name);
        match &self.with {
            With::Known(Known::Btrfs) => make_folder(&own)?,
            With::Known(Known::XfsReflink) => {
                let (live, own, removed) = (self.live.clone(), own.clone(), Arc::clone(&self.removed));
                let name = name.to_owned();
                let copy = move || {
                    let removed = removed.lock().unwrap_or_else(PoisonError::into_inner);
                    match *removed == Some(name) {
                        true => Err(failed("the copy of the files was cancelled")),
                        false => reflink::copy(&live, &own, major),
                    }
                };
                let copied = tokio::task::spawn_blocking(copy).await;
                return copied.map_err(|error| failed("cannot copy the files").because(error))?;
            }
            _ => {
                make_folder(&self.folder)?;
                make_folder(&own)?;
                (0..self.volumes.len()).try_for_each(|index| make_folder(&own.join(index.to_string())))?;
            }
        }
        for command in self.create_commands(name)? {
            self.programs.run(&command).await?;
        }
        self.mount(name).await?;
        self.location_in(name)
    }

    /// Mounts an unmounted snapshot.
    pub(super) async fn mount(&self, name: &str) -> Result<()> {
        for (index, volume) in self.volumes.iter().enumerate() {
            if let Some(command) = self.mount_command(name, index, volume)? {
                self.programs.run(&command).await?;
            }
        }
        Ok(())
    }

    /// Unmounts a snapshot, as far as it is mounted.
    pub(super) async fn unmount(&self, name: &str) -> Result<()> {
        for (index, volume) in self.volumes.iter().enumerate().rev() {
            self.unmount_volume(name, index, volume).await?;
        }
        Ok(())
    }

    fn create_commands(&self, name: &str) -> Result<Vec<Vec<String>>> {
        let each = |command: &dyn Fn(usize, &Volume) -> Vec<String>| {
            self.volumes.iter().enumerate().map(|(index, volume)| command(index, volume)).collect()
        };
        Ok(match &self.with {
            With::Known(Known::Btrfs) => {
                let btrfs = self.programs.find("btrfs")?;
                each(&|index, volume| {
                    let target = text(&self.folder.join(name).join(index.to_string()));
                    words(&[&btrfs, "subvolume", "snapshot", "-r", &text(&volume.live), &target])
                })
            }
            With::Known(Known::Zfs) => {
                // One command for all datasets, so that their snapshots are of one moment.
                let snapshots = self.volumes.iter().map(|volume| format!("{}@{name}", volume.id));
                vec![words(&[&self.programs.find("zfs")?, "snapshot"]).into_iter().chain(snapshots).collect()]
            }
            With::Known(Known::Lvm) => {
                let lvcreate = self.programs.find("lvcreate")?;
                let size = self.size.as_ref().map(|size| ["--size".to_owned(), size.clone()]);
                each(&|index, volume| {
                    let name = format!("{name}-{index}");
                    let mut command = words(&[&lvcreate, "--snapshot", "--setactivationskip", "n", "--name", &name]);
                    command.extend(size.iter().flatten().cloned());
                    command.push(volume.id.clone());
                    command
                })
            }
            With::Known(Known::XfsReflink) => Vec::new(),
            With::Commands(Commands { create, .. }) => vec![self.with_volumes(create, name)],
        })
    }

    fn mount_command(&self, name: &str, index: usize, volume: &Volume) -> Result<Option<Vec<String>>> {
        let target = text(&self.target(name, index));
        Ok(match &self.with {
            With::Known(Known::Btrfs | Known::XfsReflink) => None,
            With::Known(Known::Zfs) => {
                let (snapshot, clone) = (format!("{}@{name}", volume.id), format!("{}/{name}", volume.id));
                let mount_point = format!("mountpoint={target}");
                let zfs = self.programs.find("zfs")?;
                Some(words(&[&zfs, "clone", "-o", "readonly=on", "-o", &mount_point, &snapshot, &clone]))
            }
            With::Known(Known::Lvm) => {
                let options = if volume.kind == XFS { "ro,nouuid" } else { "ro" };
                let device = format!("/dev/{}", lvm_snapshot(volume, name, index));
                Some(words(&[&self.programs.find("mount")?, "-o", options, &device, &target]))
            }
            With::Commands(Commands { mount, .. }) => Some(with_target(mount, name, volume, &target)),
        })
    }

    /// Unmounts and removes a snapshot, as far as it exists.
    pub(crate) async fn remove(&self, name: &str) -> Result<()> {
        let own = self.folder.join(name);
        kept::remove_record(&own)?;
        self.unmount(name).await?;
        match &self.with {
            With::Known(Known::XfsReflink) => {
                let (last, removed_name) = (Arc::clone(&self.removed), name.to_owned());
                let remove = move || {
                    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                    *last = Some(removed_name);
                    fs::remove_dir_all(&own).or_else(allow_missing)
                };
                let removed = tokio::task::spawn_blocking(remove).await;
                let removed = removed.map_err(|error| failed("cannot remove the copy").because(error))?;
                return removed.map_err(|error| unremoved(&self.folder.join(name), error));
            }
            With::Known(Known::Btrfs) => {
                for target in (0..self.volumes.len()).map(|index| self.target(name, index)) {
                    if target.exists() {
                        let command = [&self.programs.find("btrfs")?, "subvolume", "delete", &text(&target)];
                        self.programs.run(&words(&command)).await?;
                    }
                }
            }
            With::Known(Known::Zfs) => {
                let zfs = self.programs.find("zfs")?;
                for snapshot in self.volumes.iter().map(|volume| format!("{}@{name}", volume.id)) {
                    if self.programs.succeeds(&words(&[&zfs, "list", "-t", "snapshot", &snapshot])).await? {
                        self.programs.run(&words(&[&zfs, "destroy", &snapshot])).await?;
                    }
                }
            }
            With::Known(Known::Lvm) => {
                let (lvs, lvremove) = (self.programs.find("lvs")?, self.programs.find("lvremove")?);
                for (index, volume) in self.volumes.iter().enumerate() {
                    let snapshot = lvm_snapshot(volume, name, index);
                    if self.programs.succeeds(&words(&[&lvs, &snapshot])).await? {
                        self.programs.run(&words(&[&lvremove, "--yes", &snapshot])).await?;
                    }
                }
            }
            With::Commands(Commands { remove, .. }) => {
                self.programs.run(&self.with_volumes(remove, name)).await?;
            }
        }
        kept::remove_files(&own)?;
        // The folder is the record of the snapshot, so it is removed last.
        for index in 0..self.volumes.len() {
            let target = self.target(name, index);
            fs::remove_dir(&target).or_else(allow_missing).map_err(|error| unremoved(&target, error))?;
        }
        fs::remove_dir(&own).or_else(allow_missing).map_err(|error| unremoved(&own, error))
    }

    async fn unmount_volume(&self, name: &str, index: usize, volume: &Volume) -> Result<()> {
        let target = self.target(name, index);
        let command = match &self.with {
            With::Known(Known::Btrfs | Known::XfsReflink) => return Ok(()),
            With::Known(Known::Zfs) => {
                let (zfs, clone) = (self.programs.find("zfs")?, format!("{}/{name}", volume.id));
                if !self.programs.succeeds(&words(&[&zfs, "list", &clone])).await? {
                    return Ok(());
                }
                words(&[&zfs, "destroy", &clone])
            }
            With::Known(Known::Lvm) => {
                if !Mount::is_at(&target) {
                    return Ok(());
                }
                words(&[&self.programs.find("umount")?, &text(&target)])
            }
            With::Commands(Commands { unmount, .. }) => with_target(unmount, name, volume, &text(&target)),
        };
        for _ in 1..UNMOUNT_ATTEMPTS {
            if self.programs.succeeds(&command).await? {
                return Ok(());
            }
            tokio::time::sleep(UNMOUNT_PAUSE).await;
        }
        self.programs.run(&command).await.map(drop)
    }

    /// Returns the folders of the cluster in a mounted snapshot.
    pub(super) fn location_in(&self, name: &str) -> Result<Location> {
        if self.with == With::Known(Known::XfsReflink) {
            return Ok(reflink::location(&self.live, &self.folder.join(name)));
        }
        let mapped = |folder: &Path| {
            let containing = self.volumes.iter().enumerate().filter(|(_, volume)| folder.starts_with(&volume.live));
            let (index, volume) = containing
                .max_by_key(|(_, volume)| volume.live.as_os_str().len())
                .ok_or_else(|| failed("a folder of the cluster is on no volume of the snapshot"))?;
            let inner = volume.inner.strip_prefix("/").unwrap_or(&volume.inner);
            let rest = folder.strip_prefix(&volume.live).unwrap_or(folder);
            let mapped = self.target(name, index).join(inner).join(rest);
            match mapped.is_dir() {
                true => Ok(mapped),
                false => Err(Error::new(
                    Stage::Dump,
                    Kind::Refused,
                    folder.display().to_string(),
                    "the snapshot does not contain the folder",
                )
                .hint("let the snapshot cover every volume of the data directory and of the tablespaces")),
            }
        };
        let tablespaces = self.live.tablespaces.iter().map(|(oid, folder)| Ok((*oid, mapped(folder)?)));
        Ok(Location { data: mapped(&self.live.data)?, tablespaces: tablespaces.collect::<Result<_>>()? })
    }

    /// Returns the folder at which the snapshot of a volume is seen.
    fn target(&self, name: &str, index: usize) -> PathBuf {
        self.folder.join(name).join(index.to_string())
    }

    /// Returns a command of the user with the name of the snapshot and all volumes.
    fn with_volumes(&self, command: &[String], name: &str) -> Vec<String> {
        let volumes = self.volumes.iter().map(|volume| text(&volume.live));
        command.iter().cloned().chain([name.to_owned()]).chain(volumes).collect()
    }
}

/// Returns the beginning of the names of a cluster's snapshots.
pub(super) fn prefix(cluster: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let cluster: String = cluster.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    format!("longshore-{cluster}-")
}

/// Returns true for names that [`Maker::name`] returns.
pub(super) fn is_snapshot_name(prefix: &str, name: &str) -> bool {
    let stamp = name.strip_prefix(prefix).unwrap_or_default();
    chrono::NaiveDateTime::parse_from_str(stamp, "%Y%m%dT%H%M%SZ").is_ok()
}

/// Returns the folder for snapshots within the file system of the cluster: the configured one, or
/// the one at the top of the volume.
fn within_file_system(settings: &Snapshot, live: &Location, volumes: &[Volume]) -> Result<PathBuf> {
    let is_in_cluster = |path: &Path| {
        std::iter::once(&live.data).chain(live.tablespaces.values()).any(|folder| path.starts_with(folder))
    };
    if let Some(folder) = &settings.snapshot_dir {
        let folder = fs::canonicalize(folder).map_err(|error| {
            Error::io(Stage::Dump, folder.display().to_string(), "cannot be used for snapshots", error)
                .hint("create snapshot_dir on the file system of the data directory")
        })?;
        if is_in_cluster(&folder) {
            let message = format!("{} is in the cluster, whose backups would contain the snapshots", folder.display());
            return Err(Error::new(Stage::Config, Kind::Usage, "snapshot_dir", message)
                .hint("set snapshot_dir to a folder on the same file system, outside of the data directory"));
        }
        return Ok(folder);
    }
    let top = volumes.first().map(|volume| volume.live.clone()).unwrap_or_default();
    match is_in_cluster(&top) {
        false => Ok(top),
        true => Err(Error::new(
            Stage::Config,
            Kind::Usage,
            "snapshot_dir",
            format!("{} is the root of its volume, so snapshots would be in the data directory", top.display()),
        )
        .hint("set snapshot_dir to a folder on the same file system, outside of the data directory")),
    }
}

/// Returns the name by which LVM knows a snapshot.
fn lvm_snapshot(volume: &Volume, name: &str, index: usize) -> String {
    let group = volume.id.split('/').next().unwrap_or_default();
    format!("{group}/{name}-{index}")
}

fn with_target(command: &[String], name: &str, volume: &Volume, target: &str) -> Vec<String> {
    command.iter().cloned().chain([name.to_owned(), text(&volume.live), target.to_owned()]).collect()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn make_folder(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().mode(0o700).create(path);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::io(Stage::Dump, path.display().to_string(), "cannot create the folder of snapshots", error)
                .hint("create it for the user that runs longshore, or set mount_dir or snapshot_dir"))
        }
        _ => Ok(()),
    }
}

fn allow_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn unremoved(path: &Path, error: io::Error) -> Error {
    Error::io(Stage::Dump, path.display().to_string(), "cannot be removed", error)
}

fn failed(message: &str) -> Error {
    Error::new(Stage::Dump, Kind::Failed, crate::BASE, message)
}
