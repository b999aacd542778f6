//! The shell that owns the directory of a drill, and runs the server on request. When the drill has
//! ended or Longshore was killed, the shell stops its processes and removes the directory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use longshore_core::{Error, Kind, Result, Stage, regular_file};
use longshore_pg_client::watchdog::{self, Watchdog};

use crate::configuration::LOG_LINE_PREFIX;
use crate::log;
use crate::prerequisites::User;

/// The maximum time for initdb and the start of the server together.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(180);

/// The number of last lines of the log shown if the creation of the cluster fails.
const LAST_LINES: usize = 8;

/// The shell script. `$1` is the directory, `$2` the owner of the server's directories, if other
/// than the current user, `$3` their names; the rest is the command that runs the server, which
/// starts with the first line of the input.
///
/// The server runs in its own session, so that one signal ends all of its processes.
const SCRIPT: &str = r#"
folder=$1
owner=$2
names=$3
shift 3
mkdir -m 711 -- "$folder" || exit 1
mkdir -m 700 -- "$folder/files" || exit 1
for name in $names; do
  mkdir -m 700 -- "$folder/$name" || exit 1
  if [ -n "$owner" ]; then chown -- "$owner" "$folder/$name" || exit 1; fi
done
umask 077
echo made
if read -r _; then
  setsid sh -c '"$@"; echo longshore: ended' longshore-drill "$@" </dev/null >"$folder/log" 2>&1 &
  running=$!
  cat >/dev/null
  kill -QUIT "-$running" 2>/dev/null
  tries=0
  while kill -0 "$running" 2>/dev/null && [ "$tries" -lt 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
  done
  kill -KILL "-$running" 2>/dev/null
  wait "$running"
fi
for _ in 1 2 3 4 5; do
  rm -rf -- "$folder" && break
  sleep 0.2
done
[ ! -e "$folder" ]
"#;

/// The command that runs initdb and the server as their user, and the environment of both.
#[derive(Debug)]
pub(crate) struct ServerCommand {
    pub(crate) words: Vec<String>,
    pub(crate) environment: Vec<(String, OsString)>,
}

/// A server in a private directory, and the shell that supervises it.
#[derive(Debug)]
pub(crate) struct SupervisedServer {
    folder: PathBuf,
    watchdog: Watchdog,
}

/// Returns an unused name for a private directory in `parent`.
pub(crate) fn name(parent: &Path) -> PathBuf {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    parent.join(format!("longshore-drill-{}-{:08x}", std::process::id(), now.subsec_nanos()))
}

impl SupervisedServer {
    /// Creates `folder`, which must not exist, with these directories of the server in it.
    pub(crate) fn create(
        folder: PathBuf,
        user: Option<&User>,
        names: &[String],
        server_command: ServerCommand,
    ) -> Result<Self> {
        let owner = user.map_or_else(String::new, |User { uid, gid }| format!("{uid}:{gid}"));
        let mut command = watchdog::command(SCRIPT);
        command.arg(&folder).arg(owner).arg(names.join(" ")).args(server_command.words);
        command.env_clear().envs(server_command.environment);
        match Watchdog::start(command)? {
            Some(watchdog) => Ok(Self { folder, watchdog }),
            None => Err(failed(&folder, "cannot create a private directory for the cluster")),
        }
    }

    /// Starts the server, and waits until it accepts connections.
    pub(crate) async fn start(&mut self, limit: Duration) -> Result<()> {
        self.watchdog.send("start").map_err(|error| {
            let folder = self.folder.display().to_string();
            Error::io(Stage::Drill, folder, "cannot reach the shell that starts the server", error)
        })?;
        self.wait_until_ready(limit).await
    }

    /// Waits until the server reports in its PID file, as pg_ctl does, that it accepts connections.
    async fn wait_until_ready(&self, limit: Duration) -> Result<()> {
        let started = Instant::now();
        loop {
            let status = text(&self.folder, "data/postmaster.pid");
            if status.lines().nth(7).is_some_and(|line| line.trim_end() == "ready") {
                return Ok(());
            }
            if text(&self.folder, "log").ends_with("longshore: ended\n") {
                return Err(failed(&self.folder, "the cluster could not be created or started"));
            }
            if started.elapsed() > limit {
                let message = format!("the cluster did not become ready within {} s", limit.as_secs());
                return Err(failed(&self.folder, &message));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops the server and removes the directory.
    pub(crate) fn end(self) -> Result<()> {
        let Self { folder, watchdog } = self;
        if !watchdog.end() && folder.exists() {
            let folder = folder.display().to_string();
            return Err(Error::new(Stage::Drill, Kind::Failed, folder, "the scratch cluster could not be removed")
                .hint("stop any server that still runs in it, and remove the directory"));
        }
        Ok(())
    }
}

/// Returns the text of a file in the directory, which the server's user may have replaced by
/// anything.
fn text(folder: &Path, name: &str) -> String {
    let bytes = regular_file::read(&folder.join(name)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the error of a failed creation, with the output of initdb or the server, the code of the
/// last failure in it, and a hint.
fn failed(folder: &Path, message: &str) -> Error {
    let log = text(folder, "log");
    let lines: Vec<&str> = log.lines().filter(|line| *line != "longshore: ended").map(log_message).collect();
    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
    let hint = if is_disk_full(folder) { SPACE_HINT } else { OUTPUT_HINT };
    let error = Error::new(Stage::Drill, Kind::Failed, folder.display().to_string(), message).hint(hint);
    let failure = log::failures(&log).pop();
    let error = failure.into_iter().fold(error, |error, failure| error.code(failure.sqlstate));
    if last.is_empty() { error } else { error.because(last) }
}

/// The free space below which initdb cannot create a cluster.
const CLUSTER_BYTES: u64 = 64 << 20;
const SPACE_HINT: &str =
    "the file system is full or nearly full: use a directory with more free space: --scratch-dir DIR";
const OUTPUT_HINT: &str = "check the output of the program: install a missing locale (Debian: dpkg-reconfigure locales); \
     use a directory that the server's user can enter: --scratch-dir DIR; change settings of the server with \
     scratch = { type = \"initdb\", settings = { … } }";

/// Returns true if the file system of the directory has too little space for a cluster.
fn is_disk_full(folder: &Path) -> bool {
    let found = folder.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok());
    found.is_some_and(|found| found.f_bavail.saturating_mul(found.f_frsize) < CLUSTER_BYTES)
}

/// Returns the message in a line of the log, without the server's prefix.
fn log_message(line: &str) -> &str {
    let prefixes = LOG_LINE_PREFIX.matches('\t').count();
    match line.splitn(prefixes + 1, '\t').collect::<Vec<_>>()[..] {
        [state, .., message] if state.len() == 5 => message,
        _ => line,
    }
}

/// Quotes a command line for a shell.
pub(crate) fn shell_line(command: &[String]) -> String {
    command.iter().map(|word| shell_quote(word)).collect::<Vec<_>>().join(" ")
}

/// Quotes a word for a shell.
fn shell_quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_message_strips_the_prefix() {
        assert_eq!(log_message("42704\t\t\tFATAL:  no such locale"), "FATAL:  no such locale");
        assert_eq!(log_message("initdb: error: no\tsuch locale"), "initdb: error: no\tsuch locale");
        assert_eq!(log_message("\tcontinued"), "\tcontinued");
    }

    #[test]
    fn shell_line_quotes_each_word() {
        let words = ["/a b/it's", "$(touch /x)"].map(str::to_owned);
        assert_eq!(shell_line(&words), r"'/a b/it'\''s' '$(touch /x)'");
    }
}
