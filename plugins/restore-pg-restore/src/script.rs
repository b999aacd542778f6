//! psql: scripts of one database, and scripts of a whole cluster, whose roles may be there already.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use longshore_core::manifest::Manifest;
use longshore_core::stream::{self, ByteStream};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::child::{Pipes, Running, feed};
use longshore_pg_client::client::Client;
use longshore_pg_client::script::{identifier_after, statements};

use crate::{Restorer, landing};

/// The most bytes that the roles and tablespaces of a cluster may take.
const MAX_GLOBALS_BYTES: usize = 256 << 20;

/// What begins the first database of a cluster's script.
const FIRST_DATABASE: &[u8] = b"\n\\connect ";

/// Restores a script by way of `client`. The first statement that fails ends it.
pub(crate) async fn restore(client: &Client, subject: &str, plaintext: ByteStream) -> Result<()> {
    let mut command = client.psql().await?;
    command.args(["--output=/dev/null", "--file=-"]);
    let mut running = Running::start(command, "psql", Pipes::Input)?;
    let mut plaintext = plaintext.fuse().boxed();
    feed(&mut running.stdin, &mut plaintext, None).await?;
    let ended = running.wait().await?;
    if !ended.status.success() {
        return Err(client.failure(Stage::Restore, subject, &ended));
    }
    stream::drain(plaintext).await
}

/// Restores globals, or a cluster's whole script. Roles and tablespaces that are there already are left as they are, which is said.
pub(crate) async fn restore_cluster(
    restorer: &Restorer,
    manifest: &Manifest,
    plaintext: ByteStream,
) -> Result<Vec<String>> {
    let label = manifest.subject.to_string();
    let client = landing::maintenance(&restorer.client, "");
    let (globals, rest) = globals(plaintext, &label).await?;
    let there = Names {
        roles: client.ask("select coalesce(json_agg(rolname), '[]') from pg_catalog.pg_roles").await?,
        tablespaces: client.ask("select coalesce(json_agg(spcname), '[]') from pg_catalog.pg_tablespace").await?,
    };
    let (script, notes) = there.leave(&globals);
    let whole = stream::from_bytes(script).chain(rest).boxed();
    restore(&client, &label, whole).await?;
    Ok(notes)
}

/// Reads a cluster's script up to its first database: the globals, and a stream of the rest.
async fn globals(plaintext: ByteStream, subject: &str) -> Result<(String, ByteStream)> {
    let mut plaintext = plaintext.fuse();
    let mut text = BytesMut::new();
    let mut searched = 0;
    let end = loop {
        let found = text[searched..].windows(FIRST_DATABASE.len()).position(|window| window == FIRST_DATABASE);
        if let Some(place) = found {
            break searched + place + 1;
        }
        searched = text.len().saturating_sub(FIRST_DATABASE.len());
        match plaintext.next().await {
            Some(chunk) => text.extend_from_slice(&chunk?),
            None => break text.len(),
        }
        if text.len() > MAX_GLOBALS_BYTES {
            let message = format!("the globals are larger than {MAX_GLOBALS_BYTES} bytes");
            return Err(Error::new(Stage::Restore, Kind::Corrupt, subject, message));
        }
    };
    let rest: Bytes = text.split_off(end).freeze();
    let text = String::from_utf8(text.into()).map_err(|error| {
        Error::new(Stage::Restore, Kind::Corrupt, subject, "the globals are not UTF-8").because(error)
    })?;
    Ok((text, stream::from_bytes(rest).chain(plaintext).boxed()))
}

/// What the target has already.
struct Names {
    roles: BTreeSet<String>,
    tablespaces: BTreeSet<String>,
}

impl Names {
    /// The script without the statements that would make, or change the attributes or password of, what is there.
    fn leave(&self, script: &str) -> (String, Vec<String>) {
        let mut kept = String::with_capacity(script.len());
        let mut notes = Vec::new();
        for statement in statements(script) {
            let made = |prefix, names: &BTreeSet<String>| {
                identifier_after(statement, prefix).filter(|(name, _)| names.contains(name))
            };
            if let Some((name, _)) = made("CREATE ROLE ", &self.roles) {
                notes.push(format!("role \"{name}\" is there already, and keeps its attributes and password"));
            } else if let Some((name, _)) = made("CREATE TABLESPACE ", &self.tablespaces) {
                notes.push(format!("tablespace \"{name}\" is there already, and was left as it is"));
            } else if made("ALTER ROLE ", &self.roles).is_some_and(|(_, after)| after.starts_with(" WITH ")) {
                // Its attributes and password, noted with the role.
            } else {
                kept.push_str(statement);
            }
        }
        (kept, notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_that_are_there_are_left_as_they_are_and_the_rest_is_made() {
        let names =
            Names { roles: ["postgres".into(), "od\"d".into()].into(), tablespaces: ["pg_default".into()].into() };
        let script = "CREATE ROLE app;\nALTER ROLE app WITH LOGIN PASSWORD 'x';\nCREATE ROLE postgres;\nALTER ROLE postgres WITH SUPERUSER PASSWORD 'y';\nCREATE ROLE \"od\"\"d\";\nALTER ROLE postgres SET work_mem TO '4MB';\nGRANT app TO postgres;\n";
        let (kept, notes) = names.leave(script);
        assert_eq!(
            kept,
            "CREATE ROLE app;\nALTER ROLE app WITH LOGIN PASSWORD 'x';\nALTER ROLE postgres SET work_mem TO '4MB';\nGRANT app TO postgres;\n"
        );
        assert_eq!(notes.len(), 2);
    }

    #[tokio::test]
    async fn the_globals_end_where_the_first_database_begins() {
        let script = "CREATE ROLE app;\n\\connect template1\nCREATE TABLE t ();\n";
        let bytes = futures_util::stream::iter(script.bytes().map(|byte| Ok(Bytes::from(vec![byte]))));
        let (globals, rest) = globals(bytes.boxed(), "all").await.unwrap();
        assert_eq!(globals, "CREATE ROLE app;\n");
        let rest = stream::collect(rest, 1000, Stage::Restore, "").await.unwrap();
        assert_eq!(rest, "\\connect template1\nCREATE TABLE t ();\n");
    }
}
