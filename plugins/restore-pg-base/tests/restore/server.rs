//! A server on a restored data directory.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use longshore_testkit::cluster::Installation;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

/// The time limit for a server to start: much longer than necessary, for busy machines.
const START: Duration = Duration::from_secs(120);

/// A running server. Dropping it stops the server.
pub(crate) struct Server {
    installation: Installation,
    process: Child,
    /// The folder of the socket and the log.
    folder: TempDir,
}

impl Server {
    /// Starts a server and waits until recovery has ended.
    #[track_caller]
    pub(crate) fn start(installation: &Installation, data: &Path) -> Self {
        let mut server = Self::spawn(installation, data);
        let deadline = Instant::now() + START;
        while server.try_psql("SELECT pg_is_in_recovery()").as_deref() != Some("f") {
            let ended = server.process.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "no start, {ended:?}: {}", server.log());
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Starts a server that must end by itself, and returns its log.
    #[track_caller]
    pub(crate) fn start_fails(installation: &Installation, data: &Path) -> String {
        let mut server = Self::spawn(installation, data);
        let deadline = Instant::now() + START;
        while server.process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the server runs: {}", server.log());
            thread::sleep(Duration::from_millis(20));
        }
        server.log()
    }

    fn spawn(installation: &Installation, data: &Path) -> Self {
        let folder = server_folder();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=INT");
        if geteuid().is_root() {
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
        }
        command.arg("--").arg(installation.program("postgres")).arg("-D").arg(data).arg("-k").arg(folder.path());
        command.args(["-h", "", "-p", "5432", "-c", "fsync=off", "-c", "shared_buffers=16MB"]);
        command.env_clear().env("LC_ALL", "C.UTF-8").env("TZ", "UTC").current_dir("/");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self { installation: installation.clone(), process: command.spawn().unwrap(), folder }
    }

    /// Runs statements and returns the rows of the last one.
    #[track_caller]
    pub(crate) fn psql(&self, statements: &str) -> String {
        self.try_psql(statements).unwrap_or_else(|| panic!("{statements}: {}", self.log()))
    }

    fn try_psql(&self, statements: &str) -> Option<String> {
        let mut psql = Command::new(self.installation.program("psql"));
        psql.env_clear().args(["-X", "-q", "-A", "-t", "-p", "5432", "-U", "postgres", "-d", "postgres"]);
        psql.args(["-v", "ON_ERROR_STOP=1", "-c", statements]).arg("-h").arg(self.folder.path());
        let output = psql.output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Stops the server after a checkpoint.
    pub(crate) fn stop(mut self) {
        kill_process(Pid::from_child(&self.process), Signal::INT).unwrap();
        assert!(self.process.wait().unwrap().success(), "{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            // The process cannot be replaced by another before it is waited for.
            kill_process(Pid::from_child(&self.process), Signal::QUIT).unwrap();
            self.process.wait().unwrap();
        }
    }
}

/// Makes a folder that the server's user owns.
pub(crate) fn server_folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("lb-").permissions(Permissions::from_mode(0o711)).tempdir().unwrap();
    if geteuid().is_root() {
        let user = nix::unistd::User::from_name("postgres").unwrap().expect("user postgres exists");
        std::os::unix::fs::chown(folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
    folder
}
