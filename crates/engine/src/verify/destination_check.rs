//! Findings of a verification apart from the bytes of backups: unreadable marks, deleted holds, and
//! locked versions hidden by a deletion.

use std::collections::BTreeMap;

use chrono::Utc;
use longshore_catalog::catalog::Backup;
use longshore_config::{Config, Job};
use longshore_core::key::BackupName;
use longshore_core::mark::{Mark, MarkName};
use longshore_core::pipeline::Depth;
use longshore_core::stream::collect;
use longshore_core::{Error, Kind, Result, Stage};

use super::{BackupVerifier, Scope, VerifyResult, failed_result, selected_backups};
use crate::catalogs::Catalogued;
use crate::decrypted;
use crate::destination_state::DestinationState;
use crate::error_report::ErrorReport;
use crate::run_history::HostHistory;

/// The maximum size of a mark in bytes: a mark may contain the record of a drill.
const MAX_MARK_BYTES: usize = 64 << 20;

/// The facts that this host knows about the backups of its jobs.
pub(super) struct JobHistories<'a> {
    config: &'a Config,
    known: BTreeMap<&'a str, Option<HostHistory>>,
}

impl<'a> JobHistories<'a> {
    /// Reads the run reports of every job. Unreadable reports count as none.
    pub(super) fn of(config: &'a Config) -> Self {
        let known = config.jobs.values().map(|job| (job.name.as_str(), HostHistory::of(config, job).ok().flatten()));
        Self { config, known: known.collect() }
    }

    fn job(&self, backup: &Backup) -> Option<(&'a Job, &HostHistory)> {
        let job = self.config.jobs.get(&backup.manifest.job)?;
        let is_its = job.site.cluster.name == backup.manifest.cluster.name;
        Some((job, self.known.get(job.name.as_str())?.as_ref()?)).filter(|_| is_its)
    }

    /// Records that a backup from another host was decoded here: retention then counts the backup.
    pub(super) fn record_decoded(&self, backup: &Backup, read: &mut VerifyResult) {
        let Some((job, known)) = self.job(backup).filter(|_| read.error.is_none()) else { return };
        let is_of_others = !known.covers(&backup.name, backup.manifest.time.time());
        if read.depth == Some(Depth::Decoded) && is_of_others {
            read.unmarked = decrypted::record(self.config, job, backup).err().as_ref().map(ErrorReport::from);
        }
    }
}

/// Returns the findings about a destination apart from the verified backups.
pub(super) async fn check_destination(
    verifier: &BackupVerifier<'_>,
    at: &Catalogued,
    scope: &Scope,
) -> Vec<VerifyResult> {
    let BackupVerifier { config, job, .. } = verifier;
    let mut all = Vec::new();
    let report = |name: &str, error: &Error| VerifyResult { damaged: false, ..failed_result(&at.name, name, error) };
    for backup in selected_backups(at, scope, *job) {
        for (mark, why) in backup.marks.untrusted() {
            all.push(report(backup.name.as_str(), &untrusted_mark(mark, why)));
        }
        for mark in &backup.marks.names {
            match read_mark(at, mark).await {
                Err(error) if error.kind() != Kind::NotFound => {
                    all.push(report(backup.name.as_str(), &damaged_mark(mark, error)));
                }
                _ => {}
            }
        }
    }
    let lost = DestinationState::read(config, &at.name).map(|state| {
        let lost = state.lost_holds(&at.catalog, Utc::now());
        // Prune and status report a missing backup; only existing ones are verified.
        let is_there = |name: &BackupName| at.catalog.backups().any(|backup| backup.name == *name);
        lost.into_keys().filter(|name| includes(scope, name) && is_there(name)).cloned().collect::<Vec<_>>()
    });
    match lost {
        Ok(names) => all.extend(names.iter().map(|name| report(name.as_str(), &lost_hold(name)))),
        Err(error) => all.push(report("", &error)),
    }
    if let Some(locks) = at.store.capabilities().object_locks {
        match locks.hidden().await {
            Ok(keys) => {
                let hidden = keys.iter().filter(|key| BackupName::from_file_key(key).is_some());
                all.extend(hidden.map(|key| report(key.as_str(), &hidden_version(key.as_str()))));
            }
            // Credentials that may not list versions find no hidden ones.
            Err(error) if error.kind() == Kind::Denied => {}
            Err(error) => all.push(report("", &error)),
        }
    }
    all
}

/// Reads a mark, or the record of a drill, to its end.
async fn read_mark(at: &Catalogued, mark: &MarkName) -> Result<Mark> {
    let key = mark.key()?;
    let bytes = collect(at.store.fetch(&key, None).await?, MAX_MARK_BYTES, Stage::Catalog, key.as_str()).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::new(Stage::Catalog, Kind::Corrupt, key.as_str(), "not a mark").because(error))
}

fn includes(scope: &Scope, name: &BackupName) -> bool {
    match scope {
        Scope::Named(words) => [name.as_str(), name.file_name()].contains(&words.as_str()),
        Scope::All | Scope::Newest | Scope::Sample(_) => true,
    }
}

fn damaged_mark(mark: &MarkName, error: Error) -> Error {
    let message = format!("mark \"{}\" cannot be read", mark.label());
    Error::new(Stage::Verify, Kind::Failed, mark.backup.as_str(), message)
        .because(error)
        .hint("the mark counts by its name; `longshore list` shows the marks of the backup")
}

fn untrusted_mark(mark: &MarkName, why: &str) -> Error {
    let message = format!("mark \"{}\" does not count: {why}", mark.label());
    Error::new(Stage::Trust, Kind::Failed, mark.backup.as_str(), message)
        .hint("find out which host wrote the mark; `longshore mark NAME --withdraw` accepts that it does not count")
}

fn lost_hold(name: &BackupName) -> Error {
    let message = "the hold of the backup was deleted or shortened at the destination";
    Error::new(Stage::Verify, Kind::Failed, name.as_str(), message)
        .hint(format!("hold the backup again with `longshore hold`, or release it with `longshore unhold {name}`"))
}

fn hidden_version(key: &str) -> Error {
    let message = "a deletion hides the file, but the store still has a locked version";
    Error::new(Stage::Verify, Kind::Failed, key, message)
        .hint("remove the delete marker to restore access, and find out which credentials deleted the file")
}
