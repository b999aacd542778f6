//! The user to own the restored files, who will run the server.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use longshore_core::check::Finding;
use longshore_core::{Error, Kind, Result, Stage};
use nix::unistd::User;
use rustix::fs::{Gid, Uid};

/// Debian's and the official packages' user of servers.
const DEFAULT_USER: &str = "postgres";

const HINT: &str = "name the user that will run the server: --owner USER";

/// A user to own files, and the user's group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The name, or the user's id if the user has no name.
    pub(crate) name: String,
    /// The user's id, which is never root's.
    pub(crate) uid: Uid,
    /// The group's id.
    pub(crate) gid: Gid,
}

/// Returns the owner of files restored into `folder` by the user `process`. Returns `None` if the
/// files keep the owner with which they are made.
///
/// PostgreSQL refuses to run as root. Without a requested owner, root therefore uses the owner of
/// the folder, or of the folder above it, or user postgres.
pub(crate) fn resolve(requested: Option<&str>, folder: &Path, process: Uid) -> Result<Option<Owner>> {
    match requested {
        Some(name) => named(name, process),
        None if process.is_root() => {
            let near = [Some(folder), folder.parent()].into_iter().flatten().find_map(|path| {
                let metadata = fs::metadata(path).ok()?;
                (metadata.uid() != 0).then(|| of_folder(&metadata))
            });
            match near {
                Some(owner) => Ok(Some(owner)),
                None => default_user().map(Some),
            }
        }
        None => Ok(None),
    }
}

/// Fails if another user owns an existing folder. Its owner is not changed: a user who can write to
/// the folder above could have placed a link to a folder of root.
pub(crate) fn expect(owner: Option<&Owner>, folder: &Path, uid: u32) -> Result<()> {
    match owner.filter(|owner| owner.uid.as_raw() != uid) {
        None => Ok(()),
        Some(owner) => {
            let message = format!("user {uid} owns the directory, not {}", owner.name);
            Err(Error::new(Stage::Restore, Kind::Refused, folder.display().to_string(), message).hint(format!(
                "run `chown {} {}`, or name a new directory",
                owner.name,
                folder.display()
            )))
        }
    }
}

fn named(name: &str, process: Uid) -> Result<Option<Owner>> {
    let refused = |message: &str| Error::new(Stage::Restore, Kind::Refused, name, message);
    let Some(user) = find(name)? else {
        return Err(refused("no such user on this host").hint("create the user, or name another one: --owner USER"));
    };
    match (process.is_root(), process.as_raw() == user.uid.as_raw()) {
        (true, true) => Err(refused("PostgreSQL refuses to run as root").hint(HINT)),
        (true, false) => Ok(Some(user.into())),
        (false, true) => Ok(None),
        (false, false) => Err(refused("only root can make files of another user")
            .hint("restore as that user or as root, or omit --owner")),
    }
}

fn default_user() -> Result<Owner> {
    let missing = || {
        let message = "this process is root, PostgreSQL refuses to run as root, and no such user exists";
        Error::new(Stage::Restore, Kind::Refused, DEFAULT_USER, message).hint(HINT)
    };
    find(DEFAULT_USER)?.map(Owner::from).ok_or_else(missing)
}

fn find(name: &str) -> Result<Option<User>> {
    User::from_name(name).map_err(|error| {
        let message = "cannot be looked up in the list of users";
        Error::new(Stage::Restore, Kind::Failed, name, message).because(error)
    })
}

/// Returns the owner of a folder, who may have no name in this container.
fn of_folder(metadata: &Metadata) -> Owner {
    let user = User::from_uid(nix::unistd::Uid::from_raw(metadata.uid()));
    let name = user.ok().flatten().map_or_else(|| metadata.uid().to_string(), |user| user.name);
    Owner { name, uid: Uid::from_raw(metadata.uid()), gid: Gid::from_raw(metadata.gid()) }
}

impl From<User> for Owner {
    fn from(user: User) -> Self {
        Self { name: user.name, uid: Uid::from_raw(user.uid.as_raw()), gid: Gid::from_raw(user.gid.as_raw()) }
    }
}

/// Warns about the first folder above `path` that the owner probably cannot enter. Only access
/// control lists could permit it.
pub(crate) fn unreachable(owner: &Owner, path: &Path) -> Option<Finding> {
    let closed = path.ancestors().skip(1).find(|folder| {
        fs::metadata(folder).is_ok_and(|metadata| !may_enter(owner, metadata.uid(), metadata.gid(), metadata.mode()))
    })?;
    let message = format!("user {} probably cannot enter {}", owner.name, closed.display());
    let remedy = format!("restore into another directory, or permit it: chmod o+x {}", closed.display());
    Some(Finding::warning(path.display().to_string(), message, remedy))
}

fn may_enter(owner: &Owner, uid: u32, gid: u32, mode: u32) -> bool {
    let bit = match (owner.uid.as_raw() == uid, owner.gid.as_raw() == gid) {
        (true, _) => 0o100,
        (false, true) => 0o010,
        (false, false) => 0o001,
    };
    mode & bit != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve_name(name: &str, process: u32) -> Result<Option<Owner>> {
        resolve(Some(name), Path::new("/nowhere/data"), Uid::from_raw(process))
    }

    #[test]
    fn unknown_and_root_owners_are_refused() {
        for (name, message) in [("no-such-user", "no such user"), ("root", "refuses to run as root")] {
            let error = resolve_name(name, 0).unwrap_err();
            assert_eq!((error.kind(), error.subject()), (Kind::Refused, name));
            assert!(error.to_string().contains(message) && error.remedy().is_some(), "{error:?}");
        }
    }

    #[test]
    fn only_root_changes_owners() {
        let daemon = User::from_name("daemon").unwrap().unwrap();
        let uid = daemon.uid.as_raw();
        assert_eq!(resolve_name("daemon", 0).unwrap().unwrap().uid.as_raw(), uid);
        assert_eq!(resolve_name("daemon", uid).unwrap(), None);
        assert_eq!(resolve_name("daemon", uid + 1).unwrap_err().kind(), Kind::Refused);
        assert_eq!(resolve(None, Path::new("/nowhere/data"), Uid::from_raw(uid)).unwrap(), None);
    }

    #[test]
    fn root_uses_the_owner_of_the_nearest_folder() {
        let parent = tempfile::tempdir().unwrap();
        let uid = fs::metadata(parent.path()).unwrap().uid();
        let found = resolve(None, &parent.path().join("data"), Uid::ROOT);
        if uid != 0 {
            assert_eq!(found.unwrap().unwrap().uid.as_raw(), uid);
            return;
        }
        // The folder is root's, so that user postgres is next.
        assert_eq!(found.is_ok(), User::from_name(DEFAULT_USER).unwrap().is_some());
        std::os::unix::fs::chown(parent.path(), Some(12_345), Some(12_346)).unwrap();
        for path in [parent.path().to_owned(), parent.path().join("data")] {
            let owner = resolve(None, &path, Uid::ROOT).unwrap().unwrap();
            assert_eq!((owner.name.as_str(), owner.uid.as_raw(), owner.gid.as_raw()), ("12345", 12_345, 12_346));
        }
    }

    #[test]
    fn closed_folders_are_recognised() {
        let owner = Owner { name: "u".to_owned(), uid: Uid::from_raw(5), gid: Gid::from_raw(6) };
        for (uid, gid, mode, expected) in
            [(0, 0, 0o755, true), (0, 0, 0o700, false), (5, 0, 0o700, true), (0, 6, 0o710, true), (0, 6, 0o701, false)]
        {
            assert_eq!(may_enter(&owner, uid, gid, mode), expected, "{uid} {gid} {mode:o}");
        }
        assert_eq!(unreachable(&owner, Path::new("/tmp/data")), None);
    }
}
