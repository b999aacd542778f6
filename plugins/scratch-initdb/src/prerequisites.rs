//! The prerequisites of a cluster: programs, disk space, a user, a socket path.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use longshore_core::manifest::Manifest;
use longshore_core::plugin::JobContext;
use longshore_core::stage::RestoreRequest;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::tool::{Toolbox, Version};

use crate::settings::Initdb;

/// The maximum length of a Unix socket's path in bytes, without the socket's name.
const MAX_SOCKET_DIR_BYTES: usize = 107 - "/.s.PGSQL.5432.lock".len();

/// The programs of the release used for the drill.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) initdb: PathBuf,
    pub(crate) postgres: PathBuf,
    pub(crate) major: u32,
    /// The directory that was searched, if only one was.
    pub(crate) bin_dir: Option<PathBuf>,
    pub(crate) version: Version,
    pub(crate) requested: Option<Version>,
}

impl Programs {
    /// Describes the programs, such as `PostgreSQL 17.4, made by initdb`.
    pub(crate) fn description(&self) -> String {
        let instead = self.requested.as_ref().filter(|requested| requested.major != self.major);
        let instead = instead.map_or_else(String::new, |requested| {
            format!(
                " (the backup was dumped from {requested}, but PostgreSQL {} is not installed here)",
                requested.major
            )
        });
        format!("PostgreSQL {}{instead}, made by initdb", self.version)
    }
}

/// Finds the programs of the release that the backups were dumped from, or of the nearest newer
/// one.
pub(crate) async fn programs(settings: &Initdb, site: &JobContext, manifests: &[&Manifest]) -> Result<Programs> {
    let sources = manifests.iter().filter_map(|manifest| Version::parse(&manifest.cluster.server.server_version));
    programs_for(settings, site, sources.max()).await
}

/// Finds the programs of this release, or of the nearest newer one.
pub(crate) async fn programs_for(settings: &Initdb, site: &JobContext, requested: Option<Version>) -> Result<Programs> {
    let (found, failure) = search(settings, site, requested.as_ref(), |_| true).await;
    found.ok_or_else(|| {
        let named =
            requested.map_or_else(|| "PostgreSQL".to_owned(), |requested| format!("PostgreSQL {}", requested.major));
        let message = format!("the server of {named}, or of a newer release, is not installed here");
        let error = Error::new(Stage::Drill, Kind::Failed, "initdb", message).hint(
            "install it (Debian: apt-get install postgresql-17, or the required release), set bin_dir of scratch, or drill in an existing server: scratch = { type = \"server\", … }",
        );
        failure.map_or(error.clone(), |failure| error.because(failure.to_string()))
    })
}

/// Finds the programs of exactly the release that made the files of a base backup. No other release
/// reads them.
pub(crate) async fn programs_for_files(settings: &Initdb, site: &JobContext, manifest: &Manifest) -> Result<Programs> {
    let version = &manifest.cluster.server.server_version;
    let Some(source) = Version::parse(version) else {
        return Err(Error::new(Stage::Drill, Kind::Failed, version, "not a version of PostgreSQL"));
    };
    let (found, failure) = search(settings, site, Some(&source), |major| major == source.major).await;
    found.ok_or_else(|| {
        let major = source.major;
        let message =
            format!("the server of PostgreSQL {major} is not installed here, and no other release reads its files");
        let error = Error::new(Stage::Drill, Kind::Failed, "postgres", message)
            .hint(format!("install it (Debian: apt-get install postgresql-{major}), or set bin_dir of scratch"));
        failure.map_or(error.clone(), |failure| error.because(failure.to_string()))
    })
}

/// Finds the programs of an accepted release in the directories of the settings, then elsewhere.
/// Also returns the last failure of a search.
async fn search(
    settings: &Initdb,
    site: &JobContext,
    requested: Option<&Version>,
    is_accepted: impl Fn(u32) -> bool,
) -> (Option<Programs>, Option<Error>) {
    let bin_dirs = match (&settings.bin_dir, &site.cluster.bin_dir) {
        (Some(bin_dir), _) => vec![Some(bin_dir.clone())],
        // A directory with client programs only does not prevent a search elsewhere.
        (None, Some(bin_dir)) => vec![Some(bin_dir.clone()), None],
        (None, None) => vec![None],
    };
    let mut failure = None;
    for bin_dir in bin_dirs {
        match Toolbox::new(bin_dir.as_deref()).find("initdb", requested).await {
            Ok(initdb) if is_accepted(initdb.version.major) => {
                let postgres = initdb.path.with_file_name("postgres");
                let (major, version, requested) = (initdb.version.major, initdb.version, requested.cloned());
                let programs = Programs { initdb: initdb.path, postgres, major, bin_dir, version, requested };
                return (Some(programs), failure);
            }
            Ok(_) => {}
            Err(error) => failure = Some(error),
        }
    }
    (None, failure)
}

/// Returns the space that dumps need: the ciphertext, and twice the plaintext for the database with
/// its indexes.
pub(crate) fn space_for_dumps(manifests: &[&Manifest]) -> u64 {
    let artifacts = manifests.iter().map(|manifest| &manifest.artifact);
    artifacts.map(|artifact| artifact.sealed.bytes.saturating_add(artifact.plaintext.bytes.saturating_mul(2))).sum()
}

/// Returns the space that the files of a base backup need: the ciphertext and the plaintext of it
/// and of those that it continues.
pub(crate) fn space_for_files(request: &RestoreRequest<'_>) -> u64 {
    let artifacts = request.chain().map(|manifest| &manifest.artifact);
    artifacts.flat_map(|artifact| [artifact.sealed.bytes, artifact.plaintext.bytes]).fold(0, u64::saturating_add)
}

/// Fails if the directory has less space than the drill needs, in bytes.
pub(crate) fn expect_space(parent: &Path, needed: u64) -> Result<()> {
    let location = parent.display().to_string();
    let space = rustix::fs::statvfs(parent)
        .map_err(|error| Error::io(Stage::Drill, &location, "cannot inspect the scratch directory", error.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    let message = format!("has {} MiB free, but the drill needs about {} MiB", mebibytes(free), mebibytes(needed));
    Err(Error::new(Stage::Drill, Kind::Failed, location, message)
        .hint("use a directory with more free space: --scratch-dir DIR, or scratch_dir in the job"))
}

/// A user to run the server as.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Returns the user to run the server as: the current user, unless that is root.
pub(crate) fn user(settings: &Initdb) -> Result<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let name = settings.user.as_deref().unwrap_or("postgres");
    match nix::unistd::User::from_name(name) {
        Ok(Some(user)) if !user.uid.is_root() => Ok(Some(User { uid: user.uid.as_raw(), gid: user.gid.as_raw() })),
        _ => {
            let message = "PostgreSQL does not run as root, and this user does not exist";
            Err(Error::new(Stage::Drill, Kind::Failed, name, message)
                .hint("run the drill as an ordinary user, or set one: scratch = { type = \"initdb\", user = \"…\" }"))
        }
    }
}

/// Fails if the path of the directory is too long for a socket.
pub(crate) fn expect_short_socket_path(folder: &Path) -> Result<()> {
    if folder.as_os_str().as_bytes().len() <= MAX_SOCKET_DIR_BYTES {
        return Ok(());
    }
    let message = "its path is too long for a Unix socket";
    Err(Error::new(Stage::Drill, Kind::Failed, folder.display().to_string(), message)
        .hint("use a directory with a shorter path: --scratch-dir DIR"))
}
