//! A shell that cleans up after a drill. The shell reads a pipe: when the pipe closes, because the
//! drill has ended or Longshore was killed, the shell cleans up.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use longshore_core::child_log::ChildLog;
use longshore_core::{Error, Result, Stage};

/// The beginning of each script. The shell ignores signals sent to Longshore's process group and a
/// closed output pipe, so that it can clean up.
const PROLOGUE: &str = "trap '' HUP INT TERM PIPE\n";

/// The maximum time for the cleanup.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(120);

/// A shell that waits for the end of the drill. Dropping it also makes the shell clean up, as if
/// Longshore was killed.
#[derive(Debug)]
pub struct Watchdog {
    shell: Child,
    /// The log of the shell, until its end is logged.
    log: Option<ChildLog>,
    /// The pipe, open as long as the drill runs.
    pipe: Option<ChildStdin>,
}

/// Returns a command for [`Watchdog::start`], to which the caller adds the script's arguments and
/// environment.
///
/// The script prints a line when it is ready, reads its input to the end, cleans up, and exits with
/// 0 if the cleanup succeeded. Its input is `done` if the drill has ended, and empty if Longshore
/// was killed.
pub fn command(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{PROLOGUE}{script}")).arg("longshore-drill");
    command
}

impl Watchdog {
    /// Starts the shell, and waits until its script is ready. Returns `None` if the script exits
    /// before.
    pub fn start(mut command: Command) -> Result<Option<Self>> {
        command.current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = command.spawn().map_err(|error| Error::io(Stage::Drill, "sh", "cannot be started", error))?;
        let (pipe, stdout) = (shell.stdin.take(), shell.stdout.take());
        let log = Some(ChildLog::started("sh", Some(shell.id())));
        let watchdog = Self { shell, log, pipe };
        let mut line = String::new();
        let read = stdout.map(|stdout| BufReader::new(stdout).read_line(&mut line));
        Ok(matches!(read, Some(Ok(1..))).then_some(watchdog))
    }

    /// Sends a line to a script that reads lines before the end of its input.
    pub fn send(&mut self, line: &str) -> io::Result<()> {
        match &mut self.pipe {
            Some(pipe) => pipe.write_all(format!("{line}\n").as_bytes()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Ends the drill. Returns true if the cleanup succeeded.
    pub fn end(mut self) -> bool {
        let is_notified = self.pipe.as_mut().is_some_and(|pipe| pipe.write_all(b"done").is_ok());
        self.close() && is_notified
    }

    /// Closes the pipe, and waits for the cleanup. Returns true if the cleanup succeeded.
    fn close(&mut self) -> bool {
        self.pipe = None;
        let started = Instant::now();
        loop {
            match self.shell.try_wait() {
                Ok(Some(status)) => {
                    if let Some(log) = self.log.take() {
                        log.ended(status);
                    }
                    return status.success();
                }
                Ok(None) if started.elapsed() < CLEANUP_TIMEOUT => std::thread::sleep(Duration::from_millis(5)),
                _ => return false,
            }
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    /// Writes its input into the file `$1`, which must not exist.
    const SCRIPT: &str = "set -C\necho ready\nword=$(cat)\necho \"$word\" >\"$1\"";

    fn start(file: &Path) -> Watchdog {
        let mut shell = command(SCRIPT);
        shell.arg(file);
        Watchdog::start(shell).unwrap().unwrap()
    }

    #[test]
    fn end_notifies_the_script_and_returns_its_success() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("it's here");
        let watchdog = start(&file);
        assert!(!file.exists());
        assert!(watchdog.end());
        assert_eq!(fs::read_to_string(&file).unwrap(), "done\n");
        assert!(!start(&file).end());
    }

    #[test]
    fn send_reaches_the_script_before_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let mut watchdog = start(&file);
        watchdog.send("start").unwrap();
        assert!(!file.exists());
        assert!(watchdog.end());
        assert_eq!(fs::read_to_string(&file).unwrap(), "start\ndone\n");
    }

    #[test]
    fn drop_cleans_up_without_a_notification() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        drop(start(&file));
        assert_eq!(fs::read_to_string(&file).unwrap(), "\n");
    }

    #[test]
    fn signals_do_not_prevent_the_cleanup() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let watchdog = start(&file);
        for signal in [Signal::HUP, Signal::INT, Signal::TERM] {
            kill_process(Pid::from_child(&watchdog.shell), signal).unwrap();
        }
        assert!(watchdog.end());
    }

    #[test]
    fn script_that_exits_early_is_no_watchdog() {
        assert!(Watchdog::start(command("exit 1")).unwrap().is_none());
    }
}
