//! The shell that drops the databases of a drill and removes its directory. The shell reads a pipe:
//! when the pipe closes, because the drill has ended or Longshore was killed, the shell drops the
//! databases.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use longshore_pg_client::server::literal;
use longshore_pg_client::tool::Version;

/// The maximum time for dropping the databases.
const DROP_TIMEOUT: Duration = Duration::from_secs(120);

/// The first release that can drop a database with open connections.
const FORCE_SINCE: u32 = 13;

/// The cleanup script. `$1` prints the first commands for psql, `$2` contains the further ones,
/// `$3` is the directory, and the rest is the psql command line. The loop retries, for a connection
/// that was just cut may block a drop. Without "done" on the pipe, the loop continues after the
/// first success: the server may still be creating a database.
const SCRIPT: &str = r#"
trap '' HUP INT TERM PIPE
first=$1
sql=$2
folder=$3
shift 3
echo ready
looks=3
word=$(cat)
[ "$word" = done ] && looks=1
for _ in 1 2 3 4 5 6 7; do
  printf '%s\n' "$first" | "$@" --no-align --tuples-only | "$@" >/dev/null
  printf '%s\n' "$sql" | "$@" >/dev/null && looks=$((looks - 1))
  [ "$word" = done ] || rm -rf -- "$folder"
  [ "$looks" = 0 ] && exit 0
  sleep 1
done
exit 1
"#;

/// Returns commands that drop the subscriptions of databases whose names begin with a prefix, for
/// subscriptions block dropping a database. Each is detached from its slot first: dropping it with
/// the slot would change the publisher.
fn subscriptions(prefix: &str) -> String {
    format!(
        "select pg_catalog.format(E'\\\\connect %I\\nalter subscription %I disable;\\nalter subscription %2$I set (slot_name = none);\\ndrop subscription %2$I;', datname, subname) \
         from pg_catalog.pg_subscription join pg_catalog.pg_database on pg_database.oid = subdbid \
         where pg_catalog.starts_with(datname::text, {}) and datname !~ '[[:cntrl:]]';",
        literal(prefix)
    )
}

/// A shell that waits for the end of the drill.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    /// The pipe, open as long as the databases are needed.
    pipe: Option<ChildStdin>,
    prefix: String,
}

/// Returns the unique prefix of the names of one drill's databases.
pub(crate) fn prefix() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("longshore_drill_{:x}_{:x}_", now.as_millis(), std::process::id())
}

impl Watchdog {
    /// Starts the shell.
    pub(crate) async fn start(client: &Client, prefix: &str, folder: &Path, version: &Version) -> Result<Self> {
        let force = if version.major >= FORCE_SINCE { " with (force)" } else { "" };
        let sql = format!(
            "select pg_catalog.format('drop database %I{force}', datname) from pg_catalog.pg_database where pg_catalog.starts_with(datname::text, {}) \\gexec",
            literal(prefix)
        );
        let psql = client.psql().await?;
        let psql = psql.as_std();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", SCRIPT, "longshore-drill", &subscriptions(prefix), &sql])
            .arg(folder)
            .arg(psql.get_program())
            .args(psql.get_args());
        for (name, value) in psql.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut shell = shell.spawn().map_err(|error| Error::io(Stage::Drill, "sh", "cannot be started", error))?;
        let (pipe, stdout) = (shell.stdin.take(), shell.stdout.take());
        let watchdog = Self { shell, pipe, prefix: prefix.to_owned() };
        let mut line = String::new();
        match stdout.map(|stdout| BufReader::new(stdout).read_line(&mut line)) {
            Some(Ok(1..)) => Ok(watchdog),
            _ => Err(Error::new(Stage::Drill, Kind::Failed, "sh", "exited unexpectedly")),
        }
    }

    /// Drops the databases.
    pub(crate) fn end(mut self) -> Result<()> {
        let is_notified = self.pipe.as_mut().is_some_and(|pipe| pipe.write_all(b"done").is_ok());
        if self.close() && is_notified {
            return Ok(());
        }
        let message = "the databases of the drill could not be dropped";
        Err(Error::new(Stage::Drill, Kind::Failed, "scratch", message)
            .hint(format!("drop the databases whose names begin with \"{}\" manually", self.prefix)))
    }

    /// Closes the pipe; returns true if the databases were dropped.
    fn close(&mut self) -> bool {
        self.pipe = None;
        let started = Instant::now();
        loop {
            match self.shell.try_wait() {
                Ok(Some(status)) => return status.success(),
                Ok(None) if started.elapsed() < DROP_TIMEOUT => std::thread::sleep(Duration::from_millis(5)),
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
