//! The shell that drops the databases of a drill, and removes its folder. It holds on to a pipe of ours: when that closes, because we are
//! done or have been killed, it asks the server to drop them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use longshore_pg_client::server::literal;
use longshore_pg_client::tool::Version;

/// How long the server may take to drop what was made.
const END: Duration = Duration::from_secs(120);

/// The first release that drops a database that somebody is still connected to.
const FORCE_SINCE: u32 = 13;

/// What the shell does: `$1` prints what psql is to do first, `$2` is what it is to do, `$3` the folder, the rest is psql,
/// connected. A connection that was just cut may hold the
/// server up once; and where we did not say that all is done, the server may still be making a database that nobody waits for any more.
const SCRIPT: &str = r#"
trap '' HUP INT TERM PIPE
first=$1
sql=$2
folder=$3
shift 3
echo ready
looks=3
told=$(cat)
[ "$told" = done ] && looks=1
for _ in 1 2 3 4 5 6 7; do
  printf '%s\n' "$first" | "$@" --no-align --tuples-only | "$@" >/dev/null
  printf '%s\n' "$sql" | "$@" >/dev/null && looks=$((looks - 1))
  [ "$told" = done ] || rm -rf -- "$folder"
  [ "$looks" = 0 ] && exit 0
  sleep 1
done
exit 1
"#;

/// The commands that drop the subscriptions of databases whose names begin with a prefix, which could not be dropped
/// else. Each is parted from its slot first: to drop it with its slot would act on the publisher.
fn subscriptions(prefix: &str) -> String {
    format!(
        "select pg_catalog.format(E'\\\\connect %I\\nalter subscription %I disable;\\nalter subscription %2$I set (slot_name = none);\\ndrop subscription %2$I;', datname, subname) \
         from pg_catalog.pg_subscription join pg_catalog.pg_database on pg_database.oid = subdbid \
         where pg_catalog.starts_with(datname::text, {}) and datname !~ '[[:cntrl:]]';",
        literal(prefix)
    )
}

/// A shell that waits for our end.
#[derive(Debug)]
pub(crate) struct Sweeper {
    shell: Child,
    /// Held open for as long as the databases are wanted.
    pipe: Option<ChildStdin>,
    prefix: String,
}

/// What the names of one drill's databases begin with, which no other's do.
pub(crate) fn prefix() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("longshore_drill_{:x}_{:x}_", now.as_millis(), std::process::id())
}

impl Sweeper {
    /// Starts to wait.
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
        let (pipe, told) = (shell.stdin.take(), shell.stdout.take());
        let sweeper = Self { shell, pipe, prefix: prefix.to_owned() };
        let mut line = String::new();
        match told.map(|told| BufReader::new(told).read_line(&mut line)) {
            Some(Ok(1..)) => Ok(sweeper),
            _ => Err(Error::new(Stage::Drill, Kind::Failed, "sh", "ended before it was to")),
        }
    }

    /// Drops the databases.
    pub(crate) fn end(mut self) -> Result<()> {
        let told = self.pipe.as_mut().is_some_and(|pipe| pipe.write_all(b"done").is_ok());
        if self.close() && told {
            return Ok(());
        }
        let message = "the databases of the drill could not be dropped";
        Err(Error::new(Stage::Drill, Kind::Failed, "scratch", message)
            .hint(format!("drop by hand those whose names begin with \"{}\"", self.prefix)))
    }

    /// Whether they were dropped.
    fn close(&mut self) -> bool {
        self.pipe = None;
        let begun = Instant::now();
        loop {
            match self.shell.try_wait() {
                Ok(Some(status)) => return status.success(),
                Ok(None) if begun.elapsed() < END => std::thread::sleep(Duration::from_millis(5)),
                _ => return false,
            }
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.close();
    }
}
