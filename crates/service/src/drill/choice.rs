//! Which backups to drill: the newest good run of a job, at the destination that was drilled the longest ago.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use longshore_core::catalog::{Backup, Presence, Series};
use longshore_core::key::{BackupName, Stamp};
use longshore_core::stage::Store;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};

use crate::catalogs::{Catalogued, readable};
use crate::config::{Config, Job};

/// What to drill.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The job; it may be left out where there is only one.
    pub job: Option<String>,
    /// The destination to take it from, if not each in turn.
    pub from: Option<String>,
    /// One backup by its name, with what it needs.
    pub backup: Option<String>,
    /// The newest time allowed.
    pub at: Option<DateTime<Utc>>,
}

/// Backups of one run at one destination, globals first.
pub(super) struct Choice {
    pub(super) destination: String,
    pub(super) store: Arc<dyn Store>,
    pub(super) backups: Vec<Backup>,
    /// That there are fewer backups of the run than it was to make.
    pub(super) missing: Option<String>,
    /// What its owner should hear.
    pub(super) warnings: Vec<String>,
    /// Backups of the run or of newer ones that are damaged, and so are not drilled.
    pub(super) passed_over: Vec<String>,
}

/// Chooses what to drill.
pub(super) async fn choose(config: &Config, job: &Job, wish: &Wish) -> Result<Choice> {
    let (mut catalogs, errors) = readable(config, wish.from.as_deref()).await?;
    if wish.from.is_none() {
        catalogs.retain(|at| job.ship.contains(&at.name));
    }
    let mut warnings: Vec<String> =
        errors.iter().map(|error| format!("a destination could not be read: {}", error.chain())).collect();
    let mut found: Vec<(Option<Stamp>, &Catalogued, Vec<&Backup>)> =
        catalogs.iter().filter_map(|at| Some((last_drill(at, job), at, newest(at, job, wish)?))).collect();
    // A sort that leaves equals as they are: those that were never drilled come in their order.
    found.sort_by_key(|(last, ..)| *last);
    let Some((_, at, backups)) = found.into_iter().next() else {
        let message = match &wish.backup {
            Some(name) => format!("there is no good backup called {name}"),
            None => "there is no good backup of it".to_owned(),
        };
        return Err(Error::new(Stage::Catalog, Kind::NotFound, &job.name, message)
            .hint("`longshore list` shows what there is; `longshore verify` tells which are good"));
    };
    let partial = backups.first().filter(|backup| backups.len() < backup.manifest.run_backups as usize);
    let missing = partial.filter(|_| wish.backup.is_none()).map(|backup| {
        let planned = backup.manifest.run_backups;
        format!("the run was to make {planned} backups, of which {} are there and good", backups.len())
    });
    warnings.extend(missing.clone());
    if let Some(warning) = backups.first().and_then(|oldest| newer(at, job, wish, oldest)) {
        warnings.push(warning);
    }
    let passed_over = backups.first().map(|oldest| damaged(at, job, wish, oldest)).unwrap_or_default();
    let mut backups: Vec<Backup> = backups.into_iter().cloned().collect();
    let of_database = |backup: &Backup| backup.manifest.subject.is_database();
    let of_all = |backup: &&Backup| matches!(backup.manifest.subject, Subject::All | Subject::Schema);
    if let Some(all) = backups.iter().find(of_all).map(|backup| backup.name.to_string())
        && backups.iter().any(of_database)
    {
        // Both make the same databases.
        let message = format!("databases cannot be drilled beside {all}, a script of their whole cluster");
        if wish.backup.is_some() {
            return Err(Error::new(Stage::Drill, Kind::Usage, &job.name, message)
                .hint("dump databases and the script of the whole cluster by a job each"));
        }
        warnings.push(message);
        backups.retain(|backup| !of_database(backup));
    }
    Ok(Choice { destination: at.name.clone(), store: Arc::clone(&at.store), backups, missing, warnings, passed_over })
}

fn of_job<'a>(at: &'a Catalogued, job: &'a Job) -> impl Iterator<Item = &'a Backup> {
    // Jobs of several clusters may bear one name.
    let is_of = |series: &&Series| series.job == job.name && series.cluster == job.site.cluster.name;
    let of_job = at.catalog.series.iter().filter(move |(series, _)| is_of(series));
    of_job.flat_map(|(_, backups)| backups)
}

/// When a backup of the job was last drilled there.
fn last_drill(at: &Catalogued, job: &Job) -> Option<Stamp> {
    of_job(at, job).filter_map(|backup| backup.marks.last_drill()).max()
}

/// Whether its bytes are there, as far as is known. One that a drill could not restore is drilled again: nothing else can clear it, and to take
/// an older one instead would keep that quiet.
fn is_drillable(backup: &Backup) -> bool {
    backup.artifact == Presence::Whole && !backup.marks.unreadable()
}

/// Which backups are newer than what is drilled, and why they are not, unless somebody chose.
fn newer(at: &Catalogued, job: &Job, wish: &Wish, chosen: &Backup) -> Option<String> {
    if wish.backup.is_some() {
        return None;
    }
    let early = |backup: &&Backup| wish.at.is_none_or(|at| backup.manifest.time.time() <= at);
    let newer = of_job(at, job).filter(|backup| backup.manifest.time > chosen.manifest.time).filter(early);
    let mut newer: Vec<&Backup> = newer.collect();
    newer.sort_by_key(|backup| Reverse((backup.manifest.time, backup.damage().is_some())));
    let newest = newer.first()?;
    let why = newest.damage().map_or_else(|| "its run is not whole".to_owned(), |damage| format!("damaged: {damage}"));
    Some(format!(
        "not the newest: {} backups there are newer than {}, {} among them ({why}); --backup NAME drills one by its name",
        newer.len(),
        chosen.manifest.time,
        newest.name
    ))
}

/// The damaged backups of the run that is drilled and of newer ones, and the manifests among them that
/// cannot be read, unless a backup was chosen by its name.
fn damaged(at: &Catalogued, job: &Job, wish: &Wish, chosen: &Backup) -> Vec<String> {
    if wish.backup.is_some() {
        return Vec::new();
    }
    let is_due = |time: Stamp| time >= chosen.manifest.time && wish.at.is_none_or(|at| time.time() <= at);
    let is_damaged = |backup: &&Backup| is_due(backup.manifest.time) && !is_drillable(backup);
    let found = of_job(at, job).filter(is_damaged).map(|backup| {
        let why = backup.damage().unwrap_or_default();
        format!("{}: damaged: {why}; it was not drilled", backup.name)
    });
    let folders: BTreeSet<&str> = of_job(at, job).map(|backup| backup.name.folder()).collect();
    let unreadable = at.catalog.unreadable.iter().filter(|(key, error)| {
        let name = BackupName::of_manifest(key).filter(|name| folders.contains(name.folder()));
        error.kind() == Kind::Corrupt && name.and_then(|name| name.time()).is_some_and(is_due)
    });
    found.chain(unreadable.map(|(key, error)| format!("{key}: {error}; it was not drilled"))).collect()
}

/// What to drill there, globals first: of the newest run that is whole and good, else of the newest of which anything is good.
fn newest<'a>(at: &'a Catalogued, job: &'a Job, wish: &Wish) -> Option<Vec<&'a Backup>> {
    let early = |backup: &&Backup| wish.at.is_none_or(|at| backup.manifest.time.time() <= at);
    let good: Vec<&Backup> = of_job(at, job).filter(|backup| is_drillable(backup)).filter(early).collect();
    if let Some(name) = &wish.backup {
        let wanted =
            good.iter().find(|backup| [backup.name.as_str(), backup.name.file_name()].contains(&name.as_str()))?;
        let needed = good.iter().filter(|backup| wanted.manifest.needs.contains(&backup.name));
        return Some(needed.chain([wanted]).copied().collect());
    }
    let mut runs: BTreeMap<(Stamp, &str), Vec<&Backup>> = BTreeMap::new();
    for backup in good {
        runs.entry((backup.manifest.time, &backup.manifest.run)).or_default().push(backup);
    }
    let whole = |backups: &&Vec<&Backup>| {
        backups.first().is_some_and(|backup| backups.len() >= backup.manifest.run_backups as usize)
    };
    let chosen = runs.values().rev().find(whole).or_else(|| runs.values().next_back());
    let mut chosen = chosen?.clone();
    chosen.sort_by_key(|backup| backup.manifest.subject.is_database());
    Some(chosen)
}

#[cfg(test)]
mod tests {
    use longshore_testkit::memory::MemoryStore;

    use super::*;
    use crate::sample::{config, job, manifest, put, put_run, put_run_but};

    async fn chosen(store: &MemoryStore) -> Choice {
        let folder = tempfile::tempdir().unwrap();
        choose(&config(folder.path(), store, None), &job(None), &Wish::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_job_of_the_same_name_on_another_cluster_is_another_job() {
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
    async fn damaged_backups_that_are_passed_over_are_named() {
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
        let named = |name: &BackupName| Wish { backup: Some(name.to_string()), ..Wish::default() };
        let good = choose(&config, &job(None), &named(&newest[0])).await.unwrap();
        assert!(good.passed_over.is_empty(), "it was chosen by its name");
        let at = Some("2026-05-01T12:00:00Z".parse().unwrap());
        let older = choose(&config, &job(None), &Wish { at, ..Wish::default() }).await.unwrap();
        assert!(older.passed_over.is_empty(), "it is not meant");
        // The members of one run are drilled together, but for the damaged ones.
        store.lose(&newest[0].manifest());
        store.put(&artifact, "abc");
        store.damage(&newest[1].manifest(), |bytes| bytes.truncate(9));
        let cut = chosen(&store).await.passed_over;
        assert!(cut.len() == 1 && cut[0].starts_with("main/app/app-2026-05-02_030000.json: "), "{cut:?}");
    }

    #[tokio::test]
    async fn newer_runs_that_are_passed_over_are_told() {
        let store = MemoryStore::new();
        let whole = put_run(&store, "2026-05-01_030000", &["app", "crm"]);
        assert!(chosen(&store).await.warnings.is_empty());
        put_run_but(&store, "2026-05-02_030000", &["app", "crm"], "crm");
        let choice = chosen(&store).await;
        assert_eq!(choice.backups[0].name, whole[0]);
        assert!(choice.warnings[0].contains("not the newest: 2 backups") && choice.warnings[0].contains("not whole"));
    }
}
