//! The catalogs of all destinations, and finding backups in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use futures_util::future::join_all;
use longshore_catalog::adopt::Adopted;
use longshore_catalog::catalog::{Backup, Catalog, Series};
use longshore_catalog::record_cache::{CachedStore, RecordCache, SharedManifests};
use longshore_config::suggestion;
use longshore_config::{Config, Destination};
use longshore_core::key::BackupName;
use longshore_core::stage::Store;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};

use crate::trust::{HistoryProblem, compare};
use crate::untrusted::untrusted_error;

/// A destination whose catalog was read.
#[derive(Clone)]
pub struct Catalogued {
    /// Its name in the configuration.
    pub name: String,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The contents of the destination.
    pub catalog: Catalog,
    /// The differences from what this host saw there before, by signed records.
    pub history: Vec<HistoryProblem>,
}

/// Reads the catalogs of all destinations, or of the one named. A catalog that cannot be read is an
/// error of its own, and the others are still returned.
pub async fn read_catalogs(config: &Config, only: Option<&str>) -> Result<Vec<(String, Result<Catalogued>)>> {
    if let Some(name) = only {
        config.destination(name)?;
    }
    let chosen = config.destinations.iter().filter(|(name, _)| only.is_none_or(|only| only == name.as_str()));
    Ok(join_all(chosen.map(async |(name, at)| (name.clone(), read(config, name, at).await))).await)
}

/// Reads the catalogs of these destinations, with the files of WAL archives.
pub(crate) async fn read_with_wal<'a>(
    config: &Config,
    names: impl IntoIterator<Item = &'a String>,
) -> Vec<(String, Result<Catalogued>)> {
    let reads = names.into_iter().map(async |name| {
        let read = async {
            let store = config.destination(name)?.open()?;
            let catalog = Catalog::read_with_wal(&*store).await?;
            Ok(catalogued(config, name, store, catalog).await)
        };
        (name.clone(), read.await)
    });
    join_all(reads).await
}

/// The caches of the records of all destinations of a configuration.
#[derive(Debug, Default)]
pub struct RecordCaches(BTreeMap<String, Arc<RecordCache>>);

impl RecordCaches {
    /// Creates empty caches.
    pub fn new(config: &Config) -> Self {
        let shared = SharedManifests::default();
        let caches = config.destinations.keys().map(|name| (name.clone(), Arc::new(RecordCache::new(&shared))));
        Self(caches.collect())
    }
}

/// Reads the catalog of one destination, with the files of WAL archives. Fetches only records that
/// the cache lacks.
pub(crate) async fn read_cached(config: &Config, name: &str, caches: &RecordCaches) -> Result<Catalogued> {
    let cache = caches.0.get(name).cloned().unwrap_or_default();
    let store = Arc::new(CachedStore::new(config.destination(name)?.open()?, Arc::clone(&cache)));
    let catalog = Catalog::read_cached(&*store, &cache).await?;
    Ok(catalogued(config, name, store, catalog).await)
}

/// Reads the catalog of one destination.
async fn read(config: &Config, name: &str, destination: &Destination) -> Result<Catalogued> {
    let store = destination.open()?;
    let catalog = Catalog::read(&*store).await?;
    Ok(catalogued(config, name, store, catalog).await)
}

/// Adopts the files of other programs in a catalog, and compares the catalog with what this host
/// saw before.
async fn catalogued(config: &Config, name: &str, store: Arc<dyn Store>, mut catalog: Catalog) -> Catalogued {
    let adoptions = config.adoptions.values().filter(|adoption| adoption.destination == name);
    catalog.adopt(adoptions.map(|adoption| &adoption.adopt));
    let history = compare(config, name, &*store, &catalog).await;
    Catalogued { name: name.to_owned(), store, catalog, history }
}

/// The least difference in response time that orders two destinations.
const RESPONSE_TIME_STEP: Duration = Duration::from_millis(250);

/// Reads all catalogs. Returns the readable ones, those of the fastest destinations first, and the
/// errors of the others. Fails if no catalog can be read.
pub async fn read_fastest_first(config: &Config, only: Option<&str>) -> Result<(Vec<Catalogued>, Vec<Error>)> {
    if let Some(name) = only {
        config.destination(name)?;
    }
    let chosen = config.destinations.iter().filter(|(name, _)| only.is_none_or(|only| only == name.as_str()));
    let reads = chosen.map(async |(name, destination)| {
        let begun = Instant::now();
        let read = read(config, name, destination).await;
        (begun.elapsed(), read)
    });
    let mut all = join_all(reads).await;
    // Among equally fast destinations, prefer one with local files, then the configured order.
    let is_remote = |read: &Result<Catalogued>| read.as_ref().is_ok_and(|at| at.store.capabilities().folder.is_none());
    all.sort_by_key(|(took, read)| (took.as_millis() / RESPONSE_TIME_STEP.as_millis(), is_remote(read)));
    split_errors(all.into_iter().map(|(_, read)| read))
}

/// Reads all catalogs. Returns the readable ones, and the errors of the others. Fails if no
/// catalog can be read.
pub async fn read_available(config: &Config, only: Option<&str>) -> Result<(Vec<Catalogued>, Vec<Error>)> {
    split_errors(read_catalogs(config, only).await?.into_iter().map(|(_, read)| read))
}

/// Separates the catalogs that were read from the errors of the others.
fn split_errors(reads: impl Iterator<Item = Result<Catalogued>>) -> Result<(Vec<Catalogued>, Vec<Error>)> {
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for read in reads {
        match read {
            Ok(read) => all.push(read),
            Err(error) => errors.push(error),
        }
    }
    match errors.pop() {
        Some(error) if all.is_empty() => Err(error),
        last => Ok((all, errors.into_iter().chain(last).collect())),
    }
}

/// Returns an error if the words name an adopted file, which no command can process.
pub(crate) fn adopted_file_error<'a>(catalogs: impl IntoIterator<Item = &'a Catalogued>, words: &str) -> Option<Error> {
    let all = catalogs.into_iter().flat_map(|at| at.catalog.adopted.values().flatten().map(move |file| (at, file)));
    let (at, file) = all.filter(|(_, file)| matches_adopted(words, file)).max_by_key(|(_, file)| file.time)?;
    let message = "is an adopted file: Longshore did not make it, and cannot decrypt or verify it";
    Some(Error::new(Stage::Catalog, Kind::Usage, file.name.as_str(), message).hint(format!(
        "fetch {} from \"{}\" and restore it with the tools of the program that made it, such as pg_restore",
        file.key, at.name
    )))
}

/// Returns the error for an unknown backup name, with the nearest known name, or that of a refused
/// manifest of this name.
pub fn unknown_backup<'a>(catalogs: impl IntoIterator<Item = &'a Catalogued>, words: &str) -> Error {
    let all: Vec<_> = catalogs.into_iter().map(|at| &at.catalog).collect();
    if let Some(error) = untrusted_error(all.iter().copied(), words) {
        return error;
    }
    let mut known = BTreeSet::new();
    for catalog in all {
        for series in catalog.series.keys().chain(catalog.adopted.keys()) {
            let subject = series.subject.segment();
            known.insert(format!("{}/{subject}", series.cluster));
            known.extend([subject, series.subject.to_string()]);
        }
        if words.contains("-20") {
            let names = catalog.backups().map(|backup| &backup.name);
            known.extend(names.flat_map(|name| [name.as_str().to_owned(), name.file_name().to_owned()]));
        }
    }
    let hint = suggestion::hint(words, known.iter().map(String::as_str), "`longshore list` shows all backups");
    Error::new(Stage::Config, Kind::NotFound, words, "no backup of that name").hint(hint)
}

/// Returns true if the words name this file, its database, or its cluster and database.
pub fn matches_adopted(words: &str, file: &Adopted) -> bool {
    let Series { cluster, subject, .. } = &file.series;
    words == file.name.as_str()
        || words == file.name.file_name()
        || words == subject.segment()
        || *subject == Subject::database(words)
        || words.strip_prefix(cluster.as_str()).and_then(|rest| rest.strip_prefix('/')) == Some(&subject.segment())
}

/// The words that name a backup, and the job that made it, if several jobs have backups of the
/// subject.
#[derive(Debug, Clone, Copy)]
pub struct NamedBackup<'a> {
    /// The name of the backup, or of the subject whose newest backup is meant.
    pub words: &'a str,
    /// The name of the job.
    pub job: Option<&'a str>,
}

impl<'a, T: AsRef<str> + ?Sized> From<&'a T> for NamedBackup<'a> {
    fn from(words: &'a T) -> Self {
        Self { words: words.as_ref(), job: None }
    }
}

/// The way to choose one of several jobs with backups of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobChoice<'a> {
    /// The command has no such flag.
    Unavailable,
    /// The value of the flag --job, if it was given.
    Flag(Option<&'a str>),
}

impl JobChoice<'_> {
    fn includes(self, job: &str) -> bool {
        match self {
            Self::Unavailable | Self::Flag(None) => true,
            Self::Flag(Some(chosen)) => chosen == job,
        }
    }

    /// Returns the way out if words mean backups of several jobs.
    fn hint(self) -> &'static str {
        match self {
            Self::Unavailable => "write the full name",
            Self::Flag(_) => "write the full name, or choose the job with --job",
        }
    }
}

/// Returns the name of the one backup that the words identify: by its name, or as the
/// newest of a series.
pub(crate) fn find_name(catalogs: &[Catalogued], words: &str, job: JobChoice<'_>) -> Result<BackupName> {
    let all = || {
        let all = catalogs.iter().flat_map(|at| at.catalog.backups());
        all.filter(|backup| job.includes(&backup.manifest.job))
    };
    let exact = |backup: &&Backup| [backup.name.as_str(), backup.name.file_name()].contains(&words);
    let chosen: Vec<&Backup> = match all().any(|backup| exact(&backup)) {
        true => all().filter(exact).collect(),
        false => all().filter(|backup| matches_backup(words, backup)).collect(),
    };
    let series: BTreeSet<_> = chosen.iter().map(|backup| Series::of(&backup.manifest)).collect();
    let Some(newest) = chosen.into_iter().max_by_key(|backup| backup.manifest.time) else {
        return Err(adopted_file_error(catalogs, words).unwrap_or_else(|| unknown_backup(catalogs, words)));
    };
    if series.len() > 1 {
        let all: Vec<_> = series
            .iter()
            .map(|series| format!("{}/{} by {}", series.cluster, series.subject.segment(), series.job))
            .collect();
        return Err(Error::new(Stage::Catalog, Kind::Usage, words, "matches more than one backup").hint(format!(
            "{}; candidates are {}",
            job.hint(),
            all.join(", ")
        )));
    }
    Ok(newest.name.clone())
}

/// Returns the name of the one backup that the words identify, or of an adopted file if they
/// identify no backup.
pub(crate) fn find_name_or_file(catalogs: &[Catalogued], words: &str, job: JobChoice<'_>) -> Result<BackupName> {
    let files = || {
        let files = catalogs.iter().flat_map(|at| at.catalog.adopted.values().flatten());
        files.filter(|file| job.includes(&file.series.job))
    };
    let is_found = |backup: &Backup| matches_backup(words, backup) && job.includes(&backup.manifest.job);
    if catalogs.iter().any(|at| at.catalog.backups().any(is_found)) {
        return find_name(catalogs, words, job);
    }
    let exact = |file: &&Adopted| [file.name.as_str(), file.name.file_name()].contains(&words);
    let chosen: Vec<&Adopted> = match files().any(|file| exact(&file)) {
        true => files().filter(exact).collect(),
        false => files().filter(|file| matches_adopted(words, file)).collect(),
    };
    let adopts: BTreeSet<&str> = chosen.iter().map(|file| file.series.job.as_str()).collect();
    if adopts.len() > 1 {
        let names = adopts.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Error::new(Stage::Catalog, Kind::Usage, words, "matches the files of more than one adopt")
            .hint(format!("write the full name of the file; the adopts are {names}")));
    }
    match chosen.into_iter().max_by_key(|file| file.time) {
        Some(newest) => Ok(newest.name.clone()),
        None => Err(unknown_backup(catalogs, words)),
    }
}

/// Returns true if the words are the backup's name, its name without the folder, its subject, or
/// its cluster and subject.
pub fn matches_backup(words: &str, backup: &Backup) -> bool {
    let subject = &backup.manifest.subject;
    let cluster = &backup.manifest.cluster.name;
    words == backup.name.as_str()
        || words == backup.name.file_name()
        || words == subject.segment()
        || *subject == Subject::database(words) && !is_other_subject(words, backup)
        || words.strip_prefix(cluster.as_str()).and_then(|rest| rest.strip_prefix('/')) == Some(&subject.segment())
}

/// Returns true if the words, which are also the name of a database, identify another
/// kind of subject.
fn is_other_subject(words: &str, backup: &Backup) -> bool {
    backup.manifest.subject.segment() != words && ["globals", "roles", "tablespaces", "schema", "all"].contains(&words)
}

/// Parses a time in UTC: `2026-06-07` (its end), `2026-06-07 12:00`, RFC 3339, or the output of
/// PostgreSQL, such as `2026-06-07 11:59:30.12+02`.
pub fn parse_time(text: &str) -> Result<DateTime<Utc>> {
    let zoned =
        DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z"));
    if let Ok(time) = zoned {
        return Ok(time.to_utc());
    }
    let spaced = text.trim().replace('T', " ");
    if let Ok(date) = NaiveDate::parse_from_str(&spaced, "%Y-%m-%d") {
        let end = NaiveTime::from_hms_opt(23, 59, 59).unwrap_or_default();
        return Ok(date.and_time(end).and_utc());
    }
    let formats = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d_%H%M%S"];
    let time = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(&spaced, format).ok());
    time.map(|time| time.and_utc()).ok_or_else(|| {
        Error::new(Stage::Config, Kind::Usage, text, "not a time")
            .hint("write \"2026-06-07\", \"2026-06-07 12:00\" (UTC), or \"2026-06-07T12:00:00+02:00\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_parses_as_its_end_and_time_as_utc() {
        assert_eq!(parse_time("2026-06-07").unwrap().to_rfc3339(), "2026-06-07T23:59:59+00:00");
        assert_eq!(parse_time("2026-06-07 12:00").unwrap().to_rfc3339(), "2026-06-07T12:00:00+00:00");
        assert_eq!(parse_time("2026-06-07T12:00:00+02:00").unwrap().to_rfc3339(), "2026-06-07T10:00:00+00:00");
        assert_eq!(parse_time("2026-06-07 11:59:30.12+02").unwrap().to_rfc3339(), "2026-06-07T09:59:30.120+00:00");
        assert_eq!(parse_time("2026-06-07 11:59:30-03:30").unwrap().to_rfc3339(), "2026-06-07T15:29:30+00:00");
        assert_eq!(parse_time("2026-06-07 11:59:30.5").unwrap().to_rfc3339(), "2026-06-07T11:59:30.500+00:00");
        assert_eq!(parse_time("yesterday").unwrap_err().kind(), Kind::Usage);
    }
}
