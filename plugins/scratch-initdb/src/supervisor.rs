//! The shell that runs initdb and the server. It holds on to a pipe of ours: when that closes, because we have ended it or have been killed,
//! it stops what it runs and removes the folder.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use longshore_core::{Error, Kind, Result, Stage, regular_file};

use crate::configuration::LOG_LINE_PREFIX;
use crate::look::User;

/// How long initdb and the start of the server may take together.
const START: Duration = Duration::from_secs(180);

/// How long the end of the server may take, and the removal of what it made.
const END: Duration = Duration::from_secs(120);

/// How many of the log's last lines are shown where the cluster could not be made.
const LAST_LINES: usize = 8;

/// What the shell does. `$1` is the folder, `$2` whom the server's folders are to belong to, if anybody else; the rest
/// runs initdb and the server.
///
/// initdb and the server are a session of their own, so that one signal ends all of them; signals that are meant for us do not hinder the
/// shell in cleaning up, nor does a pipe that nobody reads any more.
const SCRIPT: &str = r#"
trap '' HUP INT TERM PIPE
folder=$1
owner=$2
shift 2
mkdir -m 711 -- "$folder" || exit 1
mkdir -m 700 -- "$folder/data" "$folder/socket" "$folder/files" || exit 1
if [ -n "$owner" ]; then chown -- "$owner" "$folder/data" "$folder/socket" || exit 1; fi
umask 077
setsid sh -c '"$@"; echo longshore: ended' longshore-drill "$@" </dev/null >"$folder/log" 2>&1 &
running=$!
echo made
cat >/dev/null
kill -QUIT "-$running" 2>/dev/null
tries=0
while kill -0 "$running" 2>/dev/null && [ "$tries" -lt 100 ]; do
  tries=$((tries + 1))
  sleep 0.1
done
kill -KILL "-$running" 2>/dev/null
wait "$running"
for _ in 1 2 3 4 5; do
  rm -rf -- "$folder" && break
  sleep 0.2
done
[ ! -e "$folder" ]
"#;

/// The words that run initdb and the server as their user, and the environment of both.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) words: Vec<String>,
    pub(crate) environment: Vec<(String, OsString)>,
}

/// A folder with a cluster in it, and the shell that keeps it.
#[derive(Debug)]
pub(crate) struct Supervisor {
    folder: PathBuf,
    shell: Child,
    /// Held open for as long as the cluster is wanted.
    pipe: Option<ChildStdin>,
}

/// A name for a private folder in `parent` that is not there yet.
pub(crate) fn name(parent: &Path) -> PathBuf {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    parent.join(format!("longshore-drill-{}-{:08x}", std::process::id(), now.subsec_nanos()))
}

impl Supervisor {
    /// Makes a cluster in `folder`, which must not be there, and waits until it answers.
    pub(crate) async fn start(folder: PathBuf, user: Option<User>, launch: Launch) -> Result<Self> {
        let supervisor = Self::begin(folder, user.as_ref(), launch)?;
        supervisor.ready().await?;
        Ok(supervisor)
    }

    fn begin(folder: PathBuf, user: Option<&User>, launch: Launch) -> Result<Self> {
        let owner = user.map_or_else(String::new, |User { uid, gid }| format!("{uid}:{gid}"));
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "longshore-drill"]).arg(&folder).arg(owner).args(launch.words);
        shell.env_clear().envs(launch.environment).current_dir("/");
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut shell = shell.spawn().map_err(|error| Error::io(Stage::Drill, "sh", "cannot be started", error))?;
        let (pipe, told) = (shell.stdin.take(), shell.stdout.take());
        let supervisor = Self { folder, shell, pipe };
        let mut line = String::new();
        let read = told.map(|told| BufReader::new(told).read_line(&mut line));
        if !matches!(read, Some(Ok(1..))) {
            return Err(supervisor.failed("cannot make a private folder for the cluster"));
        }
        Ok(supervisor)
    }

    /// Waits until the server says that it accepts connections, in the place where pg_ctl looks for it.
    async fn ready(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let status = self.text("data/postmaster.pid");
            if status.lines().nth(7).is_some_and(|line| line.trim_end() == "ready") {
                return Ok(());
            }
            if self.log().ends_with("longshore: ended\n") {
                return Err(self.failed("the cluster could not be made or started"));
            }
            if begun.elapsed() > START {
                return Err(self.failed(&format!("the cluster did not answer within {} s", START.as_secs())));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn log(&self) -> String {
        self.text("log")
    }

    /// The text of a file in the folder, where the server's user may put anything.
    fn text(&self, name: &str) -> String {
        let bytes = regular_file::read(&self.folder.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Why it could not be made, with what initdb or the server said, and the ways out.
    fn failed(&self, message: &str) -> Error {
        let log = self.log();
        let lines: Vec<&str> = log.lines().filter(|line| *line != "longshore: ended").map(message_of).collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        let hint = if is_short_of_room(&self.folder) { MORE_ROOM } else { WAYS_OUT };
        let error = Error::new(Stage::Drill, Kind::Failed, self.folder.display().to_string(), message).hint(hint);
        if last.is_empty() { error } else { error.because(last) }
    }

    /// Ends the server and removes the folder.
    pub(crate) fn end(mut self) -> Result<()> {
        self.close();
        if self.folder.exists() {
            let place = self.folder.display().to_string();
            return Err(Error::new(Stage::Drill, Kind::Failed, place, "the scratch cluster could not be removed")
                .hint("look whether a server still runs in it, end it, and remove the folder"));
        }
        Ok(())
    }

    fn close(&mut self) {
        self.pipe = None;
        let begun = Instant::now();
        while matches!(self.shell.try_wait(), Ok(None)) && begun.elapsed() < END {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// So little room that initdb cannot make a cluster.
const CLUSTER_BYTES: u64 = 64 << 20;
const MORE_ROOM: &str = "the file system is full, or nearly so: name a folder with more room: --scratch-dir DIR";
const WAYS_OUT: &str = "see what the program says: install a locale that it does not know (Debian: dpkg-reconfigure locales); \
     name a folder that the server's user can enter: --scratch-dir DIR; give settings of the server with \
     scratch = { type = \"initdb\", settings = { … } }";

/// Returns whether the file system that a folder is in, or was to be made in, has no room for a cluster.
fn is_short_of_room(folder: &Path) -> bool {
    let found = folder.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok());
    found.is_some_and(|found| found.f_bavail.saturating_mul(found.f_frsize) < CLUSTER_BYTES)
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.close();
    }
}

/// The message of a line of the log, without the prefix that the server's lines have.
fn message_of(line: &str) -> &str {
    let prefixes = LOG_LINE_PREFIX.matches('\t').count();
    match line.splitn(prefixes + 1, '\t').collect::<Vec<_>>()[..] {
        [state, .., message] if state.len() == 5 => message,
        _ => line,
    }
}

/// A command line as a shell reads it.
pub(crate) fn line(command: &[String]) -> String {
    command.iter().map(|word| word_of_shell(word)).collect::<Vec<_>>().join(" ")
}

/// A word that no shell takes apart.
fn word_of_shell(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_fails_shows_its_message_alone() {
        assert_eq!(message_of("42704\t\t\tFATAL:  no such locale"), "FATAL:  no such locale");
        assert_eq!(message_of("initdb: error: no\tsuch locale"), "initdb: error: no\tsuch locale");
        assert_eq!(message_of("\tcontinued"), "\tcontinued");
    }

    #[test]
    fn no_shell_takes_a_path_apart() {
        let words = ["/a b/it's", "$(touch /x)"].map(str::to_owned);
        assert_eq!(line(&words), r"'/a b/it'\''s' '$(touch /x)'");
    }
}
