//! The check of tables and indexes with `pg_amcheck`, for a database that was restored as files.

use longshore_core::drill::{Comparison, ComparisonOutcome};
use longshore_core::error::printable;
use longshore_core::stage::StructurePart;
use longshore_core::{Error, Result, Stage};
use longshore_pg_client::child::{Pipes, Process};
use longshore_pg_client::client::Client;
use longshore_pg_client::tool::{Tool, Version};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStdout, Command};

/// The maximum size of the output to keep, in bytes: a damaged table has a message for each row.
const MAX_OUTPUT_BYTES: u64 = 8 << 10;

/// The exit status of pg_amcheck if it found damage. Source: `main` in PostgreSQL's `pg_amcheck.c`.
const FOUND_DAMAGE: i32 = 2;

/// The facts that a check of a database depends on. An index is ordered by the collations of the
/// source, and looks damaged under another version of them.
const FACTS: &str = "select json_build_object(
    'has_extension', exists (select from pg_catalog.pg_available_extensions where name = 'amcheck'),
    'collations', (select coalesce(json_agg(format('%s is %s here, and was %s', name, coalesce(here, 'unversioned'), coalesce(recorded, 'unversioned'))), '[]')
        from (select 'the default collation' as name, datcollversion as recorded, pg_catalog.pg_database_collation_actual_version(oid) as here
            from pg_catalog.pg_database where datname = current_database()
            union all
            select 'collation ' || collname, collversion, pg_catalog.pg_collation_actual_version(c.oid) from pg_catalog.pg_collation c
            where collprovider <> 'd' and exists (select from pg_catalog.pg_index where c.oid = any(indcollation))) as used
        where recorded is distinct from here))";

/// The facts about a database and its server.
#[derive(Debug, Deserialize)]
struct Facts {
    /// True if the extension that pg_amcheck needs can be created.
    has_extension: bool,
    /// The collations that sort differently here, or may.
    collations: Vec<String>,
}

/// Checks the tables or the indexes of a database. The two are checked apart, because a damaged
/// index loses no rows.
pub(crate) async fn check(
    client: &Client,
    database: &str,
    server: &Version,
    part: StructurePart,
) -> Result<Vec<Comparison>> {
    let aspect = match part {
        StructurePart::Tables => "structure of tables",
        StructurePart::Indexes => "structure of indexes",
    };
    let pg_amcheck = match client.tool("pg_amcheck", server).await {
        Ok(pg_amcheck) => pg_amcheck,
        Err(error) => return Ok(vec![unchecked(database, aspect, error.to_string())]),
    };
    let facts: Facts = client.query(FACTS).await?;
    if !facts.has_extension {
        let reason = "the extension amcheck is not installed here".to_owned();
        return Ok(vec![unchecked(database, aspect, reason)]);
    }
    let mut command = command(client, &pg_amcheck);
    command.arg("--install-missing");
    match part {
        StructurePart::Tables => command.args(["--no-dependent-indexes", "--exclude-index=*"]),
        StructurePart::Indexes if !facts.collations.is_empty() => {
            return Ok(vec![unchecked(database, aspect, facts.collations.join("; "))]);
        }
        StructurePart::Indexes => command.arg("--index=*"),
    };
    let mut process = Process::start(command, "pg_amcheck", Pipes::Output)?;
    let text = beginning(process.stdout.take(), database).await?;
    let exit = process.wait().await?;
    let found = match exit.status.code() {
        Some(0) => (NO_DAMAGE.to_owned(), ComparisonOutcome::Same),
        Some(FOUND_DAMAGE) => (text, ComparisonOutcome::Different),
        _ => return Err(client.program_error(Stage::Verify, database, &exit).await),
    };
    Ok(vec![comparison(database, aspect, Some(found.0), found.1)])
}

const NO_DAMAGE: &str = "no damage";

fn comparison(database: &str, aspect: &str, found: Option<String>, outcome: ComparisonOutcome) -> Comparison {
    let expected = found.is_some().then(|| NO_DAMAGE.to_owned());
    Comparison { subject: format!("database {database}"), aspect: aspect.to_owned(), expected, found, outcome }
}

/// Returns the comparison for a part that was not checked.
fn unchecked(database: &str, aspect: &str, reason: String) -> Comparison {
    comparison(database, aspect, None, ComparisonOutcome::Not(reason))
}

/// Returns the command. pg_amcheck takes the connection string as its argument, and creates an
/// extension.
fn command(client: &Client, pg_amcheck: &Tool) -> Command {
    let usual = client.clone().writing().command(pg_amcheck);
    let usual = usual.as_std();
    let mut command = Command::new(usual.get_program());
    for (name, value) in usual.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    for argument in usual.get_args() {
        match argument.to_str().and_then(|argument| argument.strip_prefix("--dbname=")) {
            Some(connection) => command.arg(connection),
            None => command.arg(argument),
        };
    }
    command
}

/// Reads the output to its end, and returns its beginning.
async fn beginning(stdout: Option<ChildStdout>, database: &str) -> Result<String> {
    let Some(mut stdout) = stdout else { return Ok(String::new()) };
    let mut text = Vec::new();
    let read = async {
        (&mut stdout).take(MAX_OUTPUT_BYTES).read_to_end(&mut text).await?;
        tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await
    };
    read.await.map_err(|error| Error::io(Stage::Verify, database, "cannot read the output of pg_amcheck", error))?;
    Ok(printable(String::from_utf8_lossy(&text).trim_end()).to_string())
}
