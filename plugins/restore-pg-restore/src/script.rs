//! Restores scripts with psql: scripts of one database, and scripts of a whole cluster, whose roles
//! may already exist.

use std::collections::BTreeSet;

use bytes::BytesMut;
use futures_util::StreamExt;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::Scripts;
use longshore_core::stream::{self, ByteStream};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::statements::{self, PartKind, identifier_after};
use longshore_pg_client::child::{Pipes, Process, feed};
use longshore_pg_client::client::Client;
use longshore_pg_client::globals::{self, expect_unconverted};

use crate::stall::{self, ReadCounter};
use crate::{Restorer, psql, target_database};

/// The number of last bytes that must contain the completion mark, which only short text follows.
const MAX_TRAILER_BYTES: usize = 1024;

/// The effect of a failed script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureEffect {
    /// No effect: the script is one transaction.
    None,
    /// The statements before the failure remain.
    Part,
}

/// Restores the script of one database over `client`: completely or not at all.
pub(crate) async fn restore_database(
    restorer: &Restorer,
    client: &Client,
    manifest: &Manifest,
    mut plaintext: ByteStream,
) -> Result<()> {
    let label = manifest.subject.to_string();
    let head = plaintext.next().await.transpose()?.unwrap_or_default();
    expect_unconverted(&head, &label)?;
    // A script of pg_dump --create reconnects to another database, and so leaves its transaction.
    let reconnects = [&b"\n\\connect "[..], b"\nCREATE DATABASE "].iter().any(|pattern| find(&head, pattern).is_some());
    let effect = if reconnects { FailureEffect::Part } else { FailureEffect::None };
    let whole = stream::from_bytes(head).chain(plaintext).boxed();
    run(restorer, client, &label, expect_complete(whole, "-- PostgreSQL database dump complete", &label), effect).await
}

/// Runs a script over `client`. The first failed statement ends it.
async fn run(
    restorer: &Restorer,
    client: &Client,
    subject: &str,
    plaintext: ByteStream,
    effect: FailureEffect,
) -> Result<()> {
    let mut command = client.psql().await?;
    command.args(["--output=/dev/null", "--file=-"]);
    if effect == FailureEffect::None {
        command.arg("--single-transaction");
    }
    let read_counter = ReadCounter::default();
    let mut plaintext = read_counter.count(plaintext.fuse().boxed());
    let work = async {
        let mut process = Process::start(command, "psql", Pipes::Input)?;
        // If the stream fails, psql is terminated before the end of its input, and commits nothing.
        feed(&mut process.stdin, &mut plaintext, None).await?;
        let exit = process.wait().await?;
        if !exit.status.success() {
            return Err(client.sql_error(Stage::Restore, subject, &exit).await);
        }
        stream::drain(plaintext).await
    };
    stall::wait(client, subject, restorer.target.stall_timeout, &read_counter, work).await
}

/// Passes a script on, but holds its end back until the completion mark is found: `psql` accepts a
/// truncated script as complete.
fn expect_complete(mut script: ByteStream, mark: &'static str, subject: &str) -> ByteStream {
    let subject = subject.to_owned();
    let stream = async_stream::try_stream! {
        let mut held = BytesMut::new();
        while let Some(chunk) = script.next().await {
            held.extend_from_slice(&chunk?);
            if held.len() > MAX_TRAILER_BYTES {
                let end = held.split_off(held.len() - MAX_TRAILER_BYTES);
                yield std::mem::replace(&mut held, end).freeze();
            }
        }
        if find(&held, mark.as_bytes()).is_none() {
            let message = format!("the script is truncated: it does not end with \"{mark}\"");
            Err(Error::new(Stage::Restore, Kind::Corrupt, subject, message)
                .hint("restore another backup, as listed by `longshore list`"))?;
        }
        yield held.freeze();
    };
    stream.boxed()
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|window| window == pattern)
}

/// Restores globals, or a cluster's whole script. Existing roles and tablespaces stay unchanged,
/// and are reported.
pub(crate) async fn restore_cluster(
    restorer: &Restorer,
    manifest: &Manifest,
    plaintext: ByteStream,
) -> Result<Vec<String>> {
    let label = manifest.subject.to_string();
    let client = target_database::maintenance(&restorer.client, "");
    let databases = matches!(manifest.subject, Subject::All | Subject::Schema);
    let mark = "-- PostgreSQL database cluster dump complete";
    let (globals, rest) = globals::split(expect_complete(plaintext, mark, &label), &label).await?;
    let globals = std::str::from_utf8(&globals).map_err(|error| {
        Error::new(Stage::Restore, Kind::Corrupt, &label, "the globals are not UTF-8").because(error)
    })?;
    let existing = ExistingNames {
        roles: client.query("select coalesce(json_agg(rolname), '[]') from pg_catalog.pg_roles").await?,
        tablespaces: client.query("select coalesce(json_agg(spcname), '[]') from pg_catalog.pg_tablespace").await?,
    };
    let (mut script, notes) = existing.without_existing(globals);
    if databases {
        let whole = stream::from_bytes(script).chain(rest).boxed();
        run(restorer, &client, &label, whole, FailureEffect::Part).await.map_err(|error| match error.remedy() {
            Some(_) => error,
            None => {
                error.hint("the statements before it were executed: drop the created objects, or use a new cluster")
            }
        })?;
        return Ok(notes);
    }
    if restorer.target.scripts == Scripts::Harmless {
        script = psql::without_commands(&script, &label)?;
    }
    // CREATE TABLESPACE cannot run in a transaction.
    let effect = if script.contains("CREATE TABLESPACE ") { FailureEffect::Part } else { FailureEffect::None };
    run(restorer, &client, &label, stream::from_bytes(script), effect).await?;
    Ok(notes)
}

/// The existing roles and tablespaces of the target.
struct ExistingNames {
    roles: BTreeSet<String>,
    tablespaces: BTreeSet<String>,
}

impl ExistingNames {
    /// Returns the script without statements that would create existing objects, or change their
    /// attributes or passwords.
    fn without_existing(&self, script: &str) -> (String, Vec<String>) {
        let mut kept = String::with_capacity(script.len());
        let mut notes = Vec::new();
        for part in statements::split(script) {
            let existing_name = |prefix, names: &BTreeSet<String>| {
                // A psql command in a statement extends it to the end of the script.
                let statement = (part.kind == PartKind::Statement).then_some(part.text);
                statement.and_then(|text| identifier_after(text, prefix)).filter(|(name, _)| names.contains(name))
            };
            if let Some((name, _)) = existing_name("CREATE ROLE ", &self.roles) {
                notes.push(format!("role \"{name}\" already exists, and keeps its attributes and password"));
            } else if let Some((name, _)) = existing_name("CREATE TABLESPACE ", &self.tablespaces) {
                notes.push(format!("tablespace \"{name}\" already exists, and was not changed"));
            } else if existing_name("ALTER ROLE ", &self.roles).is_some_and(|(_, after)| after.starts_with(" WITH ")) {
                // Attributes and password, covered by the note about the role.
            } else {
                kept.push_str(part.text);
            }
        }
        (kept, notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_roles_are_unchanged() {
        let names = ExistingNames {
            roles: ["postgres".into(), "od\"d".into()].into(),
            tablespaces: ["pg_default".into()].into(),
        };
        let script = "CREATE ROLE app;\nALTER ROLE app WITH LOGIN PASSWORD 'x';\nCREATE ROLE postgres;\nALTER ROLE postgres WITH SUPERUSER PASSWORD 'y';\nCREATE ROLE \"od\"\"d\";\nALTER ROLE postgres SET work_mem TO '4MB';\nGRANT app TO postgres;\n";
        let (kept, notes) = names.without_existing(script);
        assert_eq!(
            kept,
            "CREATE ROLE app;\nALTER ROLE app WITH LOGIN PASSWORD 'x';\nALTER ROLE postgres SET work_mem TO '4MB';\nGRANT app TO postgres;\n"
        );
        assert_eq!(notes.len(), 2);
        // A psql command hides nothing of the script.
        let hostile = "CREATE ROLE postgres \\! id\nCREATE ROLE other;\n";
        assert_eq!(names.without_existing(hostile), (hostile.to_owned(), Vec::new()));
    }

    #[tokio::test]
    async fn truncated_script_fails_before_its_last_bytes() {
        let whole = format!("{}-- mark\n\\unrestrict x\n", "INSERT INTO t VALUES (1);\n".repeat(500));
        for length in [1, 7, 4000, 100_000] {
            let chunks = |text: &str| {
                let chunks: Vec<_> = text.as_bytes().chunks(length).map(|chunk| Ok(chunk.to_vec().into())).collect();
                expect_complete(futures_util::stream::iter(chunks).boxed(), "-- mark", "appdb")
            };
            let passed = stream::collect(chunks(&whole), 1 << 20, Stage::Restore, "").await.unwrap();
            assert_eq!(passed, whole);
            let mut cut = chunks(&whole[..8000]);
            let mut bytes = 0;
            let error = loop {
                match cut.next().await.unwrap() {
                    Ok(chunk) => bytes += chunk.len(),
                    Err(error) => break error,
                }
            };
            assert_eq!((error.kind(), bytes <= 8000 - MAX_TRAILER_BYTES), (Kind::Corrupt, true));
        }
    }
}
