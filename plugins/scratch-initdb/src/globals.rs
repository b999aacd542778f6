//! The parts of a cluster's globals that only fit their original host: locations of tablespaces,
//! grantors, settings of the cluster's owner.

use futures_util::StreamExt;
use longshore_core::Result;
use longshore_core::stream::{self, ByteStream};
use longshore_pg_archive::statements::{self, PartKind, identifier_after};
use longshore_pg_client::globals;

use crate::SUPERUSER;

/// Adapts a cluster's script, or its globals, to a scratch cluster.
pub(crate) async fn adapt(plaintext: ByteStream, subject: &str) -> Result<(ByteStream, Vec<String>)> {
    let (globals, rest) = globals::split(plaintext, subject).await?;
    let (text, notes) = adapt_bytes(&globals);
    Ok((stream::from_bytes(text).chain(rest).boxed(), notes))
}

/// Adapts a script in any encoding: all encodings of a server contain ASCII.
fn adapt_bytes(script: &[u8]) -> (Vec<u8>, Vec<String>) {
    if let Ok(script) = std::str::from_utf8(script) {
        let (text, notes) = adapt_statements(script);
        return (text.into_bytes(), notes);
    }
    let letters: String = script.iter().map(|byte| char::from(*byte)).collect();
    let (text, notes) = adapt_statements(&letters);
    (text.chars().filter_map(|letter| u8::try_from(letter).ok()).collect(), notes)
}

/// Adapts the statements of a script that only fit another host.
fn adapt_statements(script: &str) -> (String, Vec<String>) {
    let mut text = String::with_capacity(script.len());
    let mut notes = Vec::new();
    for part in statements::split(script) {
        let statement = part.text;
        if part.kind != PartKind::Statement {
            // A statement with a psql command extends to the end of the script.
            text.push_str(statement);
        } else if let Some((name, _)) = identifier_after(statement, "CREATE TABLESPACE ")
            && let Some((before, _)) = statement.rsplit_once(" LOCATION ")
        {
            text.push_str(before);
            text.push_str(" LOCATION '';\n");
            notes.push(format!(
                "tablespace \"{name}\" is placed within the scratch cluster, not at its original location"
            ));
        } else if identifier_after(statement, "ALTER ROLE ")
            .is_some_and(|(name, after)| name == SUPERUSER && !after.starts_with(" WITH "))
        {
            // The restore runs as this role, and its original settings may interfere.
            notes.push(format!("the settings of role \"{SUPERUSER}\", which runs the restore, were skipped"));
        } else if let Some(granted) = without_grantor(statement) {
            text.push_str(&granted);
        } else {
            text.push_str(statement);
        }
    }
    (text, notes)
}

/// Returns a membership without its grantor, unless that is the owner of our cluster: since
/// PostgreSQL 16, only the owner of a cluster may grant any role in its own name, and the original
/// cluster may have had another owner.
fn without_grantor(statement: &str) -> Option<String> {
    let (before, grantor) = statement.strip_prefix("GRANT ").and(statement.rsplit_once(" GRANTED BY "))?;
    let (name, _) = identifier_after(grantor, "")?;
    (name != SUPERUSER).then(|| format!("{before};\n"))
}

#[cfg(test)]
mod tests {
    use longshore_core::Stage;

    use super::*;

    #[test]
    fn host_specific_statements_are_adapted() {
        let script = "CREATE ROLE app;\nCREATE TABLESPACE \"a LOCATION b\" OWNER app LOCATION '/srv/it''s';\n\
             ALTER ROLE postgres SET default_transaction_read_only TO 'on';\nALTER ROLE app SET work_mem TO '4MB';\n\
             GRANT app TO web WITH INHERIT TRUE GRANTED BY admin;\nGRANT app TO api GRANTED BY postgres;\n";
        let (text, notes) = adapt_statements(script);
        assert_eq!(
            text,
            "CREATE ROLE app;\nCREATE TABLESPACE \"a LOCATION b\" OWNER app LOCATION '';\nALTER ROLE app SET work_mem TO '4MB';\n\
             GRANT app TO web WITH INHERIT TRUE;\nGRANT app TO api GRANTED BY postgres;\n"
        );
        assert_eq!(notes.len(), 2, "{notes:?}");
    }

    #[test]
    fn adapt_keeps_the_encoding() {
        let script = b"CREATE ROLE \"J\xfcrgen\";\nCREATE TABLESPACE t OWNER \"J\xfcrgen\" LOCATION '/srv';\n";
        let (text, notes) = adapt_bytes(script);
        assert_eq!(text, b"CREATE ROLE \"J\xfcrgen\";\nCREATE TABLESPACE t OWNER \"J\xfcrgen\" LOCATION '';\n");
        assert_eq!(notes.len(), 1);
    }

    #[tokio::test]
    async fn adapt_leaves_databases_unchanged() {
        let script =
            "CREATE TABLESPACE t LOCATION '/srv';\n\\connect template1\nCREATE TABLESPACE t LOCATION '/srv';\n";
        let bytes = futures_util::stream::iter(script.bytes().map(|byte| Ok(bytes::Bytes::from(vec![byte]))));
        let (stream, _) = adapt(bytes.boxed(), "all").await.unwrap();
        let text = stream::collect(stream, 1000, Stage::Restore, "").await.unwrap();
        assert_eq!(
            text,
            "CREATE TABLESPACE t LOCATION '';\n\\connect template1\nCREATE TABLESPACE t LOCATION '/srv';\n"
        );
    }
}
