//! The scripts, their output, and their exit statuses.

use longshore_core::root::Unfit;
use longshore_core::{Error, Kind, Result};

use super::{Directory, failure};
use crate::host::Place;
use crate::running::{Ended, Running};
use crate::words::script;

/// A script, named after its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Attempt,
    Fetch,
    Free,
    List,
    Prepare,
    Publish,
    Receive,
    Remove,
    Stand,
    Withdraw,
}

/// The last line of a script that succeeded. Output without this line is incomplete.
const DONE: &[u8] = b"longshore: done\n";
/// The maximum size of a script's output, in bytes: enough for a list of a million files.
const ANSWER_BYTES: u64 = 256 << 20;

impl Script {
    fn text(self) -> String {
        let (text, ends) = match self {
            Self::Attempt => (include_str!("attempt.sh"), true),
            Self::Fetch => (include_str!("fetch.sh"), false),
            Self::Free => (include_str!("free.sh"), true),
            Self::List => (include_str!("list.sh"), true),
            Self::Prepare => (concat!(include_str!("make.sh"), include_str!("prepare.sh")), true),
            Self::Publish => (include_str!("publish.sh"), true),
            Self::Receive => {
                (concat!(include_str!("make.sh"), include_str!("prepare.sh"), include_str!("receive.sh")), false)
            }
            Self::Remove => (include_str!("remove.sh"), true),
            Self::Stand => ("", true),
            Self::Withdraw => (include_str!("withdraw.sh"), true),
        };
        let end = if ends { "echo 'longshore: done'\n" } else { "" };
        format!("{}{text}{end}", include_str!("stand.sh"))
    }

    /// Returns the argument that names the script's file.
    fn about<'a>(self, arguments: &'a [&'a str]) -> Option<&'a &'a str> {
        match self {
            Self::Attempt | Self::Free | Self::List | Self::Stand => None,
            Self::Fetch => arguments.first(),
            Self::Remove => arguments.get(1),
            Self::Prepare | Self::Publish | Self::Receive | Self::Withdraw => arguments.get(2),
        }
    }
}

impl Directory {
    /// Starts a script that sends or receives a body.
    pub(super) async fn stream(&self, of: Script, arguments: &[&str]) -> Result<Running> {
        self.host.start(&self.line(of, arguments), Place::Stream).await
    }

    /// Runs a script to its end and returns its output.
    pub(super) async fn run(&self, of: Script, arguments: &[&str]) -> Result<Vec<u8>> {
        let mut running = self.host.start(&self.line(of, arguments), Place::Errand).await?;
        // An SFTP server without a shell would wait for input.
        running.stdin = None;
        let (mut answer, ended) = running.output(ANSWER_BYTES).await?;
        if ended.code != 0 {
            return Err(self.failure(&ended, of.about(arguments)));
        }
        if !answer.ends_with(DONE) {
            return Err(self.no_shell(&ended.said));
        }
        answer.truncate(answer.len() - DONE.len());
        Ok(answer)
    }

    fn line(&self, of: Script, arguments: &[&str]) -> String {
        let arguments: Vec<_> = [self.root.as_str()].into_iter().chain(arguments.iter().copied()).collect();
        script(&of.text(), &arguments)
    }

    /// Returns the error for an account without a shell.
    pub(super) fn no_shell(&self, said: &str) -> Error {
        failure::no_shell(&self.name(), said)
    }

    /// Returns the error for a script's exit status. `about` is the script's file, if it has one.
    pub(super) fn failure(&self, ended: &Ended, about: Option<&&str>) -> Error {
        let subject = about.map_or_else(|| self.name(), |name| self.subject(name));
        let of_file = |kind, message: &str, hint: &str| self.error(kind, message).about(&subject).hint(hint);
        match ended.code {
            80 => Unfit::Missing.error(&self.name(), &self.root),
            81 => Unfit::NoDirectory.error(&self.name(), &self.root),
            82 => Unfit::Exposed.error(&self.name(), &self.root),
            83 => of_file(
                Kind::AlreadyExists,
                "already exists, and nothing is ever overwritten",
                "another run used the same time, or another host writes to the same directory: give each host its own path",
            ),
            84 => of_file(Kind::NotFound, "not found", "run `longshore list` to see the backups"),
            85 => {
                let folder = self.subject(ended.said.trim());
                Unfit::Exposed.error(&folder, &folder)
            }
            86 => of_file(
                Kind::Refused,
                "a parent of the path is not a directory",
                "move it away; symbolic links below the destination's directory are not followed",
            ),
            87 => of_file(
                Kind::Corrupt,
                "the received file differs from the sent one, so it was not published",
                "run the backup again; if the error repeats, check that host's disk and memory",
            ),
            88 => self
                .error(Kind::Usage, "the host has none of sha256sum, shasum and openssl to verify uploads")
                .hint("install one of them there, or use type = \"sftp\""),
            89 => failure::there(
                &subject,
                "the file system there has no hard links, which are required to publish files safely",
                &ended.said,
            ),
            // A failed script writes a message, so silence means that the script did not run.
            1 | 127 if ended.said.is_empty() => self.no_shell(""),
            _ if failure::is_no_shell(&ended.said) => self.no_shell(&ended.said),
            code => {
                failure::there(&subject, &format!("a command on the host failed with exit status {code}"), &ended.said)
            }
        }
    }
}
