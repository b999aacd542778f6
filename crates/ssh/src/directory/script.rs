//! The scripts, their output, and their exit statuses.

use longshore_core::root_dir::RootError;
use longshore_core::{Error, Kind, Result};

use super::{Directory, failure};
use crate::host::Channel;
use crate::process::{Exit, Process};
use crate::shell_quote::sh_command;

/// A script, named after its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Fetch,
    Free,
    List,
    /// Only the preamble of every script.
    Preamble,
    Prepare,
    Probe,
    Publish,
    Receive,
    Remove,
    Rollback,
    Stat,
}

/// The last line of a script that succeeded. Output without this line is incomplete.
const DONE: &[u8] = b"longshore: done\n";
/// The maximum size of a script's output, in bytes: enough for a list of a million files.
const MAX_OUTPUT_BYTES: u64 = 256 << 20;

impl Script {
    /// Returns the script's name in the log.
    fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Free => "free",
            Self::List => "list",
            Self::Preamble => "preamble",
            Self::Prepare => "prepare",
            Self::Probe => "probe",
            Self::Publish => "publish",
            Self::Receive => "receive",
            Self::Remove => "remove",
            Self::Rollback => "rollback",
            Self::Stat => "stat",
        }
    }

    fn text(self) -> String {
        let (text, prints_done) = match self {
            Self::Fetch => (include_str!("fetch.sh"), false),
            Self::Free => (include_str!("free.sh"), true),
            Self::List => (include_str!("list.sh"), true),
            Self::Preamble => ("", true),
            Self::Prepare => (concat!(include_str!("mkdir.sh"), include_str!("prepare.sh")), true),
            Self::Probe => (include_str!("probe.sh"), true),
            Self::Publish => (include_str!("publish.sh"), true),
            Self::Receive => {
                (concat!(include_str!("mkdir.sh"), include_str!("prepare.sh"), include_str!("receive.sh")), false)
            }
            Self::Remove => (include_str!("remove.sh"), true),
            Self::Rollback => (include_str!("rollback.sh"), true),
            Self::Stat => (include_str!("stat.sh"), true),
        };
        let end = if prints_done { "echo 'longshore: done'\n" } else { "" };
        format!("{}{text}{end}", include_str!("preamble.sh"))
    }

    /// Returns the argument that names the script's file.
    fn file_argument<'a>(self, arguments: &'a [&'a str]) -> Option<&'a &'a str> {
        match self {
            Self::Free | Self::List | Self::Preamble | Self::Probe => None,
            Self::Fetch | Self::Stat => arguments.first(),
            Self::Remove => arguments.get(1),
            Self::Prepare | Self::Publish | Self::Receive | Self::Rollback => arguments.get(2),
        }
    }
}

impl Directory {
    /// Starts a script that sends or receives a body.
    pub(super) async fn stream(&self, script: Script, arguments: &[&str]) -> Result<Process> {
        self.host.start(&self.command_line(script, arguments), script.name(), Channel::Transfer).await
    }

    /// Runs a script to its end and returns its output.
    pub(super) async fn run(&self, script: Script, arguments: &[&str]) -> Result<Vec<u8>> {
        let mut process =
            self.host.start(&self.command_line(script, arguments), script.name(), Channel::Command).await?;
        // An SFTP server without a shell would wait for input.
        process.stdin = None;
        let (mut output, exit) = process.output(MAX_OUTPUT_BYTES).await?;
        if exit.code != 0 {
            return Err(self.exit_error(&exit, script.file_argument(arguments)));
        }
        if !output.ends_with(DONE) {
            return Err(self.no_shell(&exit.stderr));
        }
        output.truncate(output.len() - DONE.len());
        Ok(output)
    }

    fn command_line(&self, script: Script, arguments: &[&str]) -> String {
        let arguments: Vec<_> = [self.root.as_str()].into_iter().chain(arguments.iter().copied()).collect();
        sh_command(&script.text(), &arguments)
    }

    /// Returns the error for an account without a shell.
    pub(super) fn no_shell(&self, stderr: &str) -> Error {
        failure::no_shell(&self.name(), stderr)
    }

    /// Returns the error for a script's exit status. `name` is the script's file, if it has one.
    pub(super) fn exit_error(&self, exit: &Exit, name: Option<&&str>) -> Error {
        let subject = name.map_or_else(|| self.name(), |name| self.subject(name));
        let file_error = |kind, message: &str, hint: &str| self.error(kind, message).about(&subject).hint(hint);
        match exit.code {
            80 => RootError::Missing.error(&self.name(), &self.root),
            81 => RootError::NotADirectory.error(&self.name(), &self.root),
            82 => RootError::WorldWritable.error(&self.name(), &self.root),
            83 => file_error(
                Kind::AlreadyExists,
                "already exists, and nothing is ever overwritten",
                "another run used the same time, or another host writes to the same directory: give each host its own path",
            ),
            84 => file_error(Kind::NotFound, "not found", "run `longshore list` to see the backups"),
            85 => {
                let folder = self.subject(exit.stderr.trim());
                RootError::WorldWritable.error(&folder, &folder)
            }
            86 => file_error(
                Kind::Refused,
                "a parent of the path is not a directory",
                "move it away; symbolic links below the destination's directory are not followed",
            ),
            87 => file_error(
                Kind::Corrupt,
                "the received file differs from the sent one, so it was not published",
                "run the backup again; if the error repeats, check that host's disk and memory",
            ),
            88 => self
                .error(Kind::Usage, "the host has none of sha256sum, shasum and openssl to verify uploads")
                .hint("install one of them there, or use type = \"sftp\""),
            89 => failure::command_failed(
                &subject,
                "the file system there has no hard links, which are required to publish files safely",
                &exit.stderr,
            ),
            // A failed script writes a message, so silence means that the script did not run.
            1 | 127 if exit.stderr.is_empty() => self.no_shell(""),
            _ if failure::is_no_shell(&exit.stderr) => self.no_shell(&exit.stderr),
            code => failure::command_failed(
                &subject,
                &format!("a command on the host failed with exit status {code}"),
                &exit.stderr,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::Script;

    /// Returns a function in the place of `[` that creates a folder after each test of one kind, as
    /// another upload may.
    fn racing_test(operator: &str) -> String {
        format!(
            r#"[() {{
                builtin [ "$@"
                result=$?
                if builtin [ "$1" = {operator} ]; then command mkdir -p race/0; fi
                return $result
            }}
            "#
        )
    }

    #[test]
    fn folders_of_other_uploads_are_accepted() {
        for operator in ["-d", "-e", "-L"] {
            let root = tempfile::tempdir().unwrap();
            let text = racing_test(operator) + &Script::Prepare.text();
            let arguments = ["-c", &text, "sh", root.path().to_str().unwrap(), "race/0", "draft", "race/0/a.dump"];
            let output = Command::new("bash").args(arguments).output().unwrap();
            assert!(output.status.success(), "{operator}: {output:?}");
            assert!(root.path().join("race/0").is_dir());
        }
    }
}
