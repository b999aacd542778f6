//! The directories and sockets of the host that are hidden from the server of a drill: a socket
//! with a path is reachable from any network namespace.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Directories in which servers create sockets, now or later; and `/dev/shm`, to give the drill its
/// own shared memory.
const SOCKET_DIRS: [&str; 6] = ["/run", "/run/postgresql", "/var/run/postgresql", "/tmp", "/var/tmp", "/dev/shm"];

/// Directories of programs, libraries and locales. Directories within or above them stay visible.
const PROGRAM_DIRS: [&str; 10] =
    ["/bin", "/sbin", "/lib", "/lib64", "/usr", "/etc", "/nix", "/opt", "/proc", "/run/current-system"];

/// The kernel's list of the sockets in this network namespace.
const SOCKET_LIST: &str = "/proc/net/unix";

/// The visible mounts.
const MOUNT_LIST: &str = "/proc/self/mountinfo";

/// The types of local file systems.
pub(crate) const LOCAL_FILE_SYSTEMS: [&str; 9] =
    ["bcachefs", "btrfs", "ext2", "ext3", "ext4", "overlay", "tmpfs", "xfs", "zfs"];

/// The prefix of the name of a server's socket.
const SERVER_SOCKET_PREFIX: &str = ".s.PGSQL.";

/// The hidden directories and sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Masks {
    /// Directories that are hidden with their content. None is within another.
    pub(crate) folders: Vec<PathBuf>,
    /// Sockets in other directories.
    pub(crate) sockets: Vec<PathBuf>,
}

impl Masks {
    /// Searches for all sockets of this host, including those in the `known` directories.
    pub(crate) fn find(needed: &[PathBuf], known: &BTreeSet<PathBuf>) -> Self {
        let mut sockets = bound_sockets(&fs::read_to_string(SOCKET_LIST).unwrap_or_default());
        // A volume shared by several containers may contain sockets of another network namespace.
        for folder in known.iter().cloned().chain(mount_points(&fs::read_to_string(MOUNT_LIST).unwrap_or_default())) {
            sockets.extend(server_sockets(&folder));
        }
        let sockets = sockets.iter().filter_map(|path| real_path(path)).collect();
        let socket_dirs = SOCKET_DIRS.iter().map(Path::new).chain(known.iter().map(PathBuf::as_path));
        let socket_dirs =
            socket_dirs.filter_map(|path| path.canonicalize().ok()).filter(|path| path.is_dir()).collect();
        let needed = PROGRAM_DIRS.iter().map(PathBuf::from).chain(needed.iter().cloned());
        let needed = needed.flat_map(|path| [path.canonicalize().ok(), Some(path)]).flatten();
        Self::choose(socket_dirs, sockets, &needed.filter(|path| path.exists()).collect())
    }

    /// Selects the directories to hide completely, given those that usually contain sockets, and
    /// the sockets to hide separately.
    fn choose(socket_dirs: BTreeSet<PathBuf>, sockets: BTreeSet<PathBuf>, needed: &BTreeSet<PathBuf>) -> Self {
        let overlaps = |folder: &Path, one: &PathBuf| one.starts_with(folder) || folder.starts_with(one);
        let may_be_hidden = |folder: &Path| !needed.iter().any(|one| overlaps(folder, one));
        // A server that starts later is likely to create its socket beside an existing one.
        let of_servers = sockets.iter().filter(|socket| is_server_socket(socket)).filter_map(|socket| socket.parent());
        let candidates = socket_dirs.iter().map(PathBuf::as_path).chain(of_servers).collect::<BTreeSet<_>>();
        let mut folders: Vec<PathBuf> = Vec::new();
        // In this order, a directory precedes those within it.
        for candidate in candidates.into_iter().filter(|candidate| may_be_hidden(candidate)) {
            if !folders.iter().any(|folder| candidate.starts_with(folder)) {
                folders.push(candidate.to_owned());
            }
        }
        let sockets = sockets.into_iter().filter(|socket| !folders.iter().any(|folder| socket.starts_with(folder)));
        Self { sockets: sockets.collect(), folders }
    }
}

fn is_server_socket(socket: &Path) -> bool {
    socket.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SERVER_SOCKET_PREFIX))
}

/// Returns the paths of sockets in the kernel's list.
fn bound_sockets(list: &str) -> BTreeSet<PathBuf> {
    let path = |line: &str| {
        let at = line.find(" /")?;
        Some(PathBuf::from(&line[at + 1..]))
    };
    list.lines().filter_map(path).collect()
}

/// Returns the mount points in the kernel's list that may contain a server's socket. Other file
/// systems are skipped: a host that does not respond would block.
fn mount_points(list: &str) -> BTreeSet<PathBuf> {
    let point = |line: &str| {
        let (mount, source) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?.replace("\\040", " ");
        let is_local = LOCAL_FILE_SYSTEMS.contains(&source.split(' ').next()?);
        (point != "/" && is_local).then(|| PathBuf::from(point))
    };
    list.lines().filter_map(point).collect()
}

/// Returns the sockets of PostgreSQL servers in a directory.
fn server_sockets(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| is_server_socket(path) && path.extension() != Some("lock".as_ref()))
        .collect()
}

/// Returns a socket's path without symbolic links, if it is reachable.
fn real_path(socket: &Path) -> Option<PathBuf> {
    Some(socket.parent()?.canonicalize().ok()?.join(socket.file_name()?)).filter(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths<const N: usize>(texts: [&str; N]) -> BTreeSet<PathBuf> {
        texts.into_iter().map(PathBuf::from).collect()
    }

    #[test]
    fn masks_hide_socket_dirs_but_not_programs() {
        let sockets = paths([
            "/run/docker.sock",
            "/srv/pg/.s.PGSQL.5433",
            "/srv/app/app.sock",
            "/usr/local/pgsql/.s.PGSQL.5434",
            "/tmp/ssh-x/agent.1",
        ]);
        let socket_dirs = paths(["/run", "/run/postgresql", "/tmp"]);
        let masks = Masks::choose(socket_dirs.clone(), sockets.clone(), &paths(["/usr", "/etc"]));
        assert_eq!(masks.folders, [Path::new("/run"), Path::new("/srv/pg"), Path::new("/tmp")]);
        let left = ["/srv/app/app.sock", "/usr/local/pgsql/.s.PGSQL.5434"];
        assert_eq!(masks.sockets, left.map(PathBuf::from));
        // With programs in /run, the sockets of /run are hidden separately.
        let masks = Masks::choose(socket_dirs, sockets, &paths(["/usr", "/run/current-system"]));
        assert_eq!(masks.folders, ["/run/postgresql", "/srv/pg", "/tmp"].map(PathBuf::from));
        assert!(masks.sockets.contains(&PathBuf::from("/run/docker.sock")), "{masks:?}");
    }

    #[test]
    fn kernel_lists_are_parsed() {
        let list = "Num       RefCount Protocol Flags    Type St Inode Path\n\
             000000009e73e2ab: 00000002 00000000 00010000 0001 01 73080 /run/a b/.s.PGSQL.5432\n\
             00000000ddb60a61: 00000003 00000000 00000000 0001 03  1210\n\
             00000000ddb60a62: 00000003 00000000 00000000 0001 03  1211 @/abstract\n";
        assert_eq!(bound_sockets(list), paths(["/run/a b/.s.PGSQL.5432"]));
        let list = "22 27 0:21 / /proc rw - proc proc rw\n27 1 254:0 / / rw - ext4 /dev/vda rw\n\
             30 27 254:0 /x /a\\040volume rw - ext4 /dev/vda rw\n31 27 0:40 / /net rw - nfs4 host:/ rw\n";
        assert_eq!(mount_points(list), paths(["/a volume"]));
    }
}
