//! Child processes of a cluster. They run as a user that PostgreSQL accepts, and end with the test.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

/// Returns true if this process is root. PostgreSQL servers refuse to run as root.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// Returns a command without the caller's environment: `PG*` variables, `.pgpass` and the locale do
/// not affect tests.
pub(crate) fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// Returns a command that gets SIGTERM when this process ends for any reason.
pub(crate) fn killed_with_parent(program: &Path) -> Command {
    let mut command = clean(Path::new("setpriv"));
    command.arg("--pdeathsig=TERM").arg("--").arg(program);
    command
}

/// Returns a command that runs as user postgres if this process is root, and that gets SIGINT when
/// this process ends for any reason.
pub(crate) fn as_server_user(program: &Path) -> Command {
    let mut command = clean(Path::new("setpriv"));
    command.arg("--pdeathsig=INT");
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    command.arg("--").arg(program);
    command
}

/// Starts a child process that lives as long as this process, not as long as the calling thread.
/// The kernel sends the parent-death signal when the thread that started a child ends, so one
/// thread that never ends starts all children.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    type Request = (Command, Sender<io::Result<Child>>);
    static SPAWNER: LazyLock<Sender<Request>> = LazyLock::new(|| {
        let (requests, queue) = channel::<Request>();
        thread::spawn(move || {
            for (mut command, reply) in queue {
                // The caller may have panicked meanwhile.
                drop(reply.send(command.spawn()));
            }
        });
        requests
    });
    let (reply, answer) = channel();
    SPAWNER.send((command, reply)).expect("the spawning thread never ends");
    answer.recv().expect("the spawning thread answers")
}

/// Runs a command to its end.
///
/// # Panics
/// With the command's output, if it fails.
pub(crate) fn run(mut command: Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{messages}", output.status);
}

/// Stops a server with SIGINT (fast shutdown), then SIGQUIT (immediate shutdown without a
/// checkpoint), then SIGKILL.
pub(crate) fn stop(server: &mut Child) {
    let pid = Pid::from_child(server);
    let steps = [(Signal::INT, 5), (Signal::QUIT, 5), (Signal::KILL, 60)];
    for (signal, seconds) in steps {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        // The pid cannot be reused before the process is waited for. An error means that the
        // process has ended.
        kill_process(pid, signal).ok();
        while Instant::now() < deadline {
            if !matches!(server.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}
