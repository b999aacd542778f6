//! The contents of a dump of any origin: a file with any wrapping, or a backup.

mod foreign_format;
pub mod local_time;
mod wrapping;

use std::sync::Arc;

use longshore_config::Config;
use longshore_config::registry::Registry;
use longshore_core::event::{Observer, report_reads};
use longshore_core::manifest::{Format, Verification};
use longshore_core::pipeline::open;
use longshore_core::plugin::Identities;
use longshore_core::stage::{DEFINITIONS, UNKNOWN_FORMAT_HINT};
use longshore_core::stream::{ByteStream, drain};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::details::fetch_record;
use crate::encryption_policy::EncryptionPolicy;
use crate::restore::{Choice, Globals, Selector, choose};
use crate::stages::{decryptor, site_without_server};

/// The hint for files of an unknown format. A job's verifier has another.
const SUPPORTED_FORMATS: &str = "supported are dumps of pg_dump and pg_dumpall, from PostgreSQL 8.0 to 18, plain or in age, zstd, gzip or LZ4; \
                     for newer ones, use `pg_restore --list`";

/// The contents of a dump.
#[derive(Debug, Serialize)]
pub struct Inspected {
    /// The name of the file or the backup.
    pub name: String,
    /// The destination that contains the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The wrappings, the outermost first, such as `age` and `zstd`.
    pub wrappings: Vec<String>,
    /// The format of the dump.
    pub format: Format,
    /// The source of the facts: the dump itself, or the record of the dump.
    pub from: Source,
    /// The verifiers of the dump, with their results.
    pub verified: Vec<Verification>,
    /// The findings of the verifiers.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

/// The source of the facts about a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The dump, read completely.
    Reading,
    /// The record made while the dump was written.
    Record,
}

/// The extent of an inspection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Use the record of the dump, if there is one.
    Record,
    /// Read the whole dump.
    Full,
}

/// Inspects dumps.
pub struct Inspector<'a> {
    /// The plugins.
    pub registry: &'a Registry,
    /// The identities that decrypt dumps.
    pub identities: &'a Identities,
    /// The observer.
    pub observer: Arc<dyn Observer>,
}

impl Inspector<'_> {
    /// Inspects a file with any nesting of wrappings: age, zstd, gzip or LZ4.
    pub async fn file(&self, name: &str, bytes: ByteStream) -> Result<Inspected> {
        let unwrapped = wrapping::remove_wrappings(bytes, name, self.registry, self.identities).await?;
        if let Some(error) = foreign_format::foreign_format_error(&unwrapped.head, name) {
            return Err(error);
        }
        let format = Format::detect(&unwrapped.head);
        let cluster_wide =
            format == Format::Plain && wrapping::contains(&unwrapped.head, b"PostgreSQL database cluster dump");
        let subject = if cluster_wide { Subject::All } else { Subject::database(name) };
        let verified = self.verify(&subject, format.clone(), unwrapped.stream).await;
        let (verified, details) = verified.map_err(|error| match error.about(name) {
            error if error.kind() == Kind::Corrupt && foreign_format::is_changed_by_terminal(&unwrapped.head) => {
                error.hint(foreign_format::TERMINAL_HINT)
            }
            error => error,
        })?;
        Ok(Inspected {
            name: name.to_owned(),
            destination: None,
            wrappings: unwrapped.wrappings,
            format,
            from: Source::Reading,
            verified,
            details: without_definitions(details),
        })
    }

    /// Inspects a backup: the one named, or the newest of a series.
    pub async fn backup(
        &self,
        config: &Config,
        words: &str,
        from: Option<&str>,
        extent: Extent,
    ) -> Result<(Inspected, Vec<String>)> {
        let selector = Selector::Subject { words: words.to_owned(), job: None, at: None, globals: Globals::Leave };
        let Choice { backups, warnings, .. } =
            choose(config, &selector, from, &EncryptionPolicy::of_config(config)).await?;
        let Some(chosen) = backups.into_iter().next_back() else {
            return Err(Error::new(Stage::Catalog, Kind::NotFound, words, "no good backup"));
        };
        let (backup, artifact) = (&chosen.backup, &chosen.backup.manifest.artifact);
        let recorded = match extent {
            Extent::Record => fetch_record(self.registry, self.identities, &*chosen.store, backup).await?,
            Extent::Full => None,
        };
        let (from, verified, details) = match recorded {
            Some(details) => (Source::Record, backup.manifest.verified.clone(), details),
            None => {
                let decryptor = decryptor(self.registry, self.identities, backup)?;
                let plaintext = open(&*chosen.store, &backup.manifest, decryptor.as_deref()).await?;
                let (verified, details) =
                    self.verify(&backup.manifest.subject, artifact.format.clone(), plaintext).await?;
                (Source::Reading, verified, details)
            }
        };
        let inspected = Inspected {
            name: backup.name.to_string(),
            destination: Some(chosen.destination),
            wrappings: artifact.encryption.iter().chain(&artifact.compression).cloned().collect(),
            format: artifact.format.clone(),
            from,
            verified,
            details: without_definitions(details),
        };
        Ok((inspected, warnings))
    }

    /// Reads plaintext to its end with the default verifier.
    async fn verify(
        &self,
        subject: &Subject,
        format: Format,
        plaintext: ByteStream,
    ) -> Result<(Vec<Verification>, Map<String, Value>)> {
        let verifier = self.registry.verify.build(&self.registry.default_verify, &site_without_server())?;
        let observer = Arc::clone(&self.observer);
        let verified = verifier.verify(subject, format, plaintext, &observer);
        drain(report_reads(verified.stream, observer)).await.map_err(|error| match (error.stage(), error.kind()) {
            // A verifier's own hint about a changed dump is more specific.
            (Stage::Verify, Kind::Usage) if error.remedy().is_none_or(|remedy| remedy == UNKNOWN_FORMAT_HINT) => {
                error.hint(SUPPORTED_FORMATS)
            }
            _ => error,
        })?;
        Ok(match verified.report.get() {
            Some(findings) => (vec![findings.verification.clone()], findings.details.clone()),
            None => (Vec::new(), Map::new()),
        })
    }
}

/// Removes the digests of definitions from details: a digest would let a reader guess passwords.
fn without_definitions(mut details: Map<String, Value>) -> Map<String, Value> {
    details.remove(DEFINITIONS);
    details
}
