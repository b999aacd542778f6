//! What is in a dump, whoever made it: a file of any wrapping, or a backup.

pub mod clock;
mod foreign;
mod wrapping;

use std::sync::Arc;

use longshore_core::manifest::{Format, Verification};
use longshore_core::pipeline::open;
use longshore_core::plugin::Identities;
use longshore_core::progress::Progress;
use longshore_core::stage::{DEFINITIONS, JUDGED_BY_OTHERS};
use longshore_core::stream::{ByteStream, drain};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::Config;
use crate::record::record;
use crate::registry::Registry;
use crate::restore::{Choice, Globals, What, choose};
use crate::unsealed::Sealing;
use crate::verify::{ashore, opener};

/// The way out for whoever looks into a file; another than for whoever configures who judges.
const KNOWN: &str = "known are the dumps of pg_dump and pg_dumpall, from PostgreSQL 8.0 to 18, as they are or in age, zstd, gzip or LZ4; \
                     of newer ones, `pg_restore --list` tells what is in them";

/// What was learnt of a dump.
#[derive(Debug, Serialize)]
pub struct Inspected {
    /// The file or the backup.
    pub name: String,
    /// Where the backup lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// What it is wrapped in, the outermost first, such as `age` and `zstd`.
    pub wrappings: Vec<String>,
    /// Its form.
    pub format: Format,
    /// Whether all of it was read now, or the record of its dump was.
    pub from: From,
    /// Who judged it.
    pub verified: Vec<Verification>,
    /// What those who judged found in it.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

/// Where facts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// All of the dump was read.
    Reading,
    /// What was recorded while it was dumped.
    Record,
}

/// How much to trust the record of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What was recorded will do, where there is such a record.
    Record,
    /// Everything is read.
    Everything,
}

/// Looks into dumps.
pub struct Inspector<'a> {
    /// The plugins.
    pub registry: &'a Registry,
    /// What opens what is sealed.
    pub identities: &'a Identities,
    /// Hears how much was read.
    pub progress: Arc<dyn Progress>,
}

impl Inspector<'_> {
    /// Reads a file, whatever it is wrapped in: sealed with age, compressed with zstd, gzip or LZ4, one in another.
    pub async fn file(&self, name: &str, bytes: ByteStream) -> Result<Inspected> {
        let unwrapped = wrapping::unwrap(bytes, name, self.registry, self.identities).await?;
        if let Some(error) = foreign::foreign(&unwrapped.head, name) {
            return Err(error);
        }
        let format = Format::of(&unwrapped.head);
        let cluster_wide =
            format == Format::Plain && wrapping::contains(&unwrapped.head, b"PostgreSQL database cluster dump");
        let subject = if cluster_wide { Subject::All } else { Subject::database(name) };
        let judged = self.judge(&subject, format, unwrapped.stream).await;
        let (verified, details) = judged.map_err(|error| match error.about(name) {
            error if error.kind() == Kind::Corrupt && foreign::passed_a_terminal(&unwrapped.head) => {
                error.hint(foreign::TERMINAL)
            }
            error => error,
        })?;
        Ok(Inspected {
            name: name.to_owned(),
            destination: None,
            wrappings: unwrapped.wrappings,
            format,
            from: From::Reading,
            verified,
            details: shown(details),
        })
    }

    /// Looks into a backup: the newest of what the words mean, or the one that they name.
    pub async fn backup(
        &self,
        config: &Config,
        words: &str,
        from: Option<&str>,
        depth: Depth,
    ) -> Result<(Inspected, Vec<String>)> {
        let what = What::Subject { words: words.to_owned(), job: None, at: None, globals: Globals::Leave };
        let Choice { backups, warnings, .. } = choose(config, &what, from, &Sealing::of_config(config)).await?;
        let Some(chosen) = backups.into_iter().next_back() else {
            return Err(Error::new(Stage::Catalog, Kind::NotFound, words, "there is no good backup of it"));
        };
        let (backup, artifact) = (&chosen.backup, &chosen.backup.manifest.artifact);
        let recorded = match depth {
            Depth::Record => record(self.registry, self.identities, &*chosen.store, backup).await?,
            Depth::Everything => None,
        };
        let (from, verified, details) = match recorded {
            Some(details) => (From::Record, backup.manifest.verified.clone(), details),
            None => {
                let opener = opener(self.registry, self.identities, backup)?;
                let plaintext = open(&*chosen.store, &backup.manifest, opener.as_deref()).await?;
                let (verified, details) = self.judge(&backup.manifest.subject, artifact.format, plaintext).await?;
                (From::Reading, verified, details)
            }
        };
        let inspected = Inspected {
            name: backup.name.to_string(),
            destination: Some(chosen.destination),
            wrappings: artifact.encryption.iter().chain(&artifact.compression).cloned().collect(),
            format: artifact.format,
            from,
            verified,
            details: shown(details),
        };
        Ok((inspected, warnings))
    }

    /// Reads plaintext to its end, past the default judge.
    async fn judge(
        &self,
        subject: &Subject,
        format: Format,
        plaintext: ByteStream,
    ) -> Result<(Vec<Verification>, Map<String, Value>)> {
        let judge = self.registry.verify.build(self.registry.default_verify, &ashore())?;
        let progress = Arc::clone(&self.progress);
        let verified = judge.verify(subject, format, plaintext, &self.progress);
        drain(counted(verified.stream, progress)).await.map_err(|error| match (error.stage(), error.kind()) {
            // What was done to the dump has a way out of its own.
            (Stage::Verify, Kind::Usage) if error.remedy().is_none_or(|remedy| remedy == JUDGED_BY_OTHERS) => {
                error.hint(KNOWN)
            }
            _ => error,
        })?;
        Ok(match verified.findings.get() {
            Some(findings) => (vec![findings.verification.clone()], findings.details.clone()),
            None => (Vec::new(), Map::new()),
        })
    }
}

/// Details without digests of definitions: a password can be guessed by one.
fn shown(mut details: Map<String, Value>) -> Map<String, Value> {
    details.remove(DEFINITIONS);
    details
}

/// Tells of every byte that passes.
pub(crate) fn counted(stream: ByteStream, progress: Arc<dyn Progress>) -> ByteStream {
    use futures_util::StreamExt;
    stream.inspect(move |chunk| progress.read(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64))).boxed()
}
