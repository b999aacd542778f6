//! Temporary PostgreSQL clusters: each test has a real server, which starts in a fraction of a
//! second and is removed after the test.
//!
//! | module | contents |
//! | --- | --- |
//! | [`cache`] | the folder for files that are made once and reused |
//! | `installation` | the PostgreSQL releases on a machine |
//! | `template`, `system_identifier` | one initdb, and copies with their own system identifiers |
//! | `folder`, `process` | the files and processes that tests must not leave behind |
//! | `load` | work that a server does during a test |
//! | `fingerprint` | the comparison of a database and its restored copy |

pub mod cache;
mod fingerprint;
pub(crate) mod folder;
mod installation;
mod load;
pub(crate) mod process;
mod system_identifier;
mod template;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub use fingerprint::{contents, fingerprint, globals, schema};
pub use installation::{INSTALLED, Installation, NEWER};
pub use load::Load;

use folder::Folder;

use crate::port::free_port;

/// The time limit for a server to answer: much longer than necessary, for busy machines.
const START: Duration = Duration::from_secs(60);

/// A running server with its own data directory. Dropping it stops the server and removes the
/// directory.
///
/// Any client that can reach it is a superuser (`trust`), and its data does not survive a power cut
/// (`fsync = off`).
#[derive(Debug)]
pub struct Cluster {
    installation: Installation,
    port: u16,
    server: Child,
    folder: Folder,
}

/// A folder for a data directory that a test creates, such as by a restore. Dropping it removes it.
#[derive(Debug)]
pub struct NewFolder(Folder);

impl NewFolder {
    /// Creates the folder. Its owner is the user of servers.
    pub fn new() -> Self {
        Self(Folder::new())
    }

    /// Creates the folder in `base`, such as a mounted file system.
    pub fn new_in(base: &Path) -> Self {
        Self(Folder::new_in(base))
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the path of the data directory, which does not exist yet.
    pub fn data_dir(&self) -> PathBuf {
        self.0.data()
    }
}

impl Default for NewFolder {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster {
    /// Starts a server with settings such as `wal_level=logical`, in the form of `postgres -c`.
    ///
    /// # Panics
    /// With the server's log, if the server does not start.
    pub fn start(installation: &Installation, settings: &[&str]) -> Self {
        let folder = Folder::new();
        template::copy(installation, &folder.data());
        Self::start_in(installation, folder, settings)
    }

    /// Starts a server whose folder is in `base`, such as a mounted file system.
    ///
    /// # Panics
    /// With the server's log, if the server does not start.
    pub fn start_within(base: &Path, installation: &Installation, settings: &[&str]) -> Self {
        let folder = Folder::new_in(base);
        template::copy(installation, &folder.data());
        Self::start_in(installation, folder, settings)
    }

    /// Starts a server with WAL segments of a size in mebibytes.
    ///
    /// # Panics
    /// With the messages of initdb or the server's log, if the server does not start.
    pub fn start_with_segments(installation: &Installation, mebibytes: u32, settings: &[&str]) -> Self {
        let folder = Folder::new();
        let mut initdb = template::initdb(installation, &folder.data());
        initdb.arg(format!("--wal-segsize={mebibytes}"));
        process::run(initdb);
        Self::start_in(installation, folder, settings)
    }

    /// Starts a standby of this cluster: a copy that replays its WAL, with its own settings.
    ///
    /// # Panics
    /// With the messages of pg_basebackup, if the copy fails, or with the server's log, if the
    /// server does not start.
    pub fn start_standby(&self, settings: &[&str]) -> Self {
        let folder = Folder::new();
        let mut copy = process::as_server_user(&self.installation.program("pg_basebackup"));
        copy.arg("-D").arg(folder.data()).args(["-d", &self.connection()]);
        copy.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]);
        process::run(copy);
        Self::start_in(&self.installation, folder, settings)
    }

    /// Starts a server on the data directory that a test has created in `folder`.
    ///
    /// # Panics
    /// With the server's log, if the server does not start.
    pub fn start_on(folder: NewFolder, installation: &Installation, settings: &[&str]) -> Self {
        Self::start_in(installation, folder.0, settings)
    }

    fn start_in(installation: &Installation, folder: Folder, settings: &[&str]) -> Self {
        for _ in 0..10 {
            let port = free_port();
            if let Some(server) = start_server(installation, &folder, port, settings) {
                return Self { installation: installation.clone(), port, server, folder };
            }
        }
        panic!("ten ports in a row were taken by other processes");
    }

    /// Shuts the server down. The cluster then has its files and no server.
    ///
    /// # Panics
    /// If the server does not end.
    #[must_use]
    pub fn stop(mut self) -> Self {
        let mut pg_ctl = process::as_server_user(&self.installation.program("pg_ctl"));
        pg_ctl.args(["stop", "-w", "-m", "fast", "-D"]).arg(self.data_dir());
        process::run(pg_ctl);
        self.server.wait().expect("the server can be waited for");
        self
    }

    /// Returns the connection string for the Unix socket, in libpq's keyword format.
    pub fn connection(&self) -> String {
        format!("host={} port={} user=postgres", self.folder.socket().display(), self.port)
    }

    /// Returns the connection string for TCP, in libpq's keyword format.
    pub fn tcp_connection(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres", self.port)
    }

    /// Returns the port, which also names the Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.data()
    }

    /// Returns the folder of the programs of this version.
    pub fn bin_dir(&self) -> &Path {
        &self.installation.bin_dir
    }

    /// Returns the server's log so far.
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.log()).expect("the server's log can be read");
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Runs a psql script and returns its rows, one per line with columns separated by `|`.
    ///
    /// # Panics
    /// With psql's messages, at the first statement that fails.
    #[track_caller]
    pub fn psql(&self, database: &str, script: &str) -> String {
        let output = self.run_psql(database, script);
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "psql on {database:?}: {messages}");
        let rows = String::from_utf8(output.stdout).expect("psql writes UTF-8");
        rows.trim_end_matches('\n').to_owned()
    }

    /// Returns true if the server answers.
    pub fn answers(&self) -> bool {
        self.run_psql("postgres", "select 1").status.success()
    }

    /// Runs a psql script that must fail, and returns psql's messages.
    ///
    /// # Panics
    /// If the script does not fail.
    #[track_caller]
    pub fn psql_fails(&self, database: &str, script: &str) -> String {
        let output = self.run_psql(database, script);
        assert!(!output.status.success(), "psql on {database:?} did not fail: {script}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Creates a database with any name.
    pub fn create_database(&self, name: &str) {
        self.psql("postgres", &format!("CREATE DATABASE \"{}\";", name.replace('"', "\"\"")));
    }

    /// Returns a command for a client program of this version, connected to a database.
    fn client(&self, program: &str, database: &str) -> std::process::Command {
        let mut client = process::clean(&self.installation.program(program));
        client.arg("-d").arg(format!("{} dbname={}", self.connection(), quoted(database)));
        client
    }

    fn run_psql(&self, database: &str, script: &str) -> Output {
        let mut psql = self.client("psql", database);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut psql = psql.spawn().expect("psql can be started");
        let mut stdin = psql.stdin.take().expect("its input is a pipe");
        thread::scope(|scope| {
            // psql does not read a script past an error, so this write may fail with a broken pipe.
            scope.spawn(move || stdin.write_all(script.as_bytes()).ok());
            psql.wait_with_output().expect("psql can be waited for")
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        process::stop(&mut self.server);
    }
}

/// Quotes a value for libpq's keyword format.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// Starts a server and waits until it answers. Returns `None` if another process has taken the
/// port.
fn start_server(installation: &Installation, folder: &Folder, port: u16, settings: &[&str]) -> Option<Child> {
    let log = File::create(folder.log()).expect("a log file can be made");
    let mut postgres = process::as_server_user(&installation.program("postgres"));
    postgres.arg("-D").arg(folder.data()).arg("-p").arg(port.to_string());
    postgres.arg("-k").arg(folder.socket()).args(["-h", "127.0.0.1"]);
    let fast = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB"];
    for setting in fast.iter().chain(settings) {
        postgres.args(["-c", setting]);
    }
    postgres.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
    let mut server = process::spawn(postgres).expect("setpriv (util-linux) can be started");

    let deadline = Instant::now() + START;
    loop {
        let ended = server.try_wait().expect("the status of a child can be read");
        let log = || fs::read_to_string(folder.log()).unwrap_or_default();
        if let Some(status) = ended {
            assert!(log().contains("Address already in use"), "the server ended, {status}: {}", log());
            return None;
        }
        if is_ready(&folder.data()) {
            return Some(server);
        }
        if Instant::now() > deadline {
            process::stop(&mut server);
            panic!("the server did not answer within {START:?}: {}", log());
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Returns true if the server has reported that it accepts connections, in the file that pg_ctl
/// reads.
fn is_ready(data: &Path) -> bool {
    let status = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    status.lines().nth(7).is_some_and(|line| line.trim_end() == "ready")
}
