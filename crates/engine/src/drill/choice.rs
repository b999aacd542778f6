//! The choice of backups to drill: the newest good run of a job, at the destination with the
//! oldest drill.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::slice;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use longshore_catalog::catalog::{Backup, Presence, Series};
use longshore_config::{Config, Job};
use longshore_core::key::{BackupName, Key, Timestamp, encode_name};
use longshore_core::stage::Store;
use longshore_core::subject::{Subject, SubjectKind};
use longshore_core::{Error, Kind, Result, Stage};

use crate::catalogs::{Catalogued, read_available};
use crate::chains::{Chains, Copies};
use crate::untrusted::untrusted;

/// The selection of backups to drill.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The name of the job; optional if there is only one.
    pub job: Option<String>,
    /// The destination to fetch from; by default, destinations take turns.
    pub from: Option<String>,
    /// The name of a single backup, drilled with the backups that it needs.
    pub backup: Option<String>,
    /// The newest permitted time of a backup.
    pub at: Option<DateTime<Utc>>,
}

/// Backups of one run at one destination, globals first.
pub(super) struct Choice {
    pub(super) destination: String,
    pub(super) store: Arc<dyn Store>,
    pub(super) backups: Vec<Backup>,
    /// The backups that each of them continues, from the full one on.
    pub(super) earlier: Vec<Vec<Backup>>,
    /// The warning that the run has fewer backups than planned.
    pub(super) missing: Option<String>,
    /// Warnings for the operator.
    pub(super) warnings: Vec<String>,
    /// Backups of this run or newer ones that are not drilled because they are damaged.
    pub(super) passed_over: Vec<String>,
    /// Newer manifests that are refused, since they have no permitted signature.
    pub(super) refused: Vec<Error>,
}

/// Chooses the backups to drill.
pub(super) async fn choose(config: &Config, job: &Job, request: &Request) -> Result<Choice> {
    let (mut catalogs, errors) = read_available(config, request.from.as_deref()).await?;
    if request.from.is_none() {
        catalogs.retain(|at| job.ship.contains(&at.name));
    }
    let mut warnings: Vec<String> =
        errors.iter().map(|error| format!("a destination could not be read: {}", error.chain())).collect();
    let mut found: Vec<(Option<Timestamp>, &Catalogued, Vec<&Backup>)> =
        catalogs.iter().filter_map(|at| Some((last_drill(at, job), at, newest_run(at, job, request)?))).collect();
    // The stable sort keeps the order of destinations that were never drilled.
    found.sort_by_key(|(last, ..)| *last);
    let Some((_, at, backups)) = found.into_iter().next() else {
        let unreadable = catalogs.iter().flat_map(|at| &at.catalog.unreadable).map(|(_, error)| error.clone());
        let of_signature = unreadable.filter(|error| error.stage() == Stage::Trust);
        let refused = catalogs.iter().flat_map(|at| refused(at, job, None)).chain(of_signature).next();
        if let Some(error) = refused {
            return Err(error);
        }
        let message = match &request.backup {
            Some(name) => format!("no good backup named {name}"),
            None => "no good backup of the job".to_owned(),
        };
        return Err(Error::new(Stage::Catalog, Kind::NotFound, &job.name, message)
            .hint("`longshore list` shows all backups; `longshore verify` finds damaged ones"));
    };
    let partial = backups.first().filter(|backup| backups.len() < backup.manifest.run_backups as usize);
    let missing = partial.filter(|_| request.backup.is_none()).map(|backup| {
        let planned = backup.manifest.run_backups;
        format!("the run planned {planned} backups, of which {} exist and are good", backups.len())
    });
    warnings.extend(missing.clone());
    if let Some(warning) = backups.first().and_then(|oldest| newer_backups_warning(at, job, request, oldest)) {
        warnings.push(warning);
    }
    let passed_over = backups.first().map(|oldest| damaged_backups(at, job, request, oldest)).unwrap_or_default();
    let time =
        backups.first().map(|oldest| oldest.manifest.time).filter(|_| request.backup.is_none() && request.at.is_none());
    let mut refused = time.map(|time| refused(at, job, Some(time))).unwrap_or_default();
    refused.extend(at.history.iter().map(|problem| problem.error(&at.name)));
    let mut backups: Vec<Backup> = backups.into_iter().cloned().collect();
    let of_database = |backup: &Backup| backup.manifest.subject.kind() == SubjectKind::Database;
    let of_all = |backup: &&Backup| matches!(backup.manifest.subject, Subject::All | Subject::Schema);
    if let Some(all) = backups.iter().find(of_all).map(|backup| backup.name.to_string())
        && backups.iter().any(of_database)
    {
        // Both would create the same databases.
        let message = format!("databases cannot be drilled together with {all}, a script of their whole cluster");
        if request.backup.is_some() {
            return Err(Error::new(Stage::Drill, Kind::Usage, &job.name, message)
                .hint("use one job for databases and another for the script of the whole cluster"));
        }
        warnings.push(message);
        backups.retain(|backup| !of_database(backup));
    }
    let chains = Chains::new(slice::from_ref(at));
    let earlier = |backup: &Backup| {
        let chain = chains.earlier(backup, Copies::Intact)?;
        Ok(chain.into_iter().map(|(_, backup)| backup.clone()).collect())
    };
    let earlier = backups.iter().map(earlier).collect::<Result<Vec<Vec<Backup>>>>()?;
    let (destination, store) = (at.name.clone(), Arc::clone(&at.store));
    Ok(Choice { destination, store, backups, earlier, missing, warnings, passed_over, refused })
}

/// Returns the errors of refused manifests of the job's cluster, not older than `after` if given.
fn refused(at: &Catalogued, job: &Job, after: Option<Timestamp>) -> Vec<Error> {
    let cluster = encode_name(&job.site.cluster.name);
    let is_meant = |key: &Key| {
        let name = BackupName::from_manifest_key(key).filter(|name| name.folder().split('/').next() == Some(&cluster));
        name.is_some_and(|name| after.is_none_or(|after| name.time().is_some_and(|time| time >= after)))
    };
    untrusted(&at.catalog).filter(|(key, _)| is_meant(key)).map(|(_, error)| error.clone()).collect()
}

fn job_backups<'a>(at: &'a Catalogued, job: &'a Job) -> impl Iterator<Item = &'a Backup> {
    // Jobs of several clusters may have the same name.
    let is_of = |series: &&Series| series.job == job.name && series.cluster == job.site.cluster.name;
    let job_backups = at.catalog.series.iter().filter(move |(series, _)| is_of(series));
    job_backups.flat_map(|(_, backups)| backups)
}

/// Returns the time of the job's last drill at the destination.
fn last_drill(at: &Catalogued, job: &Job) -> Option<Timestamp> {
    job_backups(at, job).filter_map(|backup| backup.marks.last_drill()).max()
}

/// Returns true if the backup's bytes exist, as far as is known. A backup that a drill could not
/// restore is drilled again: only a drill can clear it, and drilling an older one instead would
/// hide the failure.
fn is_drillable(backup: &Backup) -> bool {
    backup.artifact == Presence::Whole && !backup.marks.failed_read_back() && backup.unusable.is_none()
}

/// Returns the warning about backups newer than the chosen ones, with the reason, unless a backup
/// was chosen by name.
fn newer_backups_warning(at: &Catalogued, job: &Job, request: &Request, chosen: &Backup) -> Option<String> {
    if request.backup.is_some() {
        return None;
    }
    let early = |backup: &&Backup| request.at.is_none_or(|at| backup.manifest.time.time() <= at);
    let newer = job_backups(at, job).filter(|backup| backup.manifest.time > chosen.manifest.time).filter(early);
    let mut newer: Vec<&Backup> = newer.collect();
    newer.sort_by_key(|backup| Reverse((backup.manifest.time, backup.damage().is_some())));
    let newest = newer.first()?;
    let why = newest.damage().map_or_else(|| "its run is incomplete".to_owned(), |damage| format!("damaged: {damage}"));
    Some(format!(
        "not the newest: {} backups there are newer than {}, the newest of them {} ({why}); --backup NAME drills one by name",
        newer.len(),
        chosen.manifest.time,
        newest.name
    ))
}

/// Returns the damaged backups of the chosen run and of newer ones, including unreadable manifests,
/// unless a backup was chosen by name.
fn damaged_backups(at: &Catalogued, job: &Job, request: &Request, chosen: &Backup) -> Vec<String> {
    if request.backup.is_some() {
        return Vec::new();
    }
    let is_in_range = |time: Timestamp| time >= chosen.manifest.time && request.at.is_none_or(|at| time.time() <= at);
    let is_damaged = |backup: &&Backup| is_in_range(backup.manifest.time) && !is_drillable(backup);
    let found = job_backups(at, job).filter(is_damaged).map(|backup| {
        let why = backup.damage().unwrap_or_default();
        format!("{}: damaged: {why}; it was not drilled", backup.name)
    });
    let cluster = encode_name(&job.site.cluster.name);
    let folders: BTreeSet<&str> = job_backups(at, job).map(|backup| backup.name.folder()).collect();
    let unreadable = at.catalog.unreadable.iter().filter(|(key, error)| {
        // A bad signature hides the job of a backup, but not its cluster.
        let may_be_its =
            |name: &BackupName| error.stage() == Stage::Trust && name.folder().split('/').next() == Some(&cluster);
        let name =
            BackupName::from_manifest_key(key).filter(|name| folders.contains(name.folder()) || may_be_its(name));
        error.kind() == Kind::Corrupt && name.and_then(|name| name.time()).is_some_and(is_in_range)
    });
    found.chain(unreadable.map(|(key, error)| format!("{key}: {error}; it was not drilled"))).collect()
}

/// Returns the backups to drill at a destination, globals first: those of the newest complete and
/// good run, else of the newest run with any good backup.
fn newest_run<'a>(at: &'a Catalogued, job: &'a Job, request: &Request) -> Option<Vec<&'a Backup>> {
    let early = |backup: &&Backup| request.at.is_none_or(|at| backup.manifest.time.time() <= at);
    let good: Vec<&Backup> = job_backups(at, job).filter(|backup| is_drillable(backup)).filter(early).collect();
    if let Some(name) = &request.backup {
        let wanted =
            good.iter().find(|backup| [backup.name.as_str(), backup.name.file_name()].contains(&name.as_str()))?;
        let needed = good.iter().filter(|backup| wanted.manifest.prerequisites().any(|need| *need == backup.name));
        return Some(needed.chain([wanted]).copied().collect());
    }
    let mut runs: BTreeMap<(Timestamp, &str), Vec<&Backup>> = BTreeMap::new();
    for backup in good {
        runs.entry((backup.manifest.time, &backup.manifest.run)).or_default().push(backup);
    }
    let whole = |backups: &&Vec<&Backup>| {
        backups.first().is_some_and(|backup| backups.len() >= backup.manifest.run_backups as usize)
    };
    let chosen = runs.values().rev().find(whole).or_else(|| runs.values().next_back());
    let mut chosen = chosen?.clone();
    chosen.sort_by_key(|backup| backup.manifest.subject.kind());
    Some(chosen)
}

#[cfg(test)]
mod tests {
    use longshore_testkit::memory::MemoryStore;

    use super::*;
    use crate::fixture::{config, job, manifest, put, put_base, put_partial_run, put_run};

    async fn chosen(store: &MemoryStore) -> Choice {
        let folder = tempfile::tempdir().unwrap();
        choose(&config(folder.path(), store, None), &job(None), &Request::default()).await.unwrap()
    }

    #[tokio::test]
    async fn same_job_name_on_another_cluster_is_ignored() {
        let store = MemoryStore::new();
        let own = put_run(&store, "2026-05-01_030000", &["app"]);
        let mut other = manifest();
        other.cluster.name = "crm".to_owned();
        other.artifact.key = other.name().unwrap().artifact(".dump").unwrap();
        other.details = None;
        put(&store, &other);
        let names: Vec<_> = chosen(&store).await.backups.into_iter().map(|backup| backup.name).collect();
        assert_eq!(names, own);
    }

    #[tokio::test]
    async fn base_backup_is_drilled_after_dumps() {
        let store = MemoryStore::new();
        let dumps = put_run(&store, "2026-05-01_030000", &["app"]);
        let base = put_base(&store, "2026-05-01_030000");
        let names: Vec<_> = chosen(&store).await.backups.into_iter().map(|backup| backup.name).collect();
        assert_eq!(names, [&dumps[..], std::slice::from_ref(&base)].concat());
        let folder = tempfile::tempdir().unwrap();
        let request = Request { backup: Some(base.to_string()), ..Request::default() };
        let choice = choose(&config(folder.path(), &store, None), &job(None), &request).await.unwrap();
        assert_eq!(choice.backups.into_iter().map(|backup| backup.name).collect::<Vec<_>>(), [base]);
    }

    #[tokio::test]
    async fn skipped_damaged_backups_are_reported() {
        let store = MemoryStore::new();
        put_run(&store, "2026-05-01_030000", &["app"]);
        let newest = put_run(&store, "2026-05-02_030000", &["app"]);
        assert!(chosen(&store).await.passed_over.is_empty());
        let artifact = newest[1].artifact(".dump.zst.age").unwrap();
        store.lose(&artifact);
        let choice = chosen(&store).await;
        assert_eq!(choice.backups[0].manifest.time.to_string(), "2026-05-01_030000");
        let expected = "main/app/app-2026-05-02_030000: damaged: no artifact; it was not drilled";
        assert_eq!(choice.passed_over, [expected]);
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &store, None);
        let named = |name: &BackupName| Request { backup: Some(name.to_string()), ..Request::default() };
        let good = choose(&config, &job(None), &named(&newest[0])).await.unwrap();
        assert!(good.passed_over.is_empty(), "it was chosen by name");
        let at = Some("2026-05-01T12:00:00Z".parse().unwrap());
        let older = choose(&config, &job(None), &Request { at, ..Request::default() }).await.unwrap();
        assert!(older.passed_over.is_empty(), "newer than the time given");
        // The backups of one run are drilled together, except damaged ones.
        store.lose(&newest[0].manifest());
        store.put(&artifact, "abc");
        store.damage(&newest[1].manifest(), |bytes| bytes.truncate(9));
        let cut = chosen(&store).await.passed_over;
        assert!(cut.len() == 1 && cut[0].starts_with("main/app/app-2026-05-02_030000.json: "), "{cut:?}");
    }

    #[tokio::test]
    async fn skipped_newer_runs_are_reported() {
        let store = MemoryStore::new();
        let whole = put_run(&store, "2026-05-01_030000", &["app", "crm"]);
        assert!(chosen(&store).await.warnings.is_empty());
        put_partial_run(&store, "2026-05-02_030000", &["app", "crm"], "crm");
        let choice = chosen(&store).await;
        assert_eq!(choice.backups[0].name, whole[0]);
        assert!(choice.warnings[0].contains("not the newest: 2 backups") && choice.warnings[0].contains("incomplete"));
    }
}
