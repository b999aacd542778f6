//! The process group of a program, its pipes and its end.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use longshore_core::child_log::ChildLog;
use longshore_core::{Error, Result, Stage};
use longshore_program::{ProcessGroup, inherited_environment, read_last_lines};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::{Pid, test_kill_process_group};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::control::Control;
use crate::settings::ExecProgram;

/// The descriptor of the messages in the program.
const DESCRIPTOR: i32 = 3;
/// The time that a program may take to end after SIGTERM, unless its time without progress is
/// shorter.
const GRACE_PERIOD: Duration = Duration::from_secs(10);
/// The time to wait for the rest of the messages on standard error after the end of a program.
const STDERR_TIMEOUT: Duration = Duration::from_millis(500);
/// The longest step of the wait for processes that end together with a program.
const LEFTOVER_WAIT: Duration = Duration::from_millis(128);
/// The size of a widened pipe, in bytes. A wide pipe needs fewer context switches.
const PIPE_BYTES: usize = 1 << 20;

/// A running program with its descendants. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) child: Child,
    log: ChildLog,
    group: Option<ProcessGroup>,
    grace_period: Duration,
    /// The exit status, once the program has ended.
    pub(crate) exit: Option<ExitStatus>,
    /// True if the program left processes behind, which were killed.
    pub(crate) left_processes: bool,
    /// Standard input, until the end of the input.
    pub(crate) stdin: Option<Sender>,
    /// The other end of standard input, which shows the bytes that the program has not read.
    unread: Option<OwnedFd>,
    /// Standard output, until its end.
    pub(crate) stdout: Option<Receiver>,
    /// The messages.
    pub(crate) control: Option<Control>,
    lines: Arc<Mutex<VecDeque<String>>>,
    stderr: Option<JoinHandle<()>>,
}

/// The streams of a program that are piped. The others are `/dev/null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pipes {
    pub(crate) input: bool,
    pub(crate) output: bool,
    pub(crate) control: bool,
}

impl Process {
    /// Starts a program in a process group of its own.
    pub(crate) fn start(
        program: &ExecProgram,
        stage: Stage,
        pipes: Pipes,
        variables: &[(&str, String)],
    ) -> Result<Self> {
        let subject = program.path().display().to_string();
        Self::spawn(program, &subject, pipes, variables)
            .map_err(|error| Error::io(stage, subject, "cannot start the program", error))
    }

    fn spawn(program: &ExecProgram, subject: &str, pipes: Pipes, variables: &[(&str, String)]) -> io::Result<Self> {
        let mut command = std::process::Command::new(program.path());
        command
            .args(program.argv.iter().skip(1))
            .current_dir(program.dir.as_deref().unwrap_or(Path::new("/")))
            .env_clear()
            .envs(inherited_environment())
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .envs(&program.env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0);
        let (mut stdin, mut unread, mut stdout, mut control) = (None, None, None, None);
        if pipes.input {
            let (reader, writer) = wide_pipe()?;
            command.stdin(Stdio::from(reader.try_clone()?));
            stdin = Some(Sender::from_owned_fd(writer)?);
            unread = Some(reader);
        }
        if pipes.output {
            let (reader, writer) = wide_pipe()?;
            command.stdout(Stdio::from(writer));
            stdout = Some(Receiver::from_owned_fd(reader)?);
        }
        let (stderr_reader, stderr_writer) = pipe_with(PipeFlags::CLOEXEC)?;
        command.stderr(Stdio::from(stderr_writer));
        if pipes.control {
            let (own, other) = Control::pair()?;
            let mapping = FdMapping { parent_fd: OwnedFd::from(other), child_fd: DESCRIPTOR };
            command.fd_mappings(vec![mapping]).map_err(io::Error::other)?;
            control = Some(own);
        }
        let mut command = Command::from(command);
        let child = command.kill_on_drop(true).spawn()?;
        // The command holds the program's ends of the pipes.
        drop(command);
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let stderr_reader = Receiver::from_owned_fd(stderr_reader)?;
        let stderr = tokio::spawn({
            let lines = Arc::clone(&lines);
            async move { read_last_lines(stderr_reader, &lines).await }
        });
        Ok(Self {
            log: ChildLog::started(subject, child.id()),
            group: ProcessGroup::of(&child),
            child,
            grace_period: GRACE_PERIOD.min(program.stall_timeout),
            exit: None,
            left_processes: false,
            stdin,
            unread,
            stdout,
            control,
            lines,
            stderr: Some(stderr),
        })
    }

    /// Records the end of the program, and kills the processes that it has left running.
    pub(crate) async fn ended(&mut self, status: ExitStatus) {
        self.log.ended(status);
        self.exit = Some(status);
        let Some(group) = self.group else { return };
        // Processes that end together with the program may take a moment.
        let mut wait = Duration::from_millis(1);
        while is_alive(group.id()) {
            if wait > LEFTOVER_WAIT {
                self.left_processes = true;
                break;
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        self.group = None;
        group.kill();
    }

    /// Ends the process group: asks it first, then kills it. Its input is still open.
    pub(crate) async fn end(&mut self) {
        let Some(group) = self.group else { return };
        self.log.aborted();
        group.end(&mut self.child, self.grace_period).await;
        self.group = None;
    }

    /// Returns the number of bytes on standard input that the program has not read.
    pub(crate) fn unread_bytes(&self) -> u64 {
        // A pipe whose content is unknown counts as read.
        self.unread.as_ref().map_or(0, |pipe| rustix::io::ioctl_fionread(pipe).unwrap_or(0))
    }

    /// Returns the last lines of standard error.
    pub(crate) async fn last_lines(&mut self) -> String {
        if let (Some(mut stderr), true) = (self.stderr.take(), self.exit.is_some())
            && timeout(STDERR_TIMEOUT, &mut stderr).await.is_err()
        {
            stderr.abort();
        }
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(group) = self.group.take() {
            self.log.aborted();
            group.kill();
        }
        if let Some(stderr) = self.stderr.take() {
            stderr.abort();
        }
    }
}

/// Describes an exit status: `exit status 3`.
pub(crate) fn description(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Returns true if a process group has a process other than ended ones that no process waits for.
fn is_alive(group: Pid) -> bool {
    if test_kill_process_group(group).is_err() {
        return false;
    }
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    let group = group.as_raw_nonzero().to_string();
    processes.flatten().any(|process| {
        let Ok(stat) = std::fs::read_to_string(process.path().join("stat")) else { return false };
        // The name of the program, in parentheses, may contain any characters.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let state = fields.next().unwrap_or_default();
        fields.nth(1) == Some(&group) && !matches!(state, "Z" | "X")
    })
}

/// Creates a pipe, widened if the system allows it.
fn wide_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    match fcntl_setpipe_size(&writer, PIPE_BYTES) {
        // A pipe of the usual size also works, but more slowly.
        Ok(_) | Err(_) => {}
    }
    Ok((reader, writer))
}
