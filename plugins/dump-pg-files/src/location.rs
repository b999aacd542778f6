//! The folders of a cluster on this host, and the proof that they belong to the server.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use longshore_core::{Error, Kind, Result, Stage, regular_file};
use longshore_pg_base::control::{self, Control};
use serde::{Deserialize, Serialize};

use crate::session::ServerFacts;

/// The folder of the links to tablespaces.
pub(crate) const TABLESPACES: &str = "pg_tblspc";
/// The file that a running server has.
pub(crate) const PID_FILE: &str = "postmaster.pid";
/// The line of that file with the port, counted from 0.
const PORT_LINE: usize = 3;

/// The attempts to read a pg_control that the server may be writing, and the time between them.
const CONTROL_ATTEMPTS: usize = 10;
const CONTROL_PAUSE: Duration = Duration::from_millis(20);

/// The hint for files that may not be read.
pub(crate) const OWNER_HINT: &str = "run as the owner of the data directory, such as postgres, or as root";

/// The folders of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Location {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// The folders of tablespaces outside of the data directory, by OID.
    pub(crate) tablespaces: BTreeMap<u32, PathBuf>,
}

impl Location {
    /// Finds the tablespaces of a data directory.
    pub(crate) fn of(data: &Path) -> io::Result<Self> {
        let mut tablespaces = BTreeMap::new();
        for entry in fs::read_dir(data.join(TABLESPACES))? {
            let entry = entry?;
            let oid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(oid) = oid.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_symlink())) {
                let target = fs::read_link(entry.path())?;
                tablespaces.insert(oid, data.join(TABLESPACES).join(target));
            }
        }
        Ok(Self { data: data.to_owned(), tablespaces })
    }

    /// Returns the path on this host of a path in the archive.
    pub(crate) fn resolve(&self, path: &[u8]) -> PathBuf {
        let mut parts = path.splitn(3, |byte| *byte == b'/');
        let (first, oid, rest) = (parts.next(), parts.next(), parts.next());
        let oid = oid.and_then(|oid| std::str::from_utf8(oid).ok()?.parse().ok());
        let tablespace =
            oid.filter(|_| first == Some(TABLESPACES.as_bytes())).and_then(|oid| self.tablespaces.get(&oid));
        match (tablespace, rest) {
            (Some(folder), Some(rest)) => folder.join(std::ffi::OsStr::from_bytes(rest)),
            (Some(folder), None) => folder.clone(),
            (None, _) => self.data.join(std::ffi::OsStr::from_bytes(path)),
        }
    }
}

/// Returns the data directory on this host: the configured one, or the server's.
pub(crate) fn data_directory(configured: Option<&Path>, facts: &ServerFacts, cluster: &str) -> Result<PathBuf> {
    configured.map(Path::to_owned).or_else(|| facts.local_data_directory().cloned()).ok_or_else(|| {
        let message = "the data directory is not known: the server runs on another host, or the role may not read it";
        Error::new(Stage::Connect, Kind::Usage, cluster, message).hint(
            "run on the server's host, and grant pg_read_all_settings to the role; or set data_directory in the dump's \
             settings; type = \"pg_base\" backs up servers on other hosts",
        )
    })
}

/// Fails unless the data directory is the one of the connected server.
pub(crate) fn expect_data_of(data: &Path, facts: &ServerFacts) -> Result<()> {
    let subject = data.display().to_string();
    let refused = |message: String| {
        Err(Error::new(Stage::Dump, Kind::Refused, &subject, message)
            .hint("set data_directory to that of the server in the connection string"))
    };
    let found = control(data)?.0.system_identifier.to_string();
    if found != facts.system_identifier {
        return refused(format!(
            "the folder has system identifier {found}, but the server has {}: another cluster",
            facts.system_identifier
        ));
    }
    let pid_file = data.join(PID_FILE);
    let text = regular_file::read(&pid_file).map_err(|error| unreadable(&pid_file, error))?;
    let port = String::from_utf8_lossy(&text).lines().nth(PORT_LINE).map(|line| line.trim().to_owned());
    match port {
        Some(port) if port == facts.port => Ok(()),
        port => refused(format!(
            "the server of the folder has port {}, but the connected server has {}: a copy of the cluster",
            port.unwrap_or_default(),
            facts.port
        )),
    }
}

/// Reads pg_control, again if the server is writing it. Returns the content, too.
pub(crate) fn control(data: &Path) -> Result<(Control, Vec<u8>)> {
    let path = data.join(control::PATH);
    let mut attempt = 1;
    loop {
        let content = regular_file::read(&path).map_err(|error| unreadable(&path, error))?;
        match Control::parse(&content) {
            Ok(control) => return Ok((control, content)),
            Err(_) if attempt < CONTROL_ATTEMPTS => thread::sleep(CONTROL_PAUSE),
            Err(error) => {
                let subject = path.display().to_string();
                return Err(Error::new(Stage::Dump, Kind::Corrupt, subject, "not a valid pg_control")
                    .because(error.to_string()));
            }
        }
        attempt += 1;
    }
}

/// Returns the error of a file or folder that cannot be read.
pub(crate) fn unreadable(path: &Path, error: io::Error) -> Error {
    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
    let error = Error::io(Stage::Dump, path.display().to_string(), "cannot be read", error);
    if is_denied { error.hint(OWNER_HINT) } else { error }
}

/// Returns the path of a name below a path in the archive.
pub(crate) fn joined(folder: &[u8], name: std::ffi::OsString) -> Box<[u8]> {
    let name = name.into_vec();
    if folder.is_empty() { name.into() } else { [folder, b"/", &name].concat().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_tablespaces_are_resolved() {
        let folder = tempfile::tempdir().unwrap();
        let links = folder.path().join(TABLESPACES);
        fs::create_dir(&links).unwrap();
        fs::create_dir(links.join("16400")).unwrap();
        std::os::unix::fs::symlink("/srv/fast", links.join("16398")).unwrap();
        let location = Location::of(folder.path()).unwrap();
        assert_eq!(location.tablespaces, BTreeMap::from([(16398, "/srv/fast".into())]));
        let at = |path: &str| location.resolve(path.as_bytes());
        assert_eq!(at("pg_tblspc/16398/PG_17_202406281/5/1"), Path::new("/srv/fast/PG_17_202406281/5/1"));
        assert_eq!(at("pg_tblspc/16398"), Path::new("/srv/fast"));
        assert_eq!(at("pg_tblspc/16400/x"), links.join("16400/x"), "a tablespace in place");
        assert_eq!(at("base/1/2"), folder.path().join("base/1/2"));
    }
}
