//! A running child process in its own process group. Its last lines of standard error are kept, its
//! exit is awaited, and no process is left behind.

mod stderr;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use longshore_core::child_log::ChildLog;
use longshore_core::stream::{BufferPool, ByteStream, CHUNK_BYTES, StreamWriter, from_bytes, transform};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_program::ProcessGroup;
use rustix::buffer::spare_capacity;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::fcntl_setpipe_size;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

pub use self::stderr::Stderr;
use self::stderr::read_stderr;

/// The time that a child may take to end after SIGTERM.
const GRACE_PERIOD: Duration = Duration::from_secs(5);
/// The size of a widened pipe, in bytes. A wide pipe needs fewer context switches.
const PIPE_BYTES: usize = 1 << 20;

/// A running child. Dropping it ends the child and its descendants.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: ChildLog,
    /// The child's standard input, if requested.
    pub stdin: Option<ChildStdin>,
    /// The child's standard output, if requested.
    pub stdout: Option<ChildStdout>,
    stderr: Option<JoinHandle<Stderr>>,
}

/// The result of a child that has ended.
#[derive(Debug)]
pub struct Exit {
    name: String,
    /// The child's exit status.
    pub status: ExitStatus,
    /// The child's standard error.
    pub stderr: Stderr,
}

/// The streams of a child that are piped. The others are `/dev/null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipes {
    /// Standard output.
    Output,
    /// Standard input.
    Input,
    /// Standard input and output.
    Both,
    /// No stream.
    Neither,
}

impl Process {
    /// Starts a command. `name` is the program's name in errors.
    pub fn start(mut command: Command, name: &str, pipes: Pipes) -> Result<Self> {
        let piped = |wanted: bool| if wanted { Stdio::piped() } else { Stdio::null() };
        command
            .stdin(piped(matches!(pipes, Pipes::Input | Pipes::Both)))
            .stdout(piped(matches!(pipes, Pipes::Output | Pipes::Both)))
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| {
            Error::io(Stage::Config, name, format!("cannot start {}", command.as_std().get_program().display()), error)
        })?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok(Self {
            name: name.to_owned(),
            log: ChildLog::started(name, child.id()),
            stdin,
            stdout,
            stderr: stderr.map(|stderr| tokio::spawn(read_stderr(stderr))),
            child,
        })
    }

    /// Waits until the child ends.
    pub async fn wait(mut self) -> Result<Exit> {
        self.stdin = None;
        let status = self.child.wait().await;
        let status = status
            .map_err(|error| Error::io(Stage::Config, &self.name, "cannot wait for the program to end", error))?;
        self.log.ended(status);
        let stderr = match self.stderr.take() {
            Some(stderr) => stderr.await.unwrap_or_default(),
            None => Stderr::default(),
        };
        Ok(Exit { name: self.name.clone(), status, stderr })
    }

    /// Waits until the child ends. Ends the child after `limit` and returns `None`.
    pub async fn wait_at_most(self, limit: Duration) -> Result<Option<Exit>> {
        tokio::time::timeout(limit, self.wait()).await.ok().transpose()
    }

    /// Returns the standard output as a stream that ends cleanly only if the child exits with 0.
    /// Otherwise `failure` creates the error of the stream. `success` receives the standard error
    /// of a child that succeeded.
    pub fn into_stream<F: Future<Output = Error> + Send>(
        mut self,
        failure: impl FnOnce(Exit) -> F + Send + 'static,
        success: impl FnOnce(Stderr) + Send + 'static,
    ) -> ByteStream {
        let stream = async_stream::try_stream! {
            if let Some(stdout) = self.stdout.take() {
                let name = self.name.clone();
                let broken = move |error| Error::io(Stage::Dump, name, "cannot read the program's output", error);
                let pipe = Pipe::of(stdout).map_err(broken.clone())?;
                let chunks = transform(from_bytes(""), broken, move |_, writer| pipe.copy_to(writer));
                for await chunk in chunks {
                    yield chunk?;
                }
            }
            let exit = self.wait().await?;
            if exit.status.success() {
                success(exit.stderr);
            } else {
                Err(failure(exit).await)?;
            }
        };
        stream.boxed()
    }
}

/// A child's standard output, read on a thread: the runtime would wake for every write to the pipe.
struct Pipe {
    file: File,
}

impl Pipe {
    fn of(stdout: ChildStdout) -> io::Result<Self> {
        let file = File::from(stdout.into_owned_fd()?);
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        widen(&file);
        Ok(Self { file })
    }

    /// Passes all output to `writer`.
    fn copy_to(self, writer: &mut StreamWriter) -> io::Result<()> {
        let pool = BufferPool::default();
        loop {
            let mut chunk = pool.take();
            self.fill(&mut chunk)?;
            if chunk.is_empty() {
                return Ok(());
            }
            writer.write_chunk(pool.freeze(chunk))?;
        }
    }

    /// Fills `chunk` with the next output: a whole chunk, unless it is the last; empty at the end.
    fn fill(&self, chunk: &mut Vec<u8>) -> io::Result<()> {
        chunk.clear();
        chunk.reserve_exact(CHUNK_BYTES);
        while chunk.len() < CHUNK_BYTES {
            match rustix::io::read(&self.file, spare_capacity(chunk)) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Drop for Process {
    /// Sends SIGTERM to the whole process group, so that `pg_dump` can cancel its query on the
    /// server. Kills the group after a grace period.
    fn drop(&mut self) {
        let Some(group) = ProcessGroup::of(&self.child) else {
            return; // The child has ended and was waited for.
        };
        self.log.aborted();
        group.end_blocking(&mut self.child, GRACE_PERIOD);
    }
}

/// The time that a child may take to accept input, and the context of an error.
#[derive(Debug, Clone, Copy)]
pub struct InputTimeout<'a> {
    /// The limit.
    pub limit: Duration,
    /// The stage of the child's work.
    pub stage: Stage,
    /// The subject of the child's work.
    pub subject: &'a str,
}

/// Feeds all of `stream` to a child's standard input, [`Process::stdin`], and closes it. Without
/// `timeout` the child may take any time, and errors have stage `Restore`.
///
/// A child that closes its pipe early ends the feeding without an error: its exit status decides.
/// The caller then reads the rest of `stream` if its end matters. If the stream fails, its error is
/// returned and the pipe stays open in `stdin`, so that the child never sees a clean end of a cut
/// stream.
pub async fn feed(
    stdin: &mut Option<ChildStdin>,
    stream: &mut ByteStream,
    timeout: Option<InputTimeout<'_>>,
) -> Result<()> {
    let (stage, subject) = timeout.map_or((Stage::Restore, ""), |timeout| (timeout.stage, timeout.subject));
    let Some(pipe) = stdin else {
        return Ok(());
    };
    widen(&*pipe);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        let write = pipe.write_all(&chunk);
        let written = match timeout {
            None => write.await,
            Some(InputTimeout { limit, .. }) => match tokio::time::timeout(limit, write).await {
                Ok(written) => written,
                Err(_) => {
                    let message = format!("the program read no input for {} s", limit.as_secs());
                    return Err(Error::new(stage, Kind::Failed, subject, message));
                }
            },
        };
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(Error::io(stage, subject, "cannot write to the program", error)),
        }
    }
    *stdin = None;
    Ok(())
}

/// Runs a command without input to its end, and returns its output. `name` is the program's name in
/// the log. Dropping the future kills the program.
pub async fn output(mut command: Command, name: &str) -> io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn()?;
    let log = ChildLog::started(name, child.id());
    let output = child.wait_with_output().await?;
    log.ended(output.status);
    Ok(output)
}

/// Widens a pipe, if the system allows it.
fn widen(pipe: impl AsFd) {
    match fcntl_setpipe_size(pipe, PIPE_BYTES) {
        // A pipe of the usual size also works, but more slowly.
        Ok(_) | Err(_) => {}
    }
}

impl Exit {
    /// Describes the end of the child: `pg_dump ended with exit status 1`.
    pub fn description(&self) -> String {
        use std::os::unix::process::ExitStatusExt;
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("{} ended with exit status {code}", self.name),
            (None, Some(signal)) => format!("{} was killed by signal {signal}", self.name),
            (None, None) => format!("{} ended: {}", self.name, self.status),
        }
    }

    /// Returns the error of a child that failed, with its last lines as the cause.
    pub fn error(&self, stage: Stage, kind: Kind, subject: &str) -> Error {
        let error = Error::new(stage, kind, subject, self.description());
        if self.stderr.is_empty() { error } else { error.because(self.stderr.last_lines()) }
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::stream::{channel, collect, failed, from_bytes};
    use rustix::pipe::fcntl_getpipe_size;
    use tokio::io::AsyncReadExt;

    use super::*;

    fn shell(script: &str, pipes: Pipes) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(command, "sh", pipes).unwrap()
    }

    fn stream(script: &str) -> ByteStream {
        let failure = async |exit: Exit| exit.error(Stage::Dump, Kind::Failed, "appdb");
        shell(script, Pipes::Output).into_stream(failure, |_| {})
    }

    async fn read(stream: ByteStream) -> Result<bytes::Bytes> {
        collect(stream, 1 << 24, Stage::Dump, "").await
    }

    #[tokio::test]
    async fn exit_status_0_ends_the_stream_cleanly() {
        assert_eq!(read(stream("head -c 1000000 /dev/zero")).await.unwrap().len(), 1_000_000);
    }

    #[tokio::test]
    async fn failed_child_fails_the_stream_with_its_last_lines() {
        let error = read(stream("printf half; echo 'connection lost' >&2; exit 3")).await.unwrap_err();
        assert_eq!(error.chain(), "dump \"appdb\": sh ended with exit status 3: connection lost");
    }

    #[tokio::test]
    async fn killed_child_fails_the_stream() {
        let error = read(stream("printf half; kill -9 $$")).await.unwrap_err();
        assert!(error.to_string().contains("signal 9"), "{error}");
    }

    #[tokio::test]
    async fn drop_ends_the_child_and_its_descendants() {
        let mut process = shell("sleep 1000 & echo $!; wait", Pipes::Output);
        let mut grandchild = [0; 16];
        let length = process.stdout.as_mut().unwrap().read(&mut grandchild).await.unwrap();
        let grandchild = String::from_utf8_lossy(&grandchild[..length]).trim().to_owned();
        drop(process);
        let gone = || {
            !std::path::Path::new(&format!("/proc/{grandchild}/cmdline")).exists()
                || std::fs::read(format!("/proc/{grandchild}/cmdline")).unwrap_or_default().is_empty()
        };
        for _ in 0..100 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("process {grandchild} was left behind");
    }

    #[tokio::test]
    async fn feed_ignores_a_pipe_closed_early() {
        let mut process = shell("exec <&-; exit 0", Pipes::Input);
        // More bytes than a pipe holds without a reader.
        feed(&mut process.stdin, &mut from_bytes(vec![0; 4 * PIPE_BYTES]), None).await.unwrap();
        assert!(process.wait().await.unwrap().status.success());
    }

    #[tokio::test]
    async fn pipes_are_wide_in_both_directions() {
        // The widest size that this user may set.
        let (fresh, _other_end) = io::pipe().unwrap();
        widen(&fresh);
        let widest = fcntl_getpipe_size(&fresh).unwrap();
        let mut process = shell("cat", Pipes::Both);
        let pipe = Pipe::of(process.stdout.take().unwrap()).unwrap();
        assert_eq!(fcntl_getpipe_size(&pipe.file).unwrap(), widest);
        // The pipe stays open after a stream that fails.
        let mut cut = failed(Error::new(Stage::Restore, Kind::Failed, "", "cut"));
        feed(&mut process.stdin, &mut cut, None).await.unwrap_err();
        assert_eq!(fcntl_getpipe_size(process.stdin.as_ref().unwrap()).unwrap(), widest);
    }

    #[tokio::test]
    async fn slow_child_receives_every_byte() {
        let bytes: Vec<u8> = (0..5 * PIPE_BYTES + 7).map(|at| (at % 251) as u8).collect();
        let mut process = shell("sleep 0.1; cat", Pipes::Both);
        let mut stdout = process.stdout.take().unwrap();
        let (mut passed, mut body) = (Vec::new(), from_bytes(bytes.clone()));
        let (fed, read) = tokio::join!(feed(&mut process.stdin, &mut body, None), stdout.read_to_end(&mut passed));
        fed.unwrap();
        read.unwrap();
        assert!(passed == bytes && process.wait().await.unwrap().status.success());
    }

    #[tokio::test]
    async fn failed_stream_keeps_the_pipe_open() {
        let (sender, mut stream) = channel();
        drop(sender);
        let mut process = shell("cat >/dev/null; echo 'saw the end' >&2", Pipes::Input);
        assert!(feed(&mut process.stdin, &mut stream, None).await.is_err());
        assert!(process.stdin.is_some());
    }

    #[tokio::test]
    async fn feed_fails_if_the_child_reads_nothing() {
        let mut process = shell("sleep 1000", Pipes::Input);
        let mut body = from_bytes(vec![0; 4 << 20]);
        let timeout = InputTimeout { limit: Duration::from_millis(50), stage: Stage::Verify, subject: "appdb" };
        let error = feed(&mut process.stdin, &mut body, Some(timeout)).await.unwrap_err();
        assert_eq!((error.stage(), error.kind(), error.subject()), (Stage::Verify, Kind::Failed, "appdb"));
    }

    #[tokio::test]
    async fn wait_at_most_ends_a_hanging_child() {
        let process = shell("sleep 1000", Pipes::Neither);
        let proc_dir = format!("/proc/{}", process.child.id().unwrap());
        assert!(process.wait_at_most(Duration::from_millis(50)).await.unwrap().is_none());
        assert!(!std::path::Path::new(&proc_dir).exists());
    }
}
