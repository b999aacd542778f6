//! Compares definitions while a dump is streamed to a restore, before the restore receives a byte
//! if possible.

use futures_util::{StreamExt, TryStreamExt};
use longshore_core::drill::{Comparison, differences_error};
use longshore_core::error::printable;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::stream::{self, ByteStream, tee};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::{ErrorKind, outline};

use crate::comparison::RecordedFacts;
use crate::convert_error;

/// The maximum size of a script that is read completely before it is passed on. Larger than the
/// globals of any cluster.
const MAX_SCRIPT_BYTES: usize = 16 << 20;
/// The maximum size of a table of contents: that of a million tables is smaller.
const MAX_CONTENTS_BYTES: usize = 1 << 29;
/// The start of a tar whose first file is its table of contents.
const TAR_TOC: &[u8] = b"toc.dat\0";

/// Passes the bytes on unchanged if their definitions match the record.
pub(crate) fn check_definitions(recorded: RecordedFacts, manifest: &Manifest, plaintext: ByteStream) -> ByteStream {
    let subject = manifest.subject.to_string();
    let is_script = manifest.artifact.format == Format::Plain;
    let checked = async move {
        match is_script {
            true => script(recorded, subject, plaintext).await,
            false => archive(recorded, subject, plaintext).await,
        }
    };
    futures_util::stream::once(checked).try_flatten().boxed()
}

/// Reads the table of contents first. An archive in an unknown version is passed on: pg_restore may
/// support it.
async fn archive(recorded: RecordedFacts, subject: String, plaintext: ByteStream) -> Result<ByteStream> {
    let mut plaintext = plaintext.fuse();
    let (mut bytes, mut tried) = (Vec::new(), 0);
    loop {
        let next = plaintext.next().await.transpose()?;
        let is_end = next.is_none();
        bytes.extend_from_slice(&next.unwrap_or_default());
        // Each attempt parses from the start: attempts at doubled sizes keep the total work linear.
        if !is_end && bytes.len() < 2 * tried {
            continue;
        }
        tried = bytes.len();
        match outline::contents(&bytes) {
            Ok(Some(found)) => {
                require_equal(&recorded.compare_contents(&found), &subject)?;
                break;
            }
            Ok(None) if bytes.len() > MAX_CONTENTS_BYTES => {
                let message = format!("its table of contents is larger than {} MiB", MAX_CONTENTS_BYTES >> 20);
                return Err(Error::new(Stage::Verify, Kind::Failed, subject, message));
            }
            Ok(None) if is_end => break,
            Ok(None) => {}
            Err(_) if !bytes.starts_with(b"PGDMP") && !bytes.starts_with(TAR_TOC) => {
                // The files were packed by another program: the table of contents may be at the
                // end.
                let whole = stream::from_bytes(bytes).chain(plaintext).boxed();
                return Ok(check_while_streaming(recorded, subject, whole));
            }
            Err(error) if error.kind == ErrorKind::Damaged => {
                let message = "its table of contents is damaged";
                let why = printable(&error.to_string());
                return Err(Error::new(Stage::Verify, Kind::Corrupt, subject, message).because(why));
            }
            Err(_) => break,
        }
    }
    Ok(stream::from_bytes(bytes).chain(plaintext).boxed())
}

/// Reads a small script completely before passing it on, and a large one while it passes.
async fn script(recorded: RecordedFacts, subject: String, plaintext: ByteStream) -> Result<ByteStream> {
    let mut plaintext = plaintext.fuse();
    let mut bytes = Vec::new();
    while bytes.len() <= MAX_SCRIPT_BYTES {
        let Some(chunk) = plaintext.next().await else {
            let found = longshore_pg_archive::read(&bytes[..], &mut |_| {});
            let found = found.map_err(|error| convert_error(error, &subject))?;
            require_equal(&recorded.compare_contents(&found.contents()), &subject)?;
            return Ok(stream::from_bytes(bytes));
        };
        bytes.extend_from_slice(&chunk?);
    }
    Ok(check_while_streaming(recorded, subject, stream::from_bytes(bytes).chain(plaintext).boxed()))
}

/// Reads a whole dump while it passes.
fn check_while_streaming(recorded: RecordedFacts, subject: String, plaintext: ByteStream) -> ByteStream {
    let label = subject.clone();
    let (stream, _) = tee(plaintext, label, move |reader| {
        let found = longshore_pg_archive::read(reader, &mut |_| {}).map_err(|error| convert_error(error, &subject))?;
        require_equal(&recorded.compare_contents(&found.contents()), &subject)
    });
    stream
}

fn require_equal(differences: &[Comparison], subject: &str) -> Result<()> {
    if differences.is_empty() { Ok(()) } else { Err(differences_error(subject, differences)) }
}

#[cfg(test)]
mod tests {
    use longshore_core::stage::Verify;
    use longshore_core::stream::{collect, from_bytes};

    use super::*;
    use crate::{Reader, to_findings};

    const SCRIPT: &str = "--\n-- PostgreSQL database cluster dump\n--\n\nCREATE ROLE app;\nALTER ROLE app WITH NOSUPERUSER;\n\n\
        --\n-- PostgreSQL database cluster dump complete\n--\n\n";

    fn manifest() -> Manifest {
        serde_json::from_value(serde_json::json!({
            "format": 1, "longshore": "0.1.0", "job": "nightly", "run": "r", "run_backups": 1,
            "time": "2026-06-07T09:15:00Z", "started": "2026-06-07T09:15:00Z", "finished": "2026-06-07T09:15:00Z",
            "cluster": { "name": "main", "server_version": "17.4" }, "subject": { "kind": "globals" },
            "tool": { "name": "pg_dumpall", "version": "17.4" }, "verified": [],
            "artifact": {
                "key": "main/globals/globals-2026-06-07_091500.sql", "format": "plain",
                "plaintext": { "bytes": 1, "sha256": "0".repeat(64) },
                "sealed": { "bytes": 1, "sha256": "0".repeat(64) },
            },
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn changed_script_passes_no_byte() {
        let facts = longshore_pg_archive::read(SCRIPT.as_bytes(), &mut |_| {}).unwrap();
        let mut details = to_findings(&facts, "").unwrap().details;
        let pass = |script: String, details: &serde_json::Map<String, serde_json::Value>| {
            Reader.expect_recorded(&manifest(), details, from_bytes(script))
        };
        let whole = collect(pass(SCRIPT.to_owned(), &details), 1 << 20, Stage::Verify, "").await.unwrap();
        assert_eq!(whole, SCRIPT);
        let changed = SCRIPT.replace("NOSUPERUSER", "SUPERUSER");
        let mut stream = pass(changed.clone(), &details);
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.chain().contains("ALTER ROLE app: definition"), "{}", error.chain());
        // Details of older versions are not compared.
        details.remove(longshore_core::stage::DEFINITIONS);
        assert_eq!(collect(pass(changed.clone(), &details), 1 << 20, Stage::Verify, "").await.unwrap(), changed);
    }
}
