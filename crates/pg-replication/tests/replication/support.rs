//! Clusters and connection parameters for tests.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use longshore_pg_replication::base_backup::{BaseBackup, Options};
use longshore_pg_replication::{Connection, Event, Parameters, Result, connect};
use longshore_testkit::cluster::{Cluster, Installation};

/// The oldest and the newest version.
pub(crate) fn versions() -> [Installation; 2] {
    [Installation::of_major(15), Installation::of_major(18)]
}

/// Returns parameters from keywords such as `host=db1 port=5432`, without an environment.
pub(crate) fn parameters(keywords: &str) -> Parameters {
    let pairs = keywords.split_whitespace().map(|pair| {
        let (keyword, value) = pair.split_once('=').unwrap();
        (keyword.to_owned(), value.to_owned())
    });
    Parameters::resolve(pairs, None, &|_| None).unwrap()
}

pub(crate) async fn try_connect(keywords: &str) -> Result<Connection> {
    connect(&parameters(keywords)).await
}

/// Connects over the cluster's Unix socket.
pub(crate) async fn open(cluster: &Cluster) -> Connection {
    try_connect(&cluster.connection()).await.unwrap()
}

/// The content of a base backup.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// The archives and the directories of their tablespaces.
    pub(crate) archives: Vec<(String, Option<PathBuf>, Vec<u8>)>,
    pub(crate) manifest: Option<Vec<u8>>,
    pub(crate) progress_bytes: u64,
}

impl Content {
    /// Adds a part of the backup.
    pub(crate) fn add(&mut self, event: Event) {
        match event {
            Event::Archive { name, tablespace } => self.archives.push((name, tablespace, Vec::new())),
            Event::Manifest => self.manifest = Some(Vec::new()),
            Event::Data(data) => {
                let archive = self.archives.last_mut().map(|(_, _, content)| content);
                self.manifest.as_mut().or(archive).unwrap().extend_from_slice(&data);
            }
            Event::Progress(bytes) => self.progress_bytes = bytes,
        }
    }

    pub(crate) fn manifest_text(&self) -> &str {
        std::str::from_utf8(self.manifest.as_ref().unwrap()).unwrap()
    }
}

/// Reads a backup to its end.
pub(crate) async fn read(backup: &mut BaseBackup) -> Result<Content> {
    let mut content = Content::default();
    while let Some(event) = backup.next().await? {
        content.add(event);
    }
    Ok(content)
}

/// Takes a base backup, and returns the connection as well.
pub(crate) async fn back_up(connection: Connection, options: &Options) -> (Content, Connection) {
    let mut backup = connection.base_backup(options).await.unwrap();
    let content = read(&mut backup).await.unwrap();
    (content, backup.finish().unwrap().1)
}

/// Options of a backup that starts at once.
pub(crate) fn fast() -> Options {
    Options { checkpoint: longshore_pg_replication::base_backup::Checkpoint::Fast, ..Options::default() }
}

/// Runs a program, which must succeed.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {messages}");
    String::from_utf8(output.stdout).unwrap()
}

/// A folder whose files the server can read, and which is removed with the value.
#[derive(Debug)]
pub(crate) struct ServerFolder(tempfile::TempDir);

impl ServerFolder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("longshore-replication-").tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file that only the server's user can read, if this process is root.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        self.give_to_server(&path);
        path
    }

    /// Gives a file to the server's user.
    pub(crate) fn give_to_server(&self, path: &Path) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            let id = |flag: &str| run(Command::new("id").args([flag, "postgres"])).trim().parse().unwrap();
            chown(path, Some(id("-u")), Some(id("-g"))).unwrap();
        }
    }

    /// Creates a directory for a tablespace.
    pub(crate) fn tablespace(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        self.give_to_server(&path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }
}
