//! Child processes of a cluster: as a user that PostgreSQL accepts, and gone when the test is.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

/// Whether this process is root, whom a PostgreSQL server refuses to serve.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// A command with nothing of the caller's environment: no `PG*` variable, `.pgpass` or locale reaches a test.
pub(crate) fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// A command that is told to end (SIGTERM) when this process does, in whatever way.
pub(crate) fn bound(program: &Path) -> Command {
    let mut command = clean(Path::new("setpriv"));
    command.arg("--pdeathsig=TERM").arg("--").arg(program);
    command
}

/// A command that runs as user postgres if this process is root, and that is told to stop (SIGINT) when this process
/// ends, in whatever way.
pub(crate) fn as_server_user(program: &Path) -> Command {
    let mut command = clean(Path::new("setpriv"));
    command.arg("--pdeathsig=INT");
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    command.arg("--").arg(program);
    command
}

/// Starts a child that lives as long as this process, not as the calling thread: the kernel sends the parent-death
/// signal when the thread that started a child ends, so one thread that never ends starts them all.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    type Request = (Command, Sender<io::Result<Child>>);
    static SPAWNER: LazyLock<Sender<Request>> = LazyLock::new(|| {
        let (requests, queue) = channel::<Request>();
        thread::spawn(move || {
            for (mut command, reply) in queue {
                // A caller that panicked meanwhile needs no answer.
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
/// With what it told, if it fails.
pub(crate) fn run(mut command: Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{told}", output.status);
}

/// Stops a server: politely with SIGINT (fast shutdown), then with SIGQUIT (immediate, no checkpoint), then with SIGKILL.
pub(crate) fn stop(server: &mut Child) {
    let pid = Pid::from_child(server);
    let steps = [(Signal::INT, 5), (Signal::QUIT, 5), (Signal::KILL, 60)];
    for (signal, seconds) in steps {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        // Until it is waited for, the pid is its own, so this cannot hit another process; failing means it ended.
        kill_process(pid, signal).ok();
        while Instant::now() < deadline {
            if !matches!(server.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}
