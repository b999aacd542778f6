//! rsync itself: how it is called, tried again, and what its end means.

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

/// How often a transfer is tried that may work later.
const TRIES: u32 = 4;
/// How long to wait after the first; each wait is twice as long as the one before.
const PAUSE: Duration = Duration::from_secs(1);

/// What rsync is called with, whatever it transfers.
#[derive(Debug)]
pub(crate) struct Transfer {
    host: Arc<Host>,
    root: String,
    timeout: Duration,
    bwlimit: Option<Size>,
    /// Whose turn it is, where a host lets in one at a time.
    turn: Option<Mutex<()>>,
}

/// How a call of rsync ended well.
#[derive(Debug)]
pub(crate) struct Done {
    /// What it wrote.
    pub(crate) told: String,
    /// Which try it was, the first being 1.
    pub(crate) tries: u32,
}

impl Transfer {
    pub(crate) fn new(host: Arc<Host>, root: String, timeout: Duration, bwlimit: Option<Size>) -> Self {
        Self { host, root, timeout, bwlimit, turn: None }
    }

    /// The same, one call at a time.
    pub(crate) fn in_turn(self) -> Self {
        Self { turn: Some(Mutex::default()), ..self }
    }

    /// The same on another host.
    pub(crate) fn on(&self, host: Arc<Host>) -> Self {
        let turn = self.turn.as_ref().map(|_| Mutex::default());
        Self { host, root: self.root.clone(), timeout: self.timeout, bwlimit: self.bwlimit, turn }
    }

    /// The time that nothing may move.
    fn patience(&self) -> Duration {
        self.timeout.min(self.host.stall_timeout())
    }

    /// What errors call the directory: `host:/path`.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.host.name(), self.root)
    }

    /// An error about it.
    pub(crate) fn error(&self, kind: Kind, message: &str) -> Error {
        Error::new(Stage::Ship, kind, self.name(), message)
    }

    /// A name in the directory, as rsync takes it.
    pub(crate) fn place(&self, name: &str) -> OsString {
        format!("{}:{}/{name}", self.host.name(), self.root.trim_end_matches('/')).into()
    }

    /// Calls rsync until it succeeds or cannot. What a cut call has brought over is there for the next one.
    pub(crate) async fn run(&self, subject: &str, words: &[&OsStr]) -> Result<Done> {
        let _turn = match &self.turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let mut pause = PAUSE;
        // The time of attempts in which nothing may have moved.
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
        // In KiB a second, and 0 would be no limit.
        rsync.args(self.bwlimit.map(|rate| format!("--bwlimit={}", (rate.bytes() >> 10).max(1))));
        rsync.args(words).env("LC_ALL", "C").env_remove("RSYNC_RSH").stdin(Stdio::null()).kill_on_drop(true);
        let output = rsync.output().await.map_err(|error| {
            let cannot = Error::new(Stage::Config, Kind::Usage, "rsync", "cannot start rsync");
            cannot.hint("install it on this host, or use type \"ssh\", which needs none").because(error)
        })?;
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            code => Err(self.failure(subject, code, said.trim())),
        }
    }

    /// What the end of rsync means.
    fn failure(&self, subject: &str, code: Option<i32>, said: &str) -> Error {
        let subject = format!("{}/{subject}", self.name().trim_end_matches('/'));
        if said.contains("rrsync error") && said.contains("directory does not exist") {
            return Unfit::Missing.error(&self.name(), &self.root).because(said.to_owned());
        }
        let absent = ["No such file", "Not a directory"].iter().any(|words| said.contains(words));
        if absent && (code == Some(23) || said.contains("rrsync error")) {
            let nothing = Error::new(Stage::Ship, Kind::NotFound, subject, "nothing there");
            return nothing.hint("`longshore list` shows what is there").because(said.to_owned());
        }
        if said.contains("Another instance of rrsync") {
            let message = "somebody else is at work there, and rrsync lets in one at a time";
            let busy = Error::new(Stage::Ship, Kind::Unavailable, subject, message);
            return busy.hint("let hosts take turns, or give each a directory of its own").because(said.to_owned());
        }
        let refuses = ["is not allowed", "has been disabled on this server", "rrsync error"];
        if refuses.iter().any(|words| said.contains(words)) {
            let denied = Error::new(
                Stage::Ship,
                Kind::Denied,
                subject,
                "not permitted there: the account is restricted by rrsync",
            );
            return denied
                .hint("do it with another account, or change what its key may do in authorized_keys")
                .because(said.to_owned());
        }
        match code {
            Some(255) => failure::connecting(self.host.name(), said),
            // The connection, or who was at its other end, has gone: what the other side said of itself comes before that.
            Some(10 | 12 | 30 | 35) if !said.contains("No space left") && !said.contains("command not found") => {
                failure::lost(self.host.name()).because(said.to_owned())
            }
            Some(127 | 12) if said.contains("command not found") => {
                Error::new(Stage::Ship, Kind::Usage, self.name(), "the host has no rsync")
                    .hint("install it there, or use type \"ssh\"")
            }
            Some(code) => failure::there(&subject, &format!("rsync ended with exit status {code}"), said),
            None => Error::new(Stage::Ship, Kind::Failed, subject, "rsync was ended by a signal"),
        }
    }
}

/// The words of a remote shell as rsync takes them apart: it knows quotes, doubled inside of themselves, and nothing else.
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
