//! The scripts, what they answer, and what their exit statuses mean.

use longshore_core::root::Unfit;
use longshore_core::{Error, Kind, Result};

use super::{Directory, failure};
use crate::host::Place;
use crate::running::{Ended, Running};
use crate::words::script;

/// A script, named by its file.
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

/// What a script that was done says last: only this makes an answer whole.
const DONE: &[u8] = b"longshore: done\n";
/// The most bytes of an answer: that of a list of a million files.
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

    /// Which of its arguments names the file that it is about.
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
    /// Starts a script that bytes pass through.
    pub(super) async fn stream(&self, of: Script, arguments: &[&str]) -> Result<Running> {
        self.host.start(&self.line(of, arguments), Place::Stream).await
    }

    /// Runs a script to its end, and returns what it answers.
    pub(super) async fn run(&self, of: Script, arguments: &[&str]) -> Result<Vec<u8>> {
        let mut running = self.host.start(&self.line(of, arguments), Place::Errand).await?;
        // Who is no shell but an SFTP server would wait for what comes there.
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

    /// That whoever answers is no shell.
    pub(super) fn no_shell(&self, said: &str) -> Error {
        failure::no_shell(&self.name(), said)
    }

    /// What the end of a script means; `about` is the file that it was about, where it was about one.
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
                "another run used the same time, or another host ships to the same directory: give each a path of its own",
            ),
            84 => of_file(Kind::NotFound, "nothing there", "`longshore list` shows what is there"),
            85 => {
                let folder = self.subject(ended.said.trim());
                Unfit::Exposed.error(&folder, &folder)
            }
            86 => of_file(
                Kind::Refused,
                "in the way: what leads to it is not a directory",
                "move it away; links are not followed below the destination's directory",
            ),
            87 => of_file(
                Kind::Corrupt,
                "did not arrive as it was sent, so it was not published",
                "ship it again; if that happens twice, look at that host's disk and memory",
            ),
            88 => self
                .error(
                    Kind::Usage,
                    "the host has none of sha256sum, shasum and openssl, so nobody there can judge what arrives",
                )
                .hint("install one of them there, or use type \"sftp\""),
            89 => failure::there(
                &subject,
                "the file system there has no hard links, without which nothing can be published safely",
                &ended.said,
            ),
            // What fails in a script says why.
            1 | 127 if ended.said.is_empty() => self.no_shell(""),
            _ if failure::is_no_shell(&ended.said) => self.no_shell(&ended.said),
            code => failure::there(&subject, &format!("the host could not do it: exit status {code}"), &ended.said),
        }
    }
}
