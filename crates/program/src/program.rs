//! A program of the operator, and its run.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longshore_core::child_log::ChildLog;
use longshore_core::{Error, Kind, Result, Stage};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::group::ProcessGroup;
use crate::last_lines::read as read_last_lines;
use crate::permissions;

/// The variables that a program inherits.
const INHERITED: [&str; 8] = ["HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER"];
/// The time that a program may take to end after SIGTERM.
const GRACE_PERIOD: Duration = Duration::from_secs(5);
/// The time to wait for the rest of the output after the program has ended: a process that it
/// started may hold the pipe open.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

/// Returns the variables that a program inherits.
pub fn inherited_environment() -> impl Iterator<Item = (&'static str, std::ffi::OsString)> {
    INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)))
}

/// A program of the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The program's absolute path, and its arguments.
    pub argv: Vec<String>,
    /// The working directory; `/` without one.
    pub dir: Option<PathBuf>,
    /// Variables that are added to the environment.
    pub env: BTreeMap<String, String>,
    /// The time limit.
    pub timeout: Duration,
}

/// The end of a program.
#[derive(Debug)]
pub struct Ending {
    /// The exit status.
    pub status: ExitStatus,
    /// The last lines of standard output and error.
    pub last_lines: String,
}

impl Ending {
    /// Describes the exit status: `exit status 3`.
    pub fn description(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => self.status.to_string(),
        }
    }
}

impl Program {
    /// Returns the program's path.
    pub fn path(&self) -> &Path {
        Path::new(self.argv.first().map_or("", String::as_str))
    }

    /// Checks that the program exists, and that only root and this user can replace it.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Refused`] if another user can replace the program, with
    /// [`Kind::NotFound`] if it is missing, and with [`Kind::Usage`] if its path is not absolute.
    pub fn check(&self, stage: Stage) -> Result<()> {
        permissions::check(stage, self.path())?;
        rustix::fs::access(self.path(), rustix::fs::Access::EXEC_OK).map_err(|error| {
            Error::io(stage, self.path().display().to_string(), "cannot execute the program", error.into())
                .hint("run `chmod +x FILE`")
        })
    }

    /// Runs the program with `input` as its standard input. Its environment consists of
    /// `variables`, [`env`](Self::env) and a few inherited variables such as `PATH`. Dropping the
    /// future ends the process group.
    ///
    /// # Errors
    ///
    /// Fails if [`check`](Self::check) fails, if the program cannot be started, or if it takes
    /// longer than its time limit; its process group is then ended. A program that fails is no
    /// error: its exit status is returned.
    pub async fn run(&self, stage: Stage, variables: &[(&str, String)], input: &[u8]) -> Result<Ending> {
        self.check(stage)?;
        let subject = self.path().display().to_string();
        let cannot = |what: &str, error| Error::io(stage, &subject, format!("cannot {what} the program"), error);
        let (output_end, output) = tokio::net::unix::pipe::pipe().map_err(|error| cannot("start", error))?;
        let output_end = output_end.into_blocking_fd().map_err(|error| cannot("start", error))?;
        let second_end = output_end.try_clone().map_err(|error| cannot("start", error))?;
        let mut command = Command::new(self.path());
        command
            .args(self.argv.iter().skip(1))
            .current_dir(self.dir.as_deref().unwrap_or(Path::new("/")))
            .env_clear()
            .envs(inherited_environment())
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .envs(&self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::from(output_end))
            .stderr(Stdio::from(second_end))
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().map_err(|error| cannot("start", error))?;
        // The command holds the writing ends of the pipe.
        drop(command);
        let log = ChildLog::started(&subject, child.id());
        let mut group = Group { child, log };
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let reader = tokio::spawn({
            let lines = Arc::clone(&lines);
            async move { read_last_lines(output, &lines).await }
        });
        let work = async {
            if let Some(mut stdin) = group.child.stdin.take() {
                match stdin.write_all(input).await {
                    // A program need not read its input.
                    Ok(()) | Err(_) => drop(stdin),
                }
            }
            group.child.wait().await
        };
        let ended = timeout(self.timeout, work).await;
        let Ok(status) = ended else {
            group.end().await;
            reader.abort();
            let message = format!("the program did not end within {} s, and was killed", self.timeout.as_secs());
            return Err(with_cause(Error::new(stage, Kind::Failed, subject, message), &text(&lines))
                .hint("raise its timeout, or find out what it waits for"));
        };
        let status = status.map_err(|error| cannot("wait for", error))?;
        group.log.ended(status);
        let abort = reader.abort_handle();
        if timeout(OUTPUT_TIMEOUT, reader).await.is_err() {
            abort.abort();
        }
        Ok(Ending { status, last_lines: text(&lines) })
    }
}

fn text(lines: &Mutex<VecDeque<String>>) -> String {
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}

fn with_cause(error: Error, last_lines: &str) -> Error {
    if last_lines.is_empty() { error } else { error.because(last_lines.to_owned()) }
}

impl Ending {
    /// Returns the error of a program that failed, with its last lines as the cause.
    pub fn error(&self, stage: Stage, program: &Program) -> Error {
        let message = format!("the program ended with {}", self.description());
        let error = Error::new(stage, Kind::Failed, program.path().display().to_string(), message);
        with_cause(error, &self.last_lines)
    }
}

/// A running program with its descendants, ended on drop.
struct Group {
    child: Child,
    log: ChildLog,
}

impl Group {
    /// Ends the process group.
    async fn end(&mut self) {
        self.log.aborted();
        if let Some(group) = ProcessGroup::of(&self.child) {
            group.end(&mut self.child, GRACE_PERIOD).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(group) = ProcessGroup::of(&self.child) else {
            return; // The program has ended and was waited for.
        };
        self.log.aborted();
        group.end_blocking(&mut self.child, GRACE_PERIOD);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::Instant;

    use rustix::process::{Pid, Signal};
    use tempfile::TempDir;

    use super::*;

    /// Creates an executable script in a folder of this user.
    fn script(folder: &TempDir, body: &str) -> Program {
        let path = folder.path().join("hook");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        Program {
            argv: vec![path.display().to_string(), "an argument; exit 9".to_owned()],
            dir: None,
            env: BTreeMap::from([("EXTRA".to_owned(), "extra".to_owned())]),
            timeout: Duration::from_secs(20),
        }
    }

    async fn run(program: &Program, input: &[u8]) -> Result<Ending> {
        program.run(Stage::Config, &[("LONGSHORE_JOB", "nightly".to_owned())], input).await
    }

    #[tokio::test]
    async fn program_has_input_and_a_cleared_environment() {
        let folder = TempDir::new().unwrap();
        let program = script(&folder, "cat; echo \"$1\"; env | sort; pwd >&2; exit 3");
        let ending = run(&program, b"report\n").await.unwrap();
        assert_eq!(ending.description(), "exit status 3");
        let lines: Vec<&str> = ending.last_lines.lines().collect();
        assert_eq!(lines[..2], ["report", "an argument; exit 9"]);
        assert!(lines.contains(&"EXTRA=extra") && lines.contains(&"LONGSHORE_JOB=nightly"), "{lines:?}");
        assert!(!ending.last_lines.contains("CARGO"), "the test's own variables are inherited: {lines:?}");
        assert_eq!(*lines.last().unwrap(), "/");
    }

    #[tokio::test]
    async fn program_that_reads_no_input_succeeds() {
        let folder = TempDir::new().unwrap();
        let ending = run(&script(&folder, "exec <&-; exit 0"), &vec![b'x'; 1 << 20]).await.unwrap();
        assert!(ending.status.success());
    }

    #[tokio::test]
    async fn timeout_kills_the_whole_group() {
        let folder = TempDir::new().unwrap();
        let pid = folder.path().join("pid");
        // Neither the script nor its child ends after SIGTERM.
        let body = format!("trap '' TERM; echo begun\nsleep 1000 & echo $! >{}; wait; sleep 1000", pid.display());
        let program = Program { timeout: Duration::from_millis(300), ..script(&folder, &body) };
        let error = run(&program, b"").await.unwrap_err();
        assert!(error.chain().contains("did not end within") && error.chain().contains("begun"), "{}", error.chain());
        let pid = fs::read_to_string(pid).unwrap();
        let is_running = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        for _ in 0..100 {
            if !is_running() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("process {pid} was left behind");
    }

    #[tokio::test]
    async fn process_in_the_background_delays_no_end() {
        let folder = TempDir::new().unwrap();
        let began = Instant::now();
        let ending = run(&script(&folder, "sleep 30 & echo $!"), b"").await.unwrap();
        assert!(ending.status.success() && began.elapsed() < Duration::from_secs(10));
        let pid = ending.last_lines.trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    #[test]
    fn program_that_others_could_replace_is_refused() {
        let folder = TempDir::new().unwrap();
        let program = script(&folder, "exit 0");
        let kind = |program: &Program| program.check(Stage::Config).map_err(|error| error.kind());
        assert_eq!(kind(&program), Ok(()));
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for (path, open, closed) in [(program.path(), 0o722, 0o700), (folder.path(), 0o777, 0o700)] {
            mode(path, open);
            assert_eq!(kind(&program), Err(Kind::Refused), "{}", path.display());
            mode(path, closed);
        }
        // A link in a folder of others, to a program in a folder of this user.
        let open = TempDir::new().unwrap();
        symlink(program.path(), open.path().join("link")).unwrap();
        let link = Program { argv: vec![open.path().join("link").display().to_string()], ..program.clone() };
        assert_eq!(kind(&link), Ok(()));
        mode(open.path(), 0o777);
        assert_eq!(kind(&link), Err(Kind::Refused));
        mode(program.path(), 0o600);
        assert!(rustix::process::geteuid().is_root() || kind(&program) == Err(Kind::Denied));
        let missing = Program { argv: vec!["/nonexistent/hook".to_owned()], ..program.clone() };
        assert_eq!(kind(&missing), Err(Kind::NotFound));
        assert_eq!(kind(&Program { argv: vec!["hook".to_owned()], ..program }), Err(Kind::Usage));
    }
}
