//! The programs that make snapshots: by absolute path, without a shell, each with a time limit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::child::{Exit, Pipes, Process};
use longshore_pg_client::tool;
use tokio::io::AsyncReadExt;

/// The folders of the system's programs for root, in the order of the search.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The program that runs others as root, if this process does not.
const SUDO: [&str; 3] = ["/usr/bin/sudo", "--non-interactive", "--"];

/// The most bytes of a program's output.
const MOST_OUTPUT_BYTES: u64 = 1 << 20;

/// The programs of one stage.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// The folder of the programs; by default those of the system.
    pub(crate) folder: Option<PathBuf>,
    /// The time limit of each.
    pub(crate) timeout: Duration,
}

impl Programs {
    /// Returns the path of a program by its name.
    pub(crate) fn find(&self, name: &str) -> Result<String> {
        let folders = match &self.folder {
            Some(folder) => vec![folder.as_path()],
            None => FOLDERS.map(Path::new).to_vec(),
        };
        let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        found.and_then(|path| path.into_os_string().into_string().ok()).ok_or_else(|| {
            let message = format!("the program is not in {}", folders[0].display());
            Error::new(Stage::Config, Kind::NotFound, name, message).hint("install it, or set program_dir")
        })
    }

    /// Runs a program, which must succeed. Returns its output.
    pub(crate) async fn run(&self, command: &[String]) -> Result<String> {
        let (exit, output) = self.finish(command).await?;
        if exit.status.success() {
            return Ok(output);
        }
        let error = exit.error(Stage::Dump, Kind::Failed, &command.join(" "));
        Err(match is_root() {
            true => error,
            false => error.hint("run as root, or permit the program in sudoers: longshore-snapshots(7) has an example"),
        })
    }

    /// Returns true if a program succeeds.
    pub(crate) async fn succeeds(&self, command: &[String]) -> Result<bool> {
        self.finish(command).await.map(|(exit, _)| exit.status.success())
    }

    async fn finish(&self, command: &[String]) -> Result<(Exit, String)> {
        let sudo = if is_root() { &[][..] } else { &SUDO[..] };
        let mut words = sudo.iter().copied().chain(command.iter().map(String::as_str));
        let program = words.next().unwrap_or_default();
        let name = command.first().map_or(program, String::as_str);
        let mut started = tool::command(Path::new(program));
        started.args(words).env("LC_ALL", "C");
        let mut process = Process::start(started, name, Pipes::Output)?;
        let ended = async {
            let mut output = String::new();
            if let Some(stdout) = process.stdout.take() {
                let read = stdout.take(MOST_OUTPUT_BYTES).read_to_string(&mut output).await;
                read.map_err(|error| Error::io(Stage::Dump, name, "cannot read the program's output", error))?;
            }
            Ok((process.wait().await?, output))
        };
        tokio::time::timeout(self.timeout, ended).await.unwrap_or_else(|_| {
            let message = format!("the program did not end within {} s", self.timeout.as_secs());
            Err(Error::new(Stage::Dump, Kind::Unavailable, command.join(" "), message).hint("raise timeout"))
        })
    }
}

/// Returns a command.
pub(crate) fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|word| (*word).to_owned()).collect()
}

/// Returns true if this process runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(timeout: Duration) -> Programs {
        Programs { folder: None, timeout }
    }

    fn split(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn program_that_hangs_is_ended() {
        let error = programs(Duration::from_millis(100)).run(&split("/bin/sleep 1000")).await.unwrap_err();
        assert_eq!((error.kind(), error.subject()), (Kind::Unavailable, "/bin/sleep 1000"));
    }

    #[tokio::test]
    async fn failure_has_the_messages_of_the_program() {
        let programs = programs(Duration::from_secs(20));
        let error = programs.run(&split("/bin/ls /nowhere")).await.unwrap_err();
        assert!(error.chain().contains("No such file"), "{}", error.chain());
        assert_eq!(programs.run(&split("/bin/echo a b")).await.unwrap(), "a b\n");
        assert!(!programs.succeeds(&split("/bin/false")).await.unwrap());
        assert_eq!(programs.find("no-such-program").unwrap_err().kind(), Kind::NotFound);
    }
}
