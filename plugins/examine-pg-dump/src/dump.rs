//! The dump of a restored database, read as a stream.

use longshore_core::error::printable;
use longshore_core::manifest::Manifest;
use longshore_core::stream::{drain, tee};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::Facts;
use longshore_pg_client::child::{Exit, Pipes, Process};
use longshore_pg_client::client::Client;
use longshore_pg_client::money;
use longshore_pg_client::tool::Version;
use tokio::process::Command;

/// The encoding of the queried database.
const ENCODING: &str =
    "select to_json(pg_encoding_to_char(encoding)) from pg_catalog.pg_database where datname = current_database()";

/// The time to wait for the lock of a table.
const LOCK_TIMEOUT: &str = "60s";

/// Dumps a database as the backup was dumped, schema and data, and returns facts about its content.
/// The bytes are not stored.
pub(crate) async fn repeat(
    client: &Client,
    database: &str,
    manifest: &Manifest,
    recorded: &Facts,
    server: &Version,
) -> Result<Facts> {
    let pg_dump = client.tool("pg_dump", server).await?;
    let mut command = money::as_dumped(client, manifest.database.as_ref()).await?.command(&pg_dump);
    command.args(["--format=custom", "--compress=0"]);
    // The encoding of the backup: rows are compared as text.
    let encoding = match &manifest.database {
        Some(facts) => facts.encoding.clone(),
        None => client.query(ENCODING).await?,
    };
    command.arg(format!("--encoding={encoding}"));
    if recorded.tables.iter().any(|table| table.into.is_some()) {
        // Rows loaded through the root may be in other partitions: their sum is compared.
        command.arg("--load-via-partition-root");
    }
    read(client, database, command, "cannot dump the restored database again").await
}

/// Dumps a database of which no record exists, and returns facts about its content.
pub(crate) async fn first(client: &Client, database: &str, server: &Version) -> Result<Facts> {
    let mut command = client.command(&client.tool("pg_dump", server).await?);
    command.args(["--format=custom", "--compress=0"]);
    command.arg(format!("--encoding={}", client.query::<String>(ENCODING).await?));
    // A prepared transaction may hold a lock, which nothing releases.
    command.arg(format!("--lock-wait-timeout={LOCK_TIMEOUT}"));
    read(client, database, command, "cannot dump the restored database").await
}

/// Runs pg_dump, and returns facts about its output.
async fn read(client: &Client, database: &str, command: Command, failed: &'static str) -> Result<Facts> {
    let (client, label) = (client.clone(), database.to_owned());
    let failure = async move |exit: Exit| client.program_error(Stage::Verify, &label, &exit).await;
    let stream = Process::start(command, "pg_dump", Pipes::Output)?.into_stream(failure, |_| {});
    let label = database.to_owned();
    let (stream, facts) = tee(stream, database.to_owned(), move |reader| {
        longshore_pg_archive::read(reader, &mut |_| {}).map_err(|error| match error.io().and_then(Error::carried_by) {
            Some(carried) => carried.clone(),
            None => Error::new(Stage::Verify, Kind::Failed, &label, failed)
                .because(printable(&error.to_string()).to_string()),
        })
    });
    drain(stream).await?;
    facts.get().cloned().ok_or_else(|| {
        Error::new(Stage::Verify, Kind::Failed, database, "the dump of the restored database was not read")
    })
}
