//! A backup of one adopted file.

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use longshore_catalog::adopt::{Adopted, TABLE_OF_CONTENTS};
use longshore_config::registry::Registry;
use longshore_core::adopted_from::AdoptedFrom;
use longshore_core::compress::Compression;
use longshore_core::event::{Event, Observer, of_subject};
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::manifest::{Cluster, Format, Server, Tool};
use longshore_core::meter::{Algorithm, Digest, meter};
use longshore_core::pipeline::{BackupSpec, Pipeline, Shipped};
use longshore_core::plugin::CompressBy;
use longshore_core::provenance::Origin;
use longshore_core::stage::{DumpNotes, Dumped, HEADER_BYTES, verifiers_of};
use longshore_core::stream::{ByteStream, OnEnd, drain};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};

use super::known::{KnownBackup, KnownBackups};
use super::{SameContent, TakeRequest, TakenFile, TakenState};
use crate::adoption::directory;
use crate::adoption::hard_links::HardLinks;
use crate::catalogs::Catalogued;
use crate::inspect::{Reader, explain_no_dump, foreign_format_error, recognized, unwrapped};
use crate::report;
use crate::run::artifact_report;
use crate::stages::site_without_server;

/// The largest difference between the time in a name and the time in the archive's header: more
/// means that the name states only a month or a week.
const MAX_DISTANCE: TimeDelta = TimeDelta::hours(26);

/// The names of databases by which other tools call the globals of a cluster.
const GLOBALS: [&str; 4] = ["pg_globals", "pg_global", "postgres_globals", "globals"];

/// The number of seconds after the beginning of a period that backups of different files may have.
const SHIFTS: i64 = 60;

/// The stages that every file passes, and the backups that exist.
pub(super) struct Taker<'a> {
    pub(super) registry: &'a Registry,
    pub(super) request: &'a TakeRequest<'a>,
    pub(super) source: &'a Catalogued,
    pub(super) pipeline: Pipeline,
    pub(super) run: String,
    pub(super) observer: Arc<dyn Observer>,
    /// The length of the period that the names state, unless they state a time of day.
    pub(super) period: Option<TimeDelta>,
    pub(super) known: KnownBackups,
    pub(super) links: HardLinks<'a>,
}

/// A new backup, or an existing one of the same content.
enum Made {
    Backup(Box<Shipped>),
    Same(SameContent),
}

/// The time of a new backup, or an existing backup of the same content.
enum TimeOrSame {
    Time(DateTime<Utc>),
    Same(SameContent),
}

impl From<&KnownBackup> for SameContent {
    fn from(known: &KnownBackup) -> Self {
        Self { backup: Some(known.name.clone()), file: known.file.clone() }
    }
}

impl Taker<'_> {
    /// Makes a backup of one file, unless there is one.
    pub(super) async fn take(&mut self, file: &Adopted) -> TakenFile {
        if self.known.has_file(&file.key) {
            return TakenFile::unread(file, TakenState::TakenBefore);
        }
        let begun = Instant::now();
        let mut wrappings = Vec::new();
        let mut subject = file.series.subject.clone();
        let made = self.make(file, &mut wrappings, &mut subject).await;
        let shipped = match made {
            Ok(Made::Same(same)) => {
                return TakenFile { same_as: Some(same), wrappings, ..TakenFile::unread(file, TakenState::SameFile) };
            }
            Ok(Made::Backup(shipped)) => {
                if let Some(manifest) = &shipped.manifest {
                    self.known.insert(&shipped.name, manifest, &self.source.name);
                }
                Ok(*shipped)
            }
            Err(error) => Err(error.about(file.key.as_str())),
        };
        let backup = artifact_report(&subject, shipped, begun.elapsed().as_secs_f64());
        backup.notify(&*self.observer);
        let state = match (backup.outcome(), &backup.class) {
            (report::Outcome::Done, _) => TakenState::Taken,
            (report::Outcome::Partial, _) => TakenState::Partial,
            (report::Outcome::Failed, Some(class)) if class.kind == Kind::Corrupt.word() => TakenState::Damaged,
            (report::Outcome::Failed, _) => TakenState::Failed,
        };
        TakenFile { wrappings, backup: Some(backup), ..TakenFile::unread(file, state) }
    }

    /// Returns the bytes of a file, or of a dump in directory format as a tar.
    async fn content(&self, file: &Adopted) -> Result<ByteStream> {
        match file.key.file_name() {
            TABLE_OF_CONTENTS => Ok(directory::packed(Arc::clone(&self.source.store), file)),
            _ => self.source.store.fetch(&file.key, None).await,
        }
    }

    async fn make(&mut self, file: &Adopted, wrappings: &mut Vec<String>, subject: &mut Subject) -> Result<Made> {
        let name = file.key.as_str();
        let bytes = self.content(file).await?;
        let unwrapped = unwrapped(bytes, name, self.registry, self.request.identities, HEADER_BYTES).await?;
        wrappings.clone_from(&unwrapped.wrappings);
        if let Some(error) = foreign_format_error(&unwrapped.head, name, Reader::Take) {
            return Err(error);
        }
        let (format, recognized) = recognized(&unwrapped.head, &file.series.subject.to_string());
        if format == Format::Base {
            let message = "is a base backup, which is not taken";
            return Err(Error::new(Stage::Verify, Kind::Refused, name, message).hint("take a new one with a job"));
        }
        let reader = self.registry.default_verifier(&format, &site_without_server())?;
        let origin = reader.origin(&recognized, &unwrapped.head)?;
        *subject = self.subject(file, &origin, recognized);
        let time = match self.free_time(file, subject, time(file, &origin)).await? {
            TimeOrSame::Time(time) => time,
            TimeOrSame::Same(same) => return Ok(Made::Same(same)),
        };
        let observer = of_subject(&self.observer, subject.clone());
        observer.event(&Event::SubjectStarted);

        let (server_version, tool_version) = versions(&unwrapped.head, origin);
        let verifies = !verifiers_of(&self.pipeline.verify, &format).is_empty();
        // A file is never taken unread.
        let own = (!verifies).then(|| Pipeline {
            verify: vec![Arc::from(reader)],
            encrypt: self.pipeline.encrypt.clone(),
            destinations: self.pipeline.destinations.clone(),
            needed_wal: None,
        });
        let job = self.request.job;
        let spec = BackupSpec {
            job: job.name.clone(),
            run: format!("{}-{}", self.run, &Digest::of(name.as_bytes()).hex()[..8]),
            run_backups: 1,
            run_not_captured: Vec::new(),
            time: Timestamp::new(time),
            cluster: Cluster {
                name: job.site.cluster.name.clone(),
                server: Server { server_version, system_identifier: None },
            },
            subject: subject.clone(),
            needs: Default::default(),
            adopted_from: Some(AdoptedFrom {
                destination: self.source.name.clone(),
                key: file.key.clone(),
                time,
                bytes: file.bytes,
                wrappings: unwrapped.wrappings,
                taken: Utc::now(),
            }),
        };
        let notes = OnEnd::new();
        notes.set(DumpNotes::default());
        let dumped = Dumped {
            stream: unwrapped.stream,
            format,
            estimated_bytes: None,
            compression: match &job.site.compress_by {
                CompressBy::Pipeline(compression) => *compression,
                CompressBy::Tool { .. } => Compression::None,
            },
            tool: Tool { name: "pg_dump".to_owned(), version: tool_version },
            database: None,
            base_manifest: None,
            snapshot: None,
            notes,
        };
        let head = unwrapped.head;
        let shipped = own.as_ref().unwrap_or(&self.pipeline).back_up(&spec, dumped, &observer).await;
        shipped.map(|shipped| Made::Backup(Box::new(shipped))).map_err(|error| explain_no_dump(error, &head))
    }

    /// Returns the time of a new backup of a file, or the backup that has its content: of a hard
    /// link, or of a copy whose time is the same or within the period in the name.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::AlreadyExists`] if another backup of the subject has the time.
    async fn free_time(&mut self, file: &Adopted, subject: &Subject, time: DateTime<Utc>) -> Result<TimeOrSame> {
        let linked = self.links.first_name(&file.key).and_then(|first| self.known.of_file(&first));
        if let Some(linked) = linked.filter(|linked| linked.is_of(subject)) {
            return Ok(TimeOrSame::Same(linked.into()));
        }
        let cluster = &self.request.job.site.cluster.name;
        let name_at = |time| BackupName::new(cluster, &subject.segment(), Timestamp::new(time));
        let of_time = self.known.named(&name_at(time)?);
        let of_period =
            self.period.into_iter().flat_map(|period| self.known.in_period(subject, file.bytes, file.time, period));
        let candidates: Vec<&KnownBackup> = of_time.into_iter().chain(of_period).collect();
        if !candidates.is_empty() {
            let digest = self.digest(file).await?;
            if let Some(same) = candidates.iter().find(|known| known.has_content(&digest)) {
                return Ok(TimeOrSame::Same((*same).into()));
            }
        }
        let Some(other) = of_time else { return Ok(TimeOrSame::Time(time)) };
        // A name that states a period leaves the seconds open.
        let shifts = if self.period.is_some() { SHIFTS } else { 0 };
        for seconds in 1..=shifts {
            let later = time + TimeDelta::seconds(seconds);
            if self.known.named(&name_at(later)?).is_none() {
                return Ok(TimeOrSame::Time(later));
            }
        }
        let made_of = other.file.as_ref().map_or("made by a run".to_owned(), |other| format!("made of {other}"));
        let message = format!("has the time of {}, a backup with another content, {made_of}", other.name);
        Err(Error::new(Stage::Ship, Kind::AlreadyExists, file.key.as_str(), message)
            .hint("a database has one backup of a time: leave the file as it is, or correct the time in its name"))
    }

    /// Returns the digest of the content of a file, without its wrappings.
    async fn digest(&self, file: &Adopted) -> Result<Digest> {
        let (name, bytes) = (file.key.as_str(), self.content(file).await?);
        let unwrapped = unwrapped(bytes, name, self.registry, self.request.identities, 0).await?;
        let (stream, digest) = meter(unwrapped.stream, Algorithm::Blake3, |_| {});
        drain(stream).await?;
        let unknown = || Error::new(Stage::Verify, Kind::Failed, name, "its digest is not known");
        digest.get().cloned().ok_or_else(unknown)
    }

    /// Returns the subject: the database in the header of the archive, which names of files may
    /// change, or the globals.
    fn subject(&self, file: &Adopted, origin: &Origin, recognized: Subject) -> Subject {
        let name = file.series.subject.to_string();
        match (recognized, &origin.database) {
            (Subject::All, _) if GLOBALS.contains(&name.as_str()) => Subject::Globals,
            (Subject::All, _) => Subject::All,
            (_, Some(database)) => Subject::database(database.clone()),
            (_, None) => file.series.subject.clone(),
        }
    }
}

/// Returns the time of the dump: that in the name, unless the header of the archive shows that the
/// name states only the beginning of a period.
fn time(file: &Adopted, origin: &Origin) -> DateTime<Utc> {
    let created = origin.created.map(|created| created.and_utc());
    created.filter(|created| (*created - file.time).abs() > MAX_DISTANCE).unwrap_or(file.time)
}

/// Returns the versions of the server and of the program, of the header or of the first lines of a
/// script.
fn versions(head: &[u8], origin: Origin) -> (String, String) {
    let text = String::from_utf8_lossy(&head[..head.len().min(512)]).into_owned();
    let line = |start: &str| {
        let version = text.lines().find_map(|line| line.strip_prefix(start))?;
        Some(version.split(' ').next().unwrap_or_default().to_owned())
    };
    let unknown = || "unknown".to_owned();
    let server = origin.server_version.or_else(|| line("-- Dumped from database version ")).unwrap_or_else(unknown);
    let tool = origin.tool_version.or_else(|| line("-- Dumped by pg_dump version ")).unwrap_or_else(unknown);
    (server, tool)
}
