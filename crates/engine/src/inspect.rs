//! The contents of a dump or base backup of any origin: a file with any wrapping, or a backup.

mod foreign_format;
pub mod local_time;
mod wrapping;

use std::sync::Arc;

use longshore_config::Config;
use longshore_config::registry::Registry;
use longshore_core::base::BaseFacts;
use longshore_core::event::{Observer, report_reads};
use longshore_core::manifest::{Cluster, Format, Verification};
use longshore_core::pipeline::open;
use longshore_core::plugin::Identities;
use longshore_core::stage::{DEFINITIONS, UNKNOWN_FORMAT_HINT, VerifyReport};
use longshore_core::stream::{ByteStream, drain};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::details::fetch_record;
use crate::encryption_policy::EncryptionPolicy;
use crate::headers::artifact_decryptor;
use crate::restore::{Choice, Globals, Selector, choose, inspected_plaintext};
use crate::stages::site_without_server;

pub(crate) use self::foreign_format::{Reader, explain_no_dump, foreign_format_error};
pub(crate) use self::wrapping::remove_wrappings as unwrapped;

/// The hint for files of an unknown format. A job's verifier has another.
const SUPPORTED_FORMATS: &str = "supported are dumps of pg_dump and pg_dumpall, from PostgreSQL 8.0 to 18, plain or in age, zstd, gzip, LZ4, xz or bzip2; \
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
    /// The source cluster, if the manifest of a backup names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// The facts of a base backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_facts: Option<BaseFacts>,
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
    /// Inspects a file with any nesting of wrappings: age, zstd, gzip, LZ4, xz or bzip2.
    pub async fn file(&self, name: &str, bytes: ByteStream) -> Result<Inspected> {
        let unwrapped = unwrapped(bytes, name, self.registry, self.identities, 0).await?;
        if let Some(error) = foreign_format_error(&unwrapped.head, name, Reader::Inspect) {
            return Err(error);
        }
        let (format, subject) = recognized(&unwrapped.head, name);
        let report = self.verify(&subject, format.clone(), unwrapped.stream).await;
        let report = report.map_err(|error| match error.about(name) {
            error if error.kind() == Kind::Corrupt && foreign_format::is_changed_by_terminal(&unwrapped.head) => {
                error.hint(foreign_format::TERMINAL_HINT)
            }
            error => error,
        })?;
        let read = Read::from(report);
        Ok(Inspected {
            name: name.to_owned(),
            destination: None,
            wrappings: unwrapped.wrappings,
            format,
            from: Source::Reading,
            cluster: None,
            base_facts: read.base_facts,
            verified: read.verified,
            details: without_definitions(read.details),
        })
    }

    /// Inspects a backup: the one named, or the newest of a series, of a job and at a destination
    /// if they are given.
    pub async fn backup(
        &self,
        config: &Config,
        words: &str,
        (job, from): (Option<&str>, Option<&str>),
        extent: Extent,
    ) -> Result<(Inspected, Vec<String>)> {
        let job = job.map(str::to_owned);
        let selector = Selector::Subject { words: words.to_owned(), job, at: None, globals: Globals::Leave };
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
        let (from, read) = match recorded {
            Some(details) => {
                let (verified, base_facts) = (backup.manifest.verified.clone(), backup.manifest.base.clone());
                (Source::Record, Read { verified, details, base_facts })
            }
            None => {
                let plaintext = match backup.manifest.is_difference() {
                    true => inspected_plaintext(self.registry, &chosen, self.identities).await?,
                    false => {
                        let decryptor =
                            artifact_decryptor(self.registry, self.identities, backup, &chosen.sources).await?;
                        open(&*chosen.store, &backup.manifest, decryptor.as_deref()).await?
                    }
                };
                let report = self.verify(&backup.manifest.subject, artifact.format.clone(), plaintext).await?;
                (Source::Reading, Read::from(report))
            }
        };
        let inspected = Inspected {
            name: backup.name.to_string(),
            destination: Some(chosen.destination),
            wrappings: artifact.wrappings().map(str::to_owned).collect(),
            format: artifact.format.clone(),
            from,
            cluster: Some(backup.manifest.cluster.clone()),
            base_facts: read.base_facts,
            verified: read.verified,
            details: without_definitions(read.details),
        };
        Ok((inspected, warnings))
    }

    /// Reads plaintext to its end with the default verifier of the format. Returns its report.
    async fn verify(&self, subject: &Subject, format: Format, plaintext: ByteStream) -> Result<Option<VerifyReport>> {
        let verifier = self.registry.default_verifier(&format, &site_without_server())?;
        let observer = Arc::clone(&self.observer);
        let verified = verifier.verify(subject, format, plaintext, &observer);
        drain(report_reads(verified.stream, observer)).await.map_err(|error| match (error.stage(), error.kind()) {
            // A verifier's own hint about a changed dump is more specific.
            (Stage::Verify, Kind::Usage) if error.remedy().is_none_or(|remedy| remedy == UNKNOWN_FORMAT_HINT) => {
                error.hint(SUPPORTED_FORMATS)
            }
            _ => error,
        })?;
        Ok(verified.report.get().cloned())
    }
}

/// The results of verifiers.
#[derive(Default)]
struct Read {
    verified: Vec<Verification>,
    details: Map<String, Value>,
    base_facts: Option<BaseFacts>,
}

impl From<Option<VerifyReport>> for Read {
    fn from(report: Option<VerifyReport>) -> Self {
        report.map_or_else(Self::default, |report| Self {
            verified: vec![report.verification],
            details: report.details,
            base_facts: report.base,
        })
    }
}

/// Returns the format and the subject of a file that begins with `head`.
pub(crate) fn recognized(head: &[u8], name: &str) -> (Format, Subject) {
    let format = Format::detect(head);
    match format {
        Format::Directory | Format::Tar if is_base_backup(head) => (Format::Base, Subject::Base),
        Format::Plain if wrapping::contains(head, b"PostgreSQL database cluster dump") => (format, Subject::All),
        _ => (format, Subject::database(name)),
    }
}

/// Returns true if a tar that begins with `head` is a base backup: its first member is the file
/// that a server sends first, belongs to a tablespace, or begins a copy of files.
fn is_base_backup(head: &[u8]) -> bool {
    [&b"backup_label\0"[..], b"pg_tblspc/", b"PG_VERSION\0"].iter().any(|first| head.starts_with(first))
}

/// Removes the digests of definitions from details: a digest would let a reader guess passwords.
fn without_definitions(mut details: Map<String, Value>) -> Map<String, Value> {
    details.remove(DEFINITIONS);
    details
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the header of a tar whose first member has this name.
    fn tar(name: &[u8]) -> Vec<u8> {
        let mut head = vec![0; 512];
        head[..name.len()].copy_from_slice(name);
        head[257..263].copy_from_slice(b"ustar\0");
        // The checksum of a header counts its own eight characters as blanks.
        head[148..156].fill(b' ');
        let checksum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{checksum:06o}\0 ").as_bytes());
        head
    }

    #[test]
    fn base_backups_are_recognised_by_their_first_member() {
        for name in ["backup_label", "PG_VERSION", "pg_tblspc/16398/PG_17_202406281/"] {
            assert_eq!(recognized(&tar(name.as_bytes()), "x"), (Format::Base, Subject::Base), "{name}");
        }
        for name in ["toc.dat", "./toc.dat", "backup_labels", "1234.dat.gz"] {
            assert_eq!(recognized(&tar(name.as_bytes()), "x"), (Format::Directory, Subject::database("x")), "{name}");
        }
        assert_eq!(recognized(b"backup_label\0", "x").0, Format::Plain);
        let script = b"--\n-- PostgreSQL database cluster dump\n--\n";
        assert_eq!(recognized(script, "x"), (Format::Plain, Subject::All));
    }
}
