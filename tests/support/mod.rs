//! An environment for a test: a cluster, a key pair, destinations and a configuration, with the
//! binary to test.

mod archive;
mod discarding_dir;
pub(crate) mod faulty_programs;
pub(crate) mod host_copy;
pub(crate) mod offline_env;
pub(crate) mod packaging;
pub(crate) mod programs;
mod recording_proxy;
mod remote;
pub(crate) mod service;
pub(crate) mod signed_env;
mod table_lock;
mod tmpfs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use longshore_testkit::cluster::{Cluster, Installation};
use tempfile::TempDir;

pub(crate) use archive::ArchiveEnv;
pub(crate) use discarding_dir::DiscardingDirs;
pub(crate) use recording_proxy::{RecordingProxy, Request};
pub(crate) use tmpfs::Tmpfs;

/// The environment of a test, removed on drop.
pub(crate) struct TestEnv {
    pub(crate) cluster: Cluster,
    folder: TempDir,
    recipient: String,
}

/// The parts of a job that differ from the usual configuration.
pub(crate) struct Job<'a> {
    /// The list of dump stages.
    pub(crate) dump: &'a str,
    /// The value of `encrypt`.
    pub(crate) encrypt: Option<&'a str>,
    /// The destinations, by name and path.
    pub(crate) ship: &'a [(&'a str, &'a Path)],
    /// More destinations, by name and the lines of their tables.
    pub(crate) remote: &'a [(&'a str, String)],
    /// More lines of a destination's table, by its name.
    pub(crate) settings: &'a [(&'a str, &'a str)],
    /// More lines of the cluster's table.
    pub(crate) cluster: &'a str,
    /// More lines of the job's table, and further tables.
    pub(crate) more: &'a str,
}

/// Globals and all databases.
pub(crate) const EVERYTHING: &str = "[{ type = 'pg_dumpall' }, { type = 'pg_dump' }]";

impl Default for Job<'_> {
    fn default() -> Self {
        Self { dump: EVERYTHING, encrypt: None, ship: &[], remote: &[], settings: &[], cluster: "", more: "" }
    }
}

/// The exit code and the output of a program.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl TestEnv {
    /// Creates an environment with a cluster of the system's PostgreSQL, and the usual
    /// configuration: everything, encrypted, to `local`.
    pub(crate) fn new() -> Self {
        Self::with_cluster(Cluster::start(&Installation::system(), &[]))
    }

    pub(crate) fn with_cluster(cluster: Cluster) -> Self {
        let folder = tempfile::Builder::new().prefix("longshore-test-").tempdir().unwrap();
        fs::create_dir(folder.path().join("local")).unwrap();
        let keygen = Command::new("age-keygen").arg("-o").arg(folder.path().join("identity.txt")).output();
        let keygen = keygen.expect("age-keygen is missing: run `cargo xtask test`, which installs it");
        assert!(keygen.status.success());
        let output = String::from_utf8(keygen.stderr).unwrap();
        let recipient = output.trim().strip_prefix("Public key: ").unwrap().to_owned();
        let test_env = Self { cluster, folder, recipient };
        test_env.configure(&Job::default());
        test_env
    }

    /// Returns the environment with its cluster shut down.
    pub(crate) fn with_stopped_cluster(self) -> Self {
        Self { cluster: self.cluster.stop(), ..self }
    }

    /// Returns a path in the environment.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Creates a folder in the environment.
    pub(crate) fn make_folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        path
    }

    /// Returns the folder of the usual destination.
    pub(crate) fn local(&self) -> PathBuf {
        self.path("local")
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.path("config.toml")
    }

    pub(crate) fn identity(&self) -> PathBuf {
        self.path("identity.txt")
    }

    /// Returns the recipient that belongs to the identity.
    pub(crate) fn recipient(&self) -> &str {
        &self.recipient
    }

    /// Writes the configuration of the job `nightly`.
    pub(crate) fn configure(&self, job: &Job<'_>) {
        self.configure_with_connection(job, &self.cluster.connection());
    }

    pub(crate) fn configure_with_connection(&self, job: &Job<'_>, connection: &str) {
        let local = self.local();
        let usual = [("local", local.as_path())];
        let ship = if job.ship.is_empty() { &usual[..] } else { job.ship };
        let destinations: String = ship
            .iter()
            .map(|(name, path)| {
                let settings =
                    job.settings.iter().filter(|(destination, _)| destination == name).map(|(_, settings)| *settings);
                format!(
                    "[destination.{name}]\ntype = 'local'\npath = '{}'\nmin_free = '64KiB'\n{}\n\n",
                    path.display(),
                    settings.collect::<String>()
                )
            })
            .collect();
        let remote: String =
            job.remote.iter().map(|(name, lines)| format!("[destination.{name}]\n{lines}\n")).collect();
        let names = ship.iter().map(|(name, _)| *name).chain(job.remote.iter().map(|(name, _)| *name));
        let names: Vec<_> = names.map(|name| format!("'{name}'")).collect();
        let usual = format!("{{ type = 'age', recipients = ['{}'] }}", self.recipient);
        let text = format!(
            "lock_dir = '{locks}'\nstate_dir = '{state}'\n\n[cluster.main]\nconnection = \"{connection}\"\n{cluster}\n{destinations}{remote}[job.nightly]\n\
             cluster = 'main'\ndump = {dump}\nencrypt = {encrypt}\nship = [{names}]\n{more}\n",
            locks = self.path("locks").display(),
            state = self.path("state").display(),
            cluster = job.cluster,
            dump = job.dump,
            encrypt = job.encrypt.unwrap_or(&usual),
            names = names.join(", "),
            more = job.more,
        );
        fs::write(self.config_path(), text).unwrap();
    }

    /// Returns the command of the binary, without a verb.
    pub(crate) fn command(&self) -> Command {
        // The test process itself may ignore signals.
        let mut command = Command::new("env");
        command.args(["--default-signal=HUP,INT", env!("CARGO_BIN_EXE_longshore")]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.folder.path()).env_remove("LONGSHORE_CONFIG").env_remove("LONGSHORE_LOG");
        command.stdin(Stdio::null());
        command.arg("--config").arg(self.config_path());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn longshore(&self, arguments: &[&str]) -> CommandOutput {
        finish(self.command().args(arguments))
    }

    /// Runs the binary with the identity.
    pub(crate) fn run_with_identity(&self, arguments: &[&str]) -> CommandOutput {
        finish(self.command().args(arguments).arg("--identity").arg(self.identity()))
    }

    /// Starts the binary.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Returns the JSON output of a command.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let result = self.longshore(arguments);
        serde_json::from_str(&result.stdout).unwrap_or_else(|error| panic!("{error}: {result:?}"))
    }

    /// Creates the database `name` with a table of about this size, which is hardly compressible.
    pub(crate) fn make_bulk(&self, name: &str, mebibytes: u32) {
        self.cluster.create_database(name);
        // 8 digests of 128 characters: 1 KiB a row.
        let digest = |n| format!("encode(sha512(convert_to(i || 'x{n}', 'UTF8')), 'hex')");
        let digests = (0..8).map(digest).collect::<Vec<_>>().join(" || ");
        self.cluster.psql(
            name,
            &format!(
                "create table bulk as select i, {digests} as noise from generate_series(1, {mebibytes} * 1024) i;"
            ),
        );
    }

    /// Waits until a server process runs one of our queries that matches `like`, and returns the
    /// pid.
    pub(crate) fn wait_for_backend(&self, like: &str) -> String {
        let query = format!(
            "select pid from pg_stat_activity where application_name = 'longshore' and state = 'active' and query ilike '{like}' limit 1"
        );
        wait_for(&format!("a backend at {like}"), || {
            Some(self.cluster.psql("postgres", &query)).filter(|pid| !pid.is_empty())
        })
    }

    /// Waits until the server has no connection of ours.
    pub(crate) fn wait_for_disconnect(&self) {
        let query = "select count(*) from pg_stat_activity where application_name = 'longshore'";
        wait_for("the connections to close", || (self.cluster.psql("postgres", query) == "0").then_some(()));
    }
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> CommandOutput {
    CommandOutput::of(command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

impl CommandOutput {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Expects an exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Expects that the output contains `words`.
    #[track_caller]
    pub(crate) fn shows(self, words: &str) -> Self {
        let has = |text: &str| text.contains(words) || without_config(text).contains(words);
        assert!(has(&self.stdout) || has(&self.stderr), "{words:?} not in\n{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Expects that stdout and then stderr contain these words, one after the other.
    #[track_caller]
    pub(crate) fn shows_in_order(&self, all: &[&str]) {
        let output = format!("{}{}", self.stdout, self.stderr);
        let mut rest = output.as_str();
        for words in all {
            let (_, after) = rest.split_once(words).unwrap_or_else(|| panic!("{words:?} not in order in\n{output}"));
            rest = after;
        }
    }

    /// Expects that stdout, the result of the command, contains `words`.
    #[track_caller]
    pub(crate) fn stdout_shows(self, words: &str) -> Self {
        assert!(self.stdout.contains(words), "{words:?} not in\n{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Expects that stdout, the result of the command, does not contain `words`.
    #[track_caller]
    pub(crate) fn stdout_omits(self, words: &str) -> Self {
        assert!(!self.stdout.contains(words), "{words:?} in\n{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Expects that the output does not contain `words`.
    #[track_caller]
    pub(crate) fn omits(self, words: &str) -> Self {
        let has = |text: &str| text.contains(words) || without_config(text).contains(words);
        assert!(!has(&self.stdout) && !has(&self.stderr), "{words:?} in\n{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// Returns a text whose commands do not name the configuration of the test.
fn without_config(text: &str) -> String {
    const ARGUMENT: &str = "`longshore --config ";
    let mut parts = text.split(ARGUMENT);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "`longshore " + part.split_once(' ').map_or("", |(_, rest)| rest))
}

/// Waits for an event that should occur soon.
pub(crate) fn wait_for<T>(event: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out waiting for {event}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Returns all files below a folder, hidden files included, by their relative paths. Locks and run
/// reports are omitted.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.file_name() != Some("RESTORE.md".as_ref())
                && path.extension().is_none_or(|extension| extension != "lock")
                && !is_run_report(path.strip_prefix(root).unwrap())
            {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

/// Returns true if a path within a destination is of a run report or its details.
fn is_run_report(path: &Path) -> bool {
    let key = longshore_core::key::Key::parse(path.to_str().unwrap());
    key.is_ok_and(|key| longshore_core::run_report::ReportName::from_key(&key).is_some())
}

/// Returns the only artifact below a folder.
#[track_caller]
pub(crate) fn artifact(folder: &Path) -> PathBuf {
    file_but(folder, |name| !name.contains(".json"))
}

/// Returns the only manifest below a folder.
#[track_caller]
pub(crate) fn manifest(folder: &Path) -> PathBuf {
    // Details and marks have more than one extension.
    file_but(folder, |name| name.strip_suffix(".json").is_some_and(|name| !name.contains('.')))
}

/// Returns the only file below a folder whose path contains `part`.
#[track_caller]
pub(crate) fn file_with(folder: &Path, part: &str) -> PathBuf {
    file_but(folder, |name| name.contains(part))
}

/// Returns the only file below a folder whose path matches `wanted`.
#[track_caller]
fn file_but(folder: &Path, wanted: impl Fn(&str) -> bool) -> PathBuf {
    let all = files(folder);
    let found: Vec<_> = all.iter().filter(|name| wanted(name)).collect();
    assert_eq!(found.len(), 1, "{all:?}");
    folder.join(found[0])
}
