//! The shell that drops the databases of a drill and removes its directory, when the drill has
//! ended or Longshore was killed.

use std::path::Path;

use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use longshore_pg_client::server::literal;
use longshore_pg_client::tool::Version;
use longshore_pg_client::watchdog::{self, Watchdog};

/// The first release that can drop a database with open connections.
const FORCE_SINCE: u32 = 13;

/// The cleanup script. `$1` prints the first commands for psql, `$2` contains the further ones,
/// `$3` is the directory, and the rest is the psql command line. The loop retries, for a connection
/// that was just cut may block a drop. Without "done" on the pipe, the loop continues after the
/// first success: the server may still be creating a database.
const SCRIPT: &str = r#"
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

/// The cleanup of the databases of a drill.
#[derive(Debug)]
pub(crate) struct DatabaseCleanup {
    watchdog: Watchdog,
    prefix: String,
}

/// Returns the unique prefix of the names of one drill's databases.
pub(crate) fn prefix() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("longshore_drill_{:x}_{:x}_", now.as_millis(), std::process::id())
}

impl DatabaseCleanup {
    /// Starts the shell.
    pub(crate) async fn start(client: &Client, prefix: &str, folder: &Path, version: &Version) -> Result<Self> {
        let force = if version.major >= FORCE_SINCE { " with (force)" } else { "" };
        let sql = format!(
            "select pg_catalog.format('drop database %I{force}', datname) from pg_catalog.pg_database where pg_catalog.starts_with(datname::text, {}) \\gexec",
            literal(prefix)
        );
        let psql = client.psql().await?;
        let psql = psql.as_std();
        let mut command = watchdog::command(SCRIPT);
        command.args([&subscriptions(prefix), &sql]).arg(folder).arg(psql.get_program()).args(psql.get_args());
        for (name, value) in psql.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        match Watchdog::start(command)? {
            Some(watchdog) => Ok(Self { watchdog, prefix: prefix.to_owned() }),
            None => Err(Error::new(Stage::Drill, Kind::Failed, "sh", "exited unexpectedly")),
        }
    }

    /// Drops the databases.
    pub(crate) fn end(self) -> Result<()> {
        if self.watchdog.end() {
            return Ok(());
        }
        let message = "the databases of the drill could not be dropped";
        Err(Error::new(Stage::Drill, Kind::Failed, "scratch", message)
            .hint(format!("drop the databases whose names begin with \"{}\" manually", self.prefix)))
    }
}
