//! Calls of rsync, their retries, and the conversion of exit codes to errors.

use std::ffi::{OsStr, OsString};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use longshore_core::quantity::Size;
use longshore_core::root::Unfit;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_ssh::failure;
use longshore_ssh::host::Host;
use tokio::process::Command;
use tokio::sync::Mutex;

/// The maximum number of attempts for a temporary failure.
const TRIES: u32 = 4;
/// The delay after the first attempt, which doubles with each further one.
const PAUSE: Duration = Duration::from_secs(1);

/// The arguments of rsync common to all transfers.
#[derive(Debug)]
pub(crate) struct Transfer {
    host: Arc<Host>,
    root: String,
    timeout: Duration,
    bwlimit: Option<Size>,
    /// The lock for a host that permits one call at a time.
    turn: Option<Mutex<()>>,
}

/// The result of a successful call of rsync.
#[derive(Debug)]
pub(crate) struct Done {
    /// The standard output.
    pub(crate) told: String,
    /// The number of the successful attempt, starting at 1.
    pub(crate) tries: u32,
}

impl Transfer {
    pub(crate) fn new(host: Arc<Host>, root: String, timeout: Duration, bwlimit: Option<Size>) -> Self {
        Self { host, root, timeout, bwlimit, turn: None }
    }

    /// Returns the same transfer, restricted to one call at a time.
    pub(crate) fn in_turn(self) -> Self {
        Self { turn: Some(Mutex::default()), ..self }
    }

    /// Returns the same transfer on another host.
    pub(crate) fn on(&self, host: Arc<Host>) -> Self {
        let turn = self.turn.as_ref().map(|_| Mutex::default());
        Self { host, root: self.root.clone(), timeout: self.timeout, bwlimit: self.bwlimit, turn }
    }

    /// Returns the maximum time without progress.
    fn patience(&self) -> Duration {
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
    pub(crate) fn place(&self, name: &str) -> OsString {
        format!("{}:{}/{name}", self.host.name(), self.root.trim_end_matches('/')).into()
    }

    /// Calls rsync until it succeeds or fails permanently. A retry resumes the interrupted
    /// transfer.
    pub(crate) async fn run(&self, subject: &str, words: &[&OsStr]) -> Result<Done> {
        let _turn = match &self.turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let mut pause = PAUSE;
        // The duration of consecutive attempts that may have made no progress.
        let mut silent = Duration::ZERO;
        for tries in 1.. {
            let begun = Instant::now();
            match self.run_once(subject, words).await {
                Ok(told) => return Ok(Done { told, tries }),
                Err(error) if error.kind() == Kind::Unavailable && tries < TRIES => {
                    let lasted = begun.elapsed() + pause;
                    silent = if lasted > 2 * self.patience() { Duration::ZERO } else { silent + lasted };
                    if silent >= self.host.stall_timeout() {
                        return Err(error);
                    }
                    tokio::time::sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
            pause *= 2;
        }
        Err(failure::lost(self.host.name()))
    }

    async fn run_once(&self, subject: &str, words: &[&OsStr]) -> Result<String> {
        let mut rsync = Command::new("rsync");
        rsync
            .arg(format!("--timeout={}", self.patience().as_secs().max(1)))
            .arg("-e")
            .arg(rsh(&self.host.rsh().await?));
        // The unit is KiB per second, and 0 would mean no limit.
        rsync.args(self.bwlimit.map(|rate| format!("--bwlimit={}", (rate.bytes() >> 10).max(1))));
        rsync.args(words).env("LC_ALL", "C").env_remove("RSYNC_RSH").stdin(Stdio::null()).kill_on_drop(true);
        let output = rsync.output().await.map_err(|error| {
            let cannot = Error::new(Stage::Config, Kind::Usage, "rsync", "cannot start rsync");
            cannot.hint("install rsync on this host, or use type = \"ssh\", which does not need rsync").because(error)
        })?;
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            code => Err(self.failure(subject, code, said.trim())),
        }
    }

    /// Returns the error for an exit code and the error output of rsync.
    fn failure(&self, subject: &str, code: Option<i32>, said: &str) -> Error {
        let subject = format!("{}/{subject}", self.name().trim_end_matches('/'));
        if said.contains("rrsync error") && said.contains("directory does not exist") {
            return Unfit::Missing.error(&self.name(), &self.root).because(said.to_owned());
        }
        let absent = ["No such file", "Not a directory"].iter().any(|words| said.contains(words));
        if absent && (code == Some(23) || said.contains("rrsync error")) {
            let nothing = Error::new(Stage::Ship, Kind::NotFound, subject, "not found");
            return nothing.hint("run `longshore list` to see the backups").because(said.to_owned());
        }
        if said.contains("Another instance of rrsync") {
            let message = "another transfer is running, and rrsync permits one at a time";
            let busy = Error::new(Stage::Ship, Kind::Unavailable, subject, message);
            return busy
                .hint("run hosts one after another, or give each host its own directory")
                .because(said.to_owned());
        }
        let refuses = ["is not allowed", "has been disabled on this server", "rrsync error"];
        if refuses.iter().any(|words| said.contains(words)) {
            let denied =
                Error::new(Stage::Ship, Kind::Denied, subject, "not permitted: the account is restricted by rrsync");
            return denied
                .hint("use another account, or change the restrictions of its key in authorized_keys")
                .because(said.to_owned());
        }
        match code {
            Some(255) => failure::connecting(self.host.name(), said),
            // The connection or the remote rsync was lost, unless the remote side reported its own
            // error before.
            Some(10 | 12 | 30 | 35) if !said.contains("No space left") && !said.contains("command not found") => {
                failure::lost(self.host.name()).because(said.to_owned())
            }
            Some(127 | 12) if said.contains("command not found") => {
                Error::new(Stage::Ship, Kind::Usage, self.name(), "the host has no rsync")
                    .hint("install rsync there, or use type = \"ssh\"")
            }
            Some(code) => failure::there(&subject, &format!("rsync failed with exit status {code}"), said),
            None => Error::new(Stage::Ship, Kind::Failed, subject, "rsync was terminated by a signal"),
        }
    }
}

/// Quotes a remote shell command for rsync, which supports only quotes, doubled to escape them.
fn rsh(words: &[OsString]) -> OsString {
    let mut line = OsString::new();
    for word in words {
        if !line.is_empty() {
            line.push(" ");
        }
        line.push(format!("'{}'", word.to_string_lossy().replace('\'', "''")));
    }
    line
}
