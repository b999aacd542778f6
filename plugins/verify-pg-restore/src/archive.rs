//! Archives: `pg_restore` turns the whole of them into SQL that nobody keeps.

use std::path::Path;
use std::time::Duration;

use longshore_core::manifest::Verification;
use longshore_core::stream::ByteStream;
use longshore_core::{Kind, Result, Stage};
use longshore_pg_client::child::{Ended, Pipes, Running, feed};
use longshore_pg_client::client::{Client, plain_command};
use longshore_pg_client::directory;
use longshore_pg_client::tool::Tool;

/// Judges an archive in a format that can be read from a pipe.
pub(crate) async fn judge_stream(
    client: &Client,
    format: &str,
    plaintext: ByteStream,
    subject: &str,
    patience: Duration,
) -> Result<Verification> {
    let pg_restore = client.newest_tool("pg_restore").await?;
    let mut command = plain_command(&pg_restore);
    command.args(["--file=/dev/null", &format!("--format={format}")]);
    let mut running = Running::start(command, "pg_restore", Pipes::Input)?;
    feed(&mut running.stdin, plaintext, Some(patience)).await?;
    verdict(&running.wait_at_most(patience).await?, &pg_restore, subject)
}

/// Judges a directory dump, which `pg_restore` reads from files alone.
pub(crate) async fn judge_folder(
    client: &Client,
    scratch: Option<&Path>,
    plaintext: ByteStream,
    subject: &str,
    patience: Duration,
) -> Result<Verification> {
    let pg_restore = client.newest_tool("pg_restore").await?;
    let folder = directory::private_folder(scratch, Stage::Verify)?;
    directory::unpack(plaintext, folder.path(), Stage::Verify, subject).await?;
    let mut command = plain_command(&pg_restore);
    command.args(["--file=/dev/null", "--format=directory"]).arg(folder.path().join("dump"));
    let running = Running::start(command, "pg_restore", Pipes::Neither)?;
    verdict(&running.wait_at_most(patience).await?, &pg_restore, subject)
}

fn verdict(ended: &Ended, pg_restore: &Tool, subject: &str) -> Result<Verification> {
    if !ended.status.success() {
        return Err(ended.error(Stage::Verify, Kind::Corrupt, subject));
    }
    Ok(Verification {
        by: format!("{} {}", pg_restore.name, pg_restore.version),
        method: "decoded".to_owned(),
        totals: std::collections::BTreeMap::new(),
    })
}
