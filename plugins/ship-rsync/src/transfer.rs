//! Calls of rsync, their retries, and the conversion of exit codes to errors.

use std::ffi::{OsStr, OsString};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use longshore_core::child_log::ChildLog;
use longshore_core::retry::{Retries, patient};
use longshore_core::root_dir::RootError;
use longshore_core::unit::ByteSize;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_ssh::failure;
use longshore_ssh::host::Host;
use tokio::process::Command;
use tokio::sync::Mutex;

/// The arguments of rsync common to all transfers.
#[derive(Debug)]
pub(crate) struct Transfer {
    host: Arc<Host>,
    root: String,
    timeout: Duration,
    bwlimit: Option<ByteSize>,
    /// The lock for a host that permits one call at a time.
    call_lock: Option<Mutex<()>>,
}

/// The result of a successful call of rsync.
#[derive(Debug)]
pub(crate) struct Output {
    /// The standard output.
    pub(crate) stdout: String,
    /// The number of the successful attempt, starting at 1.
    pub(crate) attempts: u32,
}

impl Transfer {
    pub(crate) fn new(host: Arc<Host>, root: String, timeout: Duration, bwlimit: Option<ByteSize>) -> Self {
        Self { host, root, timeout, bwlimit, call_lock: None }
    }

    /// Returns the same transfer, restricted to one call at a time.
    pub(crate) fn one_at_a_time(self) -> Self {
        Self { call_lock: Some(Mutex::default()), ..self }
    }

    /// Returns the maximum time without progress.
    fn progress_timeout(&self) -> Duration {
        self.timeout.min(self.host.stall_timeout())
    }

    /// Returns the directory's name for errors: `host:/path`.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.host.name(), self.root)
    }

    /// Returns an error about the directory.
    pub(crate) fn error(&self, kind: Kind, message: &str) -> Error {
        Error::new(Stage::Ship, kind, self.name(), message)
    }

    /// Returns a name in the directory in rsync's syntax.
    pub(crate) fn remote_path(&self, name: &str) -> OsString {
        format!("{}:{}/{name}", self.host.name(), self.root.trim_end_matches('/')).into()
    }

    /// Calls rsync until it succeeds or fails permanently. A retry resumes the interrupted
    /// transfer.
    pub(crate) async fn run(&self, subject: &str, arguments: &[&OsStr]) -> Result<Output> {
        let _guard = match &self.call_lock {
            Some(call_lock) => Some(call_lock.lock().await),
            None => None,
        };
        let mut retries = Retries::new(subject, patient());
        let mut attempts = 1;
        // The start of the time in which no attempt has made progress for certain.
        let mut silent_since = Instant::now();
        loop {
            let started = Instant::now();
            let error = match self.run_attempt(subject, arguments).await {
                Ok(stdout) => return Ok(Output { stdout, attempts }),
                Err(error) => error,
            };
            if started.elapsed() > 2 * self.progress_timeout() {
                silent_since = Instant::now();
            }
            let is_stalled = silent_since.elapsed() >= self.host.stall_timeout();
            if error.kind() != Kind::Unavailable || is_stalled || !retries.pause(&error).await {
                return Err(error);
            }
            attempts += 1;
        }
    }

    async fn run_attempt(&self, subject: &str, arguments: &[&OsStr]) -> Result<String> {
        let mut rsync = Command::new("rsync");
        rsync
            .arg(format!("--timeout={}", self.progress_timeout().as_secs().max(1)))
            .arg("-e")
            .arg(quote_rsh(&self.host.rsh().await?));
        // The unit is KiB per second, and 0 would mean no limit.
        rsync.args(self.bwlimit.map(|rate| format!("--bwlimit={}", (rate.bytes() >> 10).max(1))));
        rsync.args(arguments).env("LC_ALL", "C").env_remove("RSYNC_RSH").kill_on_drop(true);
        rsync.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let cannot_start = |error| {
            let cannot = Error::new(Stage::Config, Kind::Usage, "rsync", "cannot start rsync");
            cannot.hint("install rsync on this host, or use type = \"ssh\", which does not need rsync").because(error)
        };
        let child = rsync.spawn().map_err(cannot_start)?;
        let log = ChildLog::started("rsync", child.id());
        let output = child.wait_with_output().await.map_err(cannot_start)?;
        log.ended(output.status);
        let stderr = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            code => Err(self.failure(subject, code, stderr.trim())),
        }
    }

    /// Returns the error for an exit code and the error output of rsync.
    fn failure(&self, subject: &str, code: Option<i32>, stderr: &str) -> Error {
        let subject = format!("{}/{subject}", self.name().trim_end_matches('/'));
        if stderr.contains("rrsync error") && stderr.contains("directory does not exist") {
            return RootError::Missing.error(&self.name(), &self.root).because(stderr.to_owned());
        }
        let absent = ["No such file", "Not a directory"].iter().any(|fragment| stderr.contains(fragment));
        if absent && (code == Some(23) || stderr.contains("rrsync error")) {
            let not_found = Error::new(Stage::Ship, Kind::NotFound, subject, "not found");
            return not_found.hint("run `longshore list` to see the backups").because(stderr.to_owned());
        }
        if stderr.contains("Another instance of rrsync") {
            let message = "another transfer is running, and rrsync permits one at a time";
            let busy = Error::new(Stage::Ship, Kind::Unavailable, subject, message);
            return busy
                .hint("run hosts one after another, or give each host its own directory")
                .because(stderr.to_owned());
        }
        let rejections = ["is not allowed", "has been disabled on this server", "rrsync error"];
        if rejections.iter().any(|fragment| stderr.contains(fragment)) {
            let denied =
                Error::new(Stage::Ship, Kind::Denied, subject, "not permitted: the account is restricted by rrsync");
            return denied
                .hint("use another account, or change the restrictions of its key in authorized_keys")
                .because(stderr.to_owned());
        }
        match code {
            Some(255) => failure::not_connected(self.host.name(), stderr),
            // The connection or the remote rsync was lost, unless the remote side reported its own
            // error before.
            Some(10 | 12 | 30 | 35) if !stderr.contains("No space left") && !stderr.contains("command not found") => {
                failure::connection_lost(self.host.name()).because(stderr.to_owned())
            }
            Some(127 | 12) if stderr.contains("command not found") => {
                Error::new(Stage::Ship, Kind::Usage, self.name(), "the host has no rsync")
                    .hint("install rsync there, or use type = \"ssh\"")
            }
            Some(code) => failure::command_failed(&subject, &format!("rsync failed with exit status {code}"), stderr),
            None => Error::new(Stage::Ship, Kind::Failed, subject, "rsync was terminated by a signal"),
        }
    }
}

/// Quotes a remote shell command for rsync, which supports only quotes, doubled to escape them.
fn quote_rsh(arguments: &[OsString]) -> OsString {
    let mut line = OsString::new();
    for word in arguments {
        if !line.is_empty() {
            line.push(" ");
        }
        line.push(format!("'{}'", word.to_string_lossy().replace('\'', "''")));
    }
    line
}
