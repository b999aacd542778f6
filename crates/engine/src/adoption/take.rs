//! Makes backups of adopted files. Reads each to its end, encrypts and ships it like a new dump.
//!
//! | file | contents |
//! | --- | --- |
//! | `known.rs` | the backups that the job has already |
//! | `taker.rs` | a backup of one file |

mod known;
mod taker;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use longshore_catalog::adopt::Adopted;
use longshore_config::registry::Registry;
use longshore_config::{Adoption, Config, Job, suggestion};
use longshore_core::event::Observer;
use longshore_core::key::{BackupName, Key};
use longshore_core::pipeline::{Destination, Pipeline};
use longshore_core::plugin::Identities;
use longshore_core::run_report::Outcome;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;

use self::known::KnownBackups;
use self::taker::Taker;
use super::hard_links::HardLinks;
use crate::catalogs::{Catalogued, matches_adopted, read_catalogs, unknown_backup};
use crate::hook::RunLock;
use crate::mode::Mode;
use crate::report::ArtifactReport;
use crate::restore_page;
use crate::run::claim_destinations;
use crate::stages::verifiers;

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
    /// The backup of the same content, if there is one under another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_as: Option<SameContent>,
    /// The removed wrappings, such as gzip, the outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrappings: Vec<String>,
    /// The backup, unless the file was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<ArtifactReport>,
}

/// A backup with the content of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SameContent {
    /// The backup; none if it would be made of the other file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupName>,
    /// The file that the backup was made of; none if it was made by a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Key>,
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
    /// A backup of the same content exists, made of a hard link or a copy of the file.
    SameFile,
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
        let taken = [TakenState::Taken, TakenState::Partial, TakenState::TakenBefore, TakenState::SameFile];
        let taken = taken.into_iter().any(has);
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
    let known = KnownBackups::read(config, job, &source.name).await;
    let mut links = HardLinks::in_folder(source.store.capabilities().folder);
    // Names of files that are backups come first.
    known.files().for_each(|key| drop(links.first_name(key)));
    let mut taken = Taken { job: job.name.clone(), from: source.name.clone(), files: Vec::new(), warnings: Vec::new() };
    if request.mode == Mode::DryRun {
        taken.files.extend(chosen.iter().map(|file| planned(file, &known, &mut links)));
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
    let period = adoption.adopt.pattern.period();
    let run = lock.run_id(&job.name);
    let mut taker = Taker { registry, request, source: &source, pipeline, run, observer, period, known, links };
    for file in chosen {
        taken.files.push(taker.take(file).await);
    }
    for Destination { name, store } in &taker.pipeline.destinations {
        if taken.files.iter().any(|file| file.state == TakenState::Taken) {
            taken.warnings.extend(restore_page::upload_or_warn(name, &**store).await);
        }
    }
    Ok(taken)
}

impl TakenFile {
    /// Returns the result of a file that was not read.
    fn unread(file: &Adopted, state: TakenState) -> Self {
        Self {
            key: file.key.clone(),
            time: file.time,
            bytes: file.bytes,
            state,
            same_as: None,
            wrappings: Vec::new(),
            backup: None,
        }
    }
}

/// Returns what would become of a file, as far as its name shows.
fn planned(file: &Adopted, known: &KnownBackups, links: &mut HardLinks<'_>) -> TakenFile {
    if known.has_file(&file.key) {
        return TakenFile::unread(file, TakenState::TakenBefore);
    }
    match links.first_name(&file.key) {
        Some(first) => {
            let backup = known.of_file(&first).map(|known| known.name.clone());
            let same_as = Some(SameContent { backup, file: Some(first) });
            TakenFile { same_as, ..TakenFile::unread(file, TakenState::SameFile) }
        }
        None => TakenFile::unread(file, TakenState::Planned),
    }
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
