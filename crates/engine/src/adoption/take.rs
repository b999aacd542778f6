//! Makes backups of adopted files. Reads each to its end, encrypts and ships it like a new dump.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use longshore_catalog::adopt::Adopted;
use longshore_config::registry::Registry;
use longshore_config::{Adoption, Config, Job, suggestion};
use longshore_core::adopted_from::AdoptedFrom;
use longshore_core::compress::Compression;
use longshore_core::event::{Event, Observer, of_subject};
use longshore_core::key::{Key, Timestamp};
use longshore_core::manifest::{Cluster, Format, Server, Tool};
use longshore_core::meter::Digest;
use longshore_core::pipeline::{BackupSpec, Destination, Pipeline, Shipped};
use longshore_core::plugin::{CompressBy, Identities};
use longshore_core::provenance::Origin;
use longshore_core::run_report::Outcome;
use longshore_core::stage::{DumpNotes, Dumped, HEADER_BYTES, verifiers_of};
use longshore_core::stream::OnEnd;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;

use crate::catalogs::{Catalogued, matches_adopted, read_catalogs, unknown_backup};
use crate::hook::RunLock;
use crate::inspect::{foreign_format_error, recognized, unwrapped};
use crate::mode::Mode;
use crate::report::{self, ArtifactReport};
use crate::restore_page;
use crate::run::{artifact_report, claim_destinations};
use crate::stages::{site_without_server, verifiers};

/// The largest difference between the time in a name and the time in the archive's header: more
/// means that the name states only a month or a week.
const MAX_DISTANCE: TimeDelta = TimeDelta::hours(26);

/// The names of databases by which other tools call the globals of a cluster.
const GLOBALS: [&str; 4] = ["pg_globals", "pg_global", "postgres_globals", "globals"];

/// The files to take.
pub struct TakeRequest<'a> {
    /// The adopt.
    pub adopt: &'a str,
    /// Only this file, or the newest one of this database.
    pub only: Option<&'a str>,
    /// The job whose backups the files become.
    pub job: &'a Job,
    /// Act, or only show the plan.
    pub mode: Mode,
    /// The identities that decrypt encrypted files.
    pub identities: &'a Identities,
}

/// The result of taking files.
#[derive(Debug, Serialize)]
pub struct Taken {
    /// The job.
    pub job: String,
    /// The destination with the original files.
    pub from: String,
    /// The files, oldest first.
    pub files: Vec<TakenFile>,
    /// Other warnings.
    pub warnings: Vec<String>,
}

/// The result of one file.
#[derive(Debug, Serialize)]
pub struct TakenFile {
    /// The key of the original, which stays.
    pub key: Key,
    /// The time in its name.
    pub time: DateTime<Utc>,
    /// Its size in bytes.
    pub bytes: u64,
    /// The result.
    pub state: TakenState,
    /// The removed wrappings, such as gzip, the outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrappings: Vec<String>,
    /// The backup, unless the file was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<ArtifactReport>,
}

/// The result of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TakenState {
    /// A backup was made at every destination.
    Taken,
    /// A backup was made at some destinations.
    Partial,
    /// A backup of the file exists.
    TakenBefore,
    /// The file would be taken.
    Planned,
    /// The file is damaged, and no backup was made.
    Damaged,
    /// No backup was made, for another reason.
    Failed,
}

impl Taken {
    /// Returns the outcome of all files.
    pub fn outcome(&self) -> Outcome {
        let has = |state| self.files.iter().any(|file| file.state == state);
        let failed = has(TakenState::Failed);
        let taken = has(TakenState::Taken) || has(TakenState::Partial) || has(TakenState::TakenBefore);
        match () {
            () if has(TakenState::Damaged) => Outcome::Damaged,
            () if failed && taken || has(TakenState::Partial) => Outcome::Partial,
            () if failed => Outcome::Failed,
            () => Outcome::Done,
        }
    }
}

/// Makes backups of adopted files. Files that are backups already are left alone.
pub async fn take(
    config: &Config,
    registry: &Registry,
    request: &TakeRequest<'_>,
    lock: &RunLock,
    observer: Arc<dyn Observer>,
) -> Result<Taken> {
    let job = request.job;
    let adoption = adoption(config, request.adopt)?;
    let source = read_one(config, &adoption.destination).await?;
    let chosen = chosen(&source, request)?;
    let taken_before = taken_before(config, job, &source).await?;
    let mut taken = Taken { job: job.name.clone(), from: source.name.clone(), files: Vec::new(), warnings: Vec::new() };
    let file = |file: &Adopted, state| TakenFile {
        key: file.key.clone(),
        time: file.time,
        bytes: file.bytes,
        state,
        wrappings: Vec::new(),
        backup: None,
    };
    if request.mode == Mode::DryRun {
        taken.files.extend(chosen.iter().map(|adopted| match taken_before.contains(&adopted.key) {
            true => file(adopted, TakenState::TakenBefore),
            false => file(adopted, TakenState::Planned),
        }));
        return Ok(taken);
    }
    let (destinations, left_out) = claim_destinations(config, job, &lock.0, &mut taken.warnings).await?;
    taken.warnings.extend(left_out.iter().filter_map(|at| {
        let error = at.error.as_ref()?;
        Some(format!("destination \"{}\" skipped: {}; `longshore sync` completes it", at.destination, error.message))
    }));
    let pipeline = Pipeline {
        verify: verifiers(registry, Some(job), &job.site)?,
        encrypt: job.encrypt.as_ref().map(|encrypt| encrypt(&())).transpose()?.map(Arc::from),
        destinations: destinations.iter().map(|(destination, _)| destination.clone()).collect(),
        needed_wal: None,
    };
    let taker = Taker { registry, request, source: &source, pipeline, run: lock.run_id(&job.name), observer };
    for adopted in chosen {
        if taken_before.contains(&adopted.key) {
            taken.files.push(file(adopted, TakenState::TakenBefore));
            continue;
        }
        let (wrappings, backup) = taker.take(adopted).await;
        let state = match (backup.outcome(), &backup.class) {
            (report::Outcome::Done, _) => TakenState::Taken,
            (report::Outcome::Partial, _) => TakenState::Partial,
            (report::Outcome::Failed, Some(class)) if class.kind == Kind::Corrupt.word() => TakenState::Damaged,
            (report::Outcome::Failed, _) => TakenState::Failed,
        };
        taken.files.push(TakenFile { wrappings, backup: Some(backup), ..file(adopted, state) });
    }
    for Destination { name, store } in &taker.pipeline.destinations {
        if taken.files.iter().any(|file| file.state == TakenState::Taken) {
            taken.warnings.extend(restore_page::upload_or_warn(name, &**store).await);
        }
    }
    Ok(taken)
}

/// Returns the adopt of this name.
fn adoption<'a>(config: &'a Config, name: &str) -> Result<&'a Adoption> {
    config.adoptions.get(name).ok_or_else(|| {
        let known = config.adoptions.keys().map(String::as_str);
        let hint = suggestion::hint(name, known, "add a table [adopt.NAME]; `longshore adopt detect` prints some");
        Error::new(Stage::Config, Kind::Usage, name, "there is no such adopt").hint(hint)
    })
}

/// Reads the catalog of a destination.
async fn read_one(config: &Config, name: &str) -> Result<Catalogued> {
    let mut read = read_catalogs(config, Some(name)).await?;
    let missing = || Error::new(Stage::Config, Kind::Usage, name, "there is no such destination");
    read.pop().map_or_else(|| Err(missing()), |(_, read)| read)
}

/// Returns the requested files, oldest first.
fn chosen<'a>(source: &'a Catalogued, request: &TakeRequest<'_>) -> Result<Vec<&'a Adopted>> {
    let of_adopt = source.catalog.adopted.iter().filter(|(series, _)| series.job == request.adopt);
    let mut files: Vec<&Adopted> = of_adopt.flat_map(|(_, files)| files).collect();
    files.sort_by_key(|file| file.time);
    let Some(words) = request.only else { return Ok(files) };
    files.retain(|file| matches_adopted(words, file));
    // The name of a file means this file; that of a database, its newest one.
    let newest = files.pop().ok_or_else(|| unknown_backup([source], words))?;
    Ok(vec![newest])
}

/// Returns the keys of the files at `source` of which a destination of the job has a backup.
async fn taken_before(config: &Config, job: &Job, source: &Catalogued) -> Result<BTreeSet<Key>> {
    let mut keys = BTreeSet::new();
    for name in &job.ship {
        // A destination that cannot be read is skipped when it is claimed, or fails then.
        let Ok(at) = read_one(config, name).await else { continue };
        let origins = at.catalog.backups().filter_map(|backup| backup.manifest.adopted_from.as_ref());
        keys.extend(origins.filter(|origin| origin.destination == source.name).map(|origin| origin.key.clone()));
    }
    Ok(keys)
}

/// The stages that every file passes.
struct Taker<'a> {
    registry: &'a Registry,
    request: &'a TakeRequest<'a>,
    source: &'a Catalogued,
    pipeline: Pipeline,
    run: String,
    observer: Arc<dyn Observer>,
}

impl Taker<'_> {
    /// Makes a backup of one file. Returns the removed wrappings, and the report.
    async fn take(&self, file: &Adopted) -> (Vec<String>, ArtifactReport) {
        let begun = Instant::now();
        let mut wrappings = Vec::new();
        let mut subject = file.series.subject.clone();
        let shipped =
            self.ship(file, &mut wrappings, &mut subject).await.map_err(|error| error.about(file.key.as_str()));
        let report = artifact_report(&subject, shipped, begun.elapsed().as_secs_f64());
        report.notify(&*self.observer);
        (wrappings, report)
    }

    async fn ship(&self, file: &Adopted, wrappings: &mut Vec<String>, subject: &mut Subject) -> Result<Shipped> {
        let name = file.key.as_str();
        let bytes = self.source.store.fetch(&file.key, None).await?;
        let unwrapped = unwrapped(bytes, name, self.registry, self.request.identities, HEADER_BYTES).await?;
        wrappings.clone_from(&unwrapped.wrappings);
        if let Some(error) = foreign_format_error(&unwrapped.head, name) {
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
        let observer = of_subject(&self.observer, subject.clone());
        observer.event(&Event::SubjectStarted);

        let time = time(file, &origin);
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
        own.as_ref().unwrap_or(&self.pipeline).back_up(&spec, dumped, &observer).await
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
