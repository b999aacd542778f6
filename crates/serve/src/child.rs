//! One task as a child process of the same binary.
//!
//! The child survives this process: it holds its own lock, leaves its own report, and needs
//! nothing from here.

use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{ExitStatus, Stdio};

use chrono::{DateTime, Utc};
use command_fds::{CommandFdExt, FdMapping};
use longshore_page::live::{Progress, Task};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

use crate::options::Program;
use crate::progress::{Line, apply};

/// The descriptor of the events in the child.
const DESCRIPTOR: i32 = 3;
/// The maximum number of bytes of a line.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// A task that was started.
pub(crate) struct Running {
    pub(crate) verb: String,
    pub(crate) job: String,
    pid: Option<Pid>,
}

/// The end of a task.
pub(crate) struct Ended {
    pub(crate) verb: String,
    pub(crate) job: String,
    /// The time at which the task was started.
    pub(crate) begun: DateTime<Utc>,
    /// The exit status, or the error of the wait.
    pub(crate) status: io::Result<ExitStatus>,
}

impl Running {
    /// Starts a task. Its end is sent to `ended`.
    pub(crate) fn start(
        program: &Program,
        (verb, job): (&str, &str),
        arguments: &[String],
        tasks: watch::Sender<Vec<Task>>,
        ended: mpsc::UnboundedSender<Ended>,
    ) -> io::Result<Self> {
        let begun = Utc::now();
        let (child, reader) = spawn(program, &[arguments, &["--quiet".to_owned()]].concat(), None)?;
        let task = Self { verb: verb.to_owned(), job: job.to_owned(), pid: pid(&child) };
        let (verb, job) = (verb.to_owned(), job.to_owned());
        tokio::spawn(async move {
            let apply_line = |line| with_progress(&tasks, (&verb, &job), |progress| apply(progress, line));
            let status = observe(child, reader, apply_line).await;
            // Without a receiver, the service has stopped.
            ended.send(Ended { verb, job, begun, status }).ok();
        });
        Ok(task)
    }

    /// Asks the task to end.
    pub(crate) fn terminate(&self) {
        self.pid.iter().for_each(|pid| terminate(*pid));
    }
}

/// Starts the program with these arguments and another variable, and with a descriptor for events.
pub(crate) fn spawn(
    program: &Program,
    arguments: &[String],
    variable: Option<(&str, &str)>,
) -> io::Result<(Child, PipeReader)> {
    let (reader, writer) = io::pipe()?;
    let mut command = std::process::Command::new(&program.binary);
    command.arg("--config").arg(&program.config).args(arguments);
    command.arg("--events").arg(DESCRIPTOR.to_string()).envs(variable);
    // Signals from a terminal reach this process only.
    command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    let mapping = FdMapping { parent_fd: OwnedFd::from(writer), child_fd: DESCRIPTOR };
    command.fd_mappings(vec![mapping]).map_err(io::Error::other)?;
    let mut command = Command::from(command);
    let child = command.spawn()?;
    // The pipe ends with the child, once this process has closed its end.
    drop(command);
    Ok((child, reader))
}

/// Returns the id of a child that has not been waited for.
pub(crate) fn pid(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
}

/// Asks a process to end.
pub(crate) fn terminate(pid: Pid) {
    // A child that has ended needs no signal.
    kill_process(pid, Signal::TERM).ok();
}

/// Reads the events of a child until it ends.
pub(crate) async fn observe(
    mut child: Child,
    reader: PipeReader,
    mut apply: impl FnMut(Line),
) -> io::Result<ExitStatus> {
    let receiver = Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let mut reader = BufReader::new(receiver);
    let mut line = Vec::new();
    loop {
        let read = async {
            line.clear();
            (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await
        };
        tokio::select! {
            biased;
            read = read => match read {
                Ok(0) | Err(_) => break,
                Ok(_) => if let Ok(event) = serde_json::from_slice::<Line>(&line) {
                    apply(event);
                },
            },
            // Programs that the child has left may keep the pipe open.
            status = child.wait() => return status,
        }
    }
    child.wait().await
}

fn with_progress(tasks: &watch::Sender<Vec<Task>>, (verb, job): (&str, &str), change: impl FnOnce(&mut Progress)) {
    tasks.send_modify(|tasks| {
        if let Some(task) = tasks.iter_mut().find(|task| task.is_own(verb, job)) {
            change(&mut task.progress);
        }
    });
}
