//! Verifies every byte of a dump while it is streamed, as `type = "pg_archive"`: no child process,
//! nothing on disk, all formats.
//!
//! The facts found (tables, rows, digests, the list of contents) are stored in the encrypted
//! details under `archive`, digests of definitions under `definitions`, and totals in the manifest.
//!
//! | file | contents |
//! | --- | --- |
//! | `comparison.rs` | the comparison of decoded with recorded facts |
//! | `definition_check.rs` | the comparison of definitions before a restore receives them |

mod comparison;
mod definition_check;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::NaiveDateTime;
use longshore_core::check::{Check, Finding};
use longshore_core::drill::Comparison;
use longshore_core::error::printable;
use longshore_core::event::{Event, Observer, Part};
use longshore_core::manifest::{Format, Manifest, Verification};
use longshore_core::plugin::{JobContext, Plugin};
use longshore_core::provenance::Origin;
use longshore_core::stage::{DEFINITIONS, HEADER_BYTES, UNKNOWN_FORMAT_HINT, Verified, Verify, VerifyReport};
use longshore_core::stream::{ByteStream, OnEnd, StreamReader, failed, tee};
use longshore_core::subject::{Subject, SubjectKind};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::{ErrorKind, Facts, outline};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::comparison::RecordedFacts;

/// The key of the facts in the details.
pub const DETAILS: &str = "archive";
/// The method of this verifier, as named in manifests.
const METHOD: &str = "read to its end";

/// `{ type = "pg_archive" }`: verifies with Longshore's own reader.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PgArchive {}

impl Plugin<dyn Verify> for PgArchive {
    const TYPE: &'static str = "pg_archive";

    fn build(self, _: &JobContext) -> Result<Box<dyn Verify>> {
        Ok(Box::new(Reader))
    }
}

/// A stage that reads the passing stream.
struct Reader;

impl Verify for Reader {
    fn verifies(&self, format: &Format) -> bool {
        format.is_dump()
    }

    fn verify(
        &self,
        subject: &Subject,
        format: Format,
        plaintext: ByteStream,
        observer: &Arc<dyn Observer>,
    ) -> Verified {
        if !format.is_dump() {
            let stream = failed(format.unsupported(Stage::Verify, &subject.to_string()));
            return Verified { stream, report: OnEnd::new() };
        }
        let (label, observer, kind) = (subject.to_string(), Arc::clone(observer), subject.kind());
        let (stream, findings) = tee(plaintext, label.clone(), move |reader| {
            let facts = read(reader, &label, &*observer)?;
            require_format(&facts, &format, kind, &label)?;
            to_findings(&facts, &label)
        });
        Verified { stream, report: findings }
    }

    fn differences(
        &self,
        manifest: &Manifest,
        recorded: &Map<String, Value>,
        found: &Map<String, Value>,
    ) -> Option<Vec<Comparison>> {
        let (recorded, found) = (RecordedFacts::of(recorded)?, RecordedFacts::of(found)?);
        let mut all = recorded.differences(found.facts());
        all.extend(recorded.compare_totals(&manifest.verified));
        Some(all)
    }

    fn expect_recorded(&self, manifest: &Manifest, recorded: &Map<String, Value>, plaintext: ByteStream) -> ByteStream {
        match RecordedFacts::of(recorded).filter(RecordedFacts::has_definitions) {
            Some(recorded) => definition_check::check_definitions(recorded, manifest, plaintext),
            None => plaintext,
        }
    }

    fn origin(&self, subject: &Subject, head: &[u8]) -> Result<Origin> {
        match outline::origin(head) {
            Ok(Some(origin)) => Ok(Origin {
                // A name in another encoding is not compared.
                database: origin.database.filter(|name| !name.contains(char::REPLACEMENT_CHARACTER)),
                created: origin.created.and_then(|time| NaiveDateTime::parse_from_str(&time, CREATED).ok()),
                server_version: origin.server_version.and_then(version),
                tool_version: origin.tool_version.and_then(version),
            }),
            Ok(None) if head.len() >= HEADER_BYTES => {
                let message = format!("its header is longer than {HEADER_BYTES} bytes, so it is not an archive");
                Err(Error::new(Stage::Verify, Kind::Corrupt, subject.to_string(), message))
            }
            // A script names no origin; verifiers that read the whole dump report damage.
            Ok(None) | Err(_) => Ok(Origin::default()),
        }
    }
}

/// Returns the number of a version such as `15.18 (Debian 15.18-0+deb12u1)`.
fn version(text: String) -> Option<String> {
    text.split_whitespace().next().map(str::to_owned)
}

/// The format of the creation time in an archive's header.
const CREATED: &str = "%Y-%m-%d %H:%M:%S";

/// Reads a whole dump.
fn read(reader: &mut StreamReader, subject: &str, observer: &dyn Observer) -> Result<Facts> {
    let mut on_progress = |part: &longshore_pg_archive::Progress| {
        observer.event(&Event::PartReached(Part { name: &part.name, done: part.done, of: part.total }));
    };
    longshore_pg_archive::read(reader, &mut on_progress).map_err(|error| convert_error(error, subject))
}

/// Converts an error of the reader. An error from the stream is returned as is.
fn convert_error(error: longshore_pg_archive::Error, subject: &str) -> Error {
    if let Some(carried) = error.io().and_then(Error::carried_by) {
        return carried.clone();
    }
    // The message contains names of tables and files, which may contain any characters.
    let failed = |kind| Error::new(Stage::Verify, kind, subject, printable(&error.to_string()));
    match error.kind {
        ErrorKind::Damaged => failed(Kind::Corrupt),
        ErrorKind::Unsupported => failed(Kind::Usage).hint(error.remedy.as_deref().unwrap_or(UNKNOWN_FORMAT_HINT)),
        ErrorKind::ReadFailed | ErrorKind::WriteFailed => failed(Kind::Failed),
    }
}

/// Fails for a complete dump in an unexpected form.
fn require_format(facts: &Facts, format: &Format, kind: SubjectKind, subject: &str) -> Result<()> {
    use longshore_pg_archive::Format as ArchiveFormat;
    let expected = match format {
        Format::Custom => ArchiveFormat::Custom,
        Format::Directory => ArchiveFormat::Directory,
        Format::Tar => ArchiveFormat::Tar,
        Format::Plain if kind == SubjectKind::Database => ArchiveFormat::Script,
        Format::Plain => ArchiveFormat::ClusterScript,
        Format::Base | Format::Other(_) => return Err(format.unsupported(Stage::Verify, subject)),
    };
    // A repacked tar-format dump begins like any tar, and counts as a directory until toc.dat is
    // read.
    if facts.format == expected || (facts.format, expected) == (ArchiveFormat::Tar, ArchiveFormat::Directory) {
        return Ok(());
    }
    let message = format!("it is a \"{}\", but \"{expected}\" was expected", facts.format);
    Err(Error::new(Stage::Verify, Kind::Corrupt, subject, message))
}

/// Splits the facts into public totals and confidential details.
fn to_findings(facts: &Facts, subject: &str) -> Result<VerifyReport> {
    let not_serializable =
        |error| Error::new(Stage::Verify, Kind::Failed, subject, "cannot serialize the facts about it").because(error);
    let details = serde_json::to_value(facts).map_err(not_serializable)?;
    let definitions = serde_json::to_value(&facts.definitions).map_err(not_serializable)?;
    let verification = Verification {
        by: format!("longshore {}", env!("CARGO_PKG_VERSION")),
        method: METHOD.to_owned(),
        totals: facts.totals().map(|(name, count)| (name.to_owned(), count)).collect(),
    };
    Ok(VerifyReport {
        verification,
        base: None,
        details: [(DETAILS.to_owned(), details), (DEFINITIONS.to_owned(), definitions)].into_iter().collect(),
    })
}

#[async_trait]
impl Check for Reader {
    async fn check(&self) -> Vec<Finding> {
        vec![Finding::good("pg_archive", "reads the archives of PostgreSQL 8.0 to 18 itself")]
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use longshore_core::event::ignore;
    use longshore_core::format::FormatName;
    use longshore_core::stream::{collect, from_bytes};

    use super::*;

    const SCRIPT: &str = "--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 15.1\n-- Dumped by pg_dump version 15.1\n\n\
        COPY public.t (a, b) FROM stdin;\n1\tone\n2\ttwo\n\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n";

    async fn run_verify(format: Format, plaintext: ByteStream) -> Result<VerifyReport> {
        let verified = Reader.verify(&Subject::database("appdb"), format, plaintext, &ignore());
        let passed = collect(verified.stream, 1 << 20, Stage::Verify, "").await?;
        assert_eq!(passed, SCRIPT);
        Ok(verified.report.get().unwrap().clone())
    }

    #[tokio::test]
    async fn sound_dump_passes_unchanged_and_is_counted() {
        let findings = run_verify(Format::Plain, from_bytes(SCRIPT)).await.unwrap();
        let totals = &findings.verification.totals;
        assert_eq!((totals["tables"], totals["rows"], totals["table_bytes"]), (1, 2, 12));
        assert_eq!(findings.details[DETAILS]["tables"][0]["name"], "t");
    }

    #[tokio::test]
    async fn damaged_dump_fails_its_stream() {
        let error = run_verify(Format::Plain, from_bytes(&SCRIPT[..SCRIPT.len() / 2])).await.unwrap_err();
        assert_eq!((error.stage(), error.kind(), error.subject()), (Stage::Verify, Kind::Corrupt, "appdb"));
        assert!(error.to_string().contains("at byte"), "{error}");
    }

    #[tokio::test]
    async fn dump_in_unexpected_format_is_corrupt() {
        let error = run_verify(Format::Custom, from_bytes(SCRIPT)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("custom format"), "{error}");
    }

    #[tokio::test]
    async fn format_of_another_program_fails_before_its_first_byte() {
        let foreign = Format::Other(FormatName::new("mysqldump").unwrap());
        for (subject, format) in [(Subject::Base, Format::Base), (Subject::database("appdb"), foreign)] {
            let mut verified = Reader.verify(&subject, format.clone(), from_bytes(SCRIPT), &ignore());
            let error = verified.stream.next().await.unwrap().unwrap_err();
            assert_eq!((error.stage(), error.kind()), (Stage::Verify, Kind::Usage), "no damage");
            assert!(error.to_string().contains(&format!("\"{format}\"")) && error.remedy().is_some(), "{error:?}");
            assert!(verified.stream.next().await.is_none() && verified.report.get().is_none());
        }
    }

    #[tokio::test]
    async fn unsupported_version_is_no_damage_and_has_a_hint() {
        let mut archive = b"PGDMP\x01\x63\x00\x04\x08\x01".to_vec();
        archive.extend_from_slice(&[0; 100]);
        let error = run_verify(Format::Custom, from_bytes(archive)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.remedy().unwrap().contains("pg_restore"));
    }

    #[test]
    fn reads_database_and_time_from_header() {
        let int = |number: u8| [0, number, 0, 0, 0];
        let text = |text: &str| [&int(text.len() as u8)[..], text.as_bytes()].concat();
        let created = [1, 15, 9, 7, 5, 126, 0].map(int).concat();
        let begun = [&b"PGDMP\x01\x0e\0\x04\x08\x01"[..], &int(0), &created].concat();
        let whole = [&begun[..], &text("shop"), &text("15.1"), &text("15.1")].concat();
        let subject = Subject::database("shop");
        let origin = Reader.origin(&subject, &whole).unwrap();
        assert_eq!(origin.database.as_deref(), Some("shop"));
        assert_eq!(origin.created.unwrap().to_string(), "2026-06-07 09:15:01");
        for none in [&begun[..], SCRIPT.as_bytes(), b""] {
            assert_eq!(Reader.origin(&subject, none).unwrap(), Origin::default());
        }
        let mut endless = [&begun[..], &[0, 0, 0, 2, 0]].concat();
        endless.resize(HEADER_BYTES, b'x');
        assert_eq!(Reader.origin(&subject, &endless).unwrap_err().kind(), Kind::Corrupt);
    }

    #[tokio::test]
    async fn converted_script_error_has_remedy() {
        for (script, name, way_back) in [
            (SCRIPT.replace('\n', "\r\n").into_bytes(), "carriage return", "sed"),
            ([b"\xef\xbb\xbf", SCRIPT.as_bytes()].concat(), "byte order mark", "tail -c +4"),
            (SCRIPT.encode_utf16().flat_map(u16::to_le_bytes).collect(), "UTF-16", "iconv"),
        ] {
            let error = run_verify(Format::Plain, from_bytes(script)).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains(name) && error.remedy().unwrap().contains(way_back), "{error:?}");
        }
    }

    #[tokio::test]
    async fn errors_escape_control_characters() {
        let script = SCRIPT.replace("public.t", "public.\"\u{202e}\u{1b}\"").replace("two\n", "two\tthree\n");
        let error = run_verify(Format::Plain, from_bytes(script)).await.unwrap_err();
        assert!(error.to_string().contains("public.\\u{202e}\\u{1b}"), "{error}");
    }

    #[tokio::test]
    async fn dump_error_passes_unchanged() {
        let lost = Error::new(Stage::Dump, Kind::Unavailable, "appdb", "connection lost");
        let error = run_verify(Format::Plain, failed(lost)).await.unwrap_err();
        assert_eq!((error.stage(), error.kind()), (Stage::Dump, Kind::Unavailable));
    }
}
