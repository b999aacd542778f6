//! Dumps stored as differences: the choice between a difference and a full backup.
//!
//! A difference is always one from the last full backup of its database, which this host made. The
//! host cannot read that backup, so it keeps digests of its blocks, see [`state`]. Restores never
//! need this state.

mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use longshore_catalog::catalog::{Backup, Catalog, Series};
use longshore_config::registry::Builder;
use longshore_config::{Config, Differential as Settings, Job, ParentUnseen};
use longshore_core::difference::{Differ, FullBlocks, HELD_BYTES, Outcome, signature_bytes};
use longshore_core::event::Observer;
use longshore_core::key::BackupName;
use longshore_core::pipeline::{BackupSpec, Destination, Pipeline, Shipped};
use longshore_core::stage::{DiscoveredSubject, Dump};
use longshore_core::stream::OnEnd;
use longshore_core::subject::{Subject, SubjectKind};
use longshore_core::{Error, Kind, Result, Stage};

use self::state::{FullState, NewState, StateFolder};

/// The permission to store differences in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Differences {
    /// As the job's setting `differential` permits.
    AsConfigured,
    /// Full backups only.
    Never,
}

/// The differences of a run.
pub(crate) struct Differentials<'a> {
    settings: &'a Settings,
    folder: StateFolder,
    /// The destinations that could not be listed.
    unlisted: Vec<String>,
    /// The decision about each database.
    plans: BTreeMap<Subject, Planned>,
}

/// The decision about one database.
#[derive(Default)]
struct Planned {
    /// The full backup to compare with; `None` if a full one is made.
    full: Option<FullState>,
    warnings: Vec<String>,
}

impl<'a> Differentials<'a> {
    /// Decides for each database whether the next backup may be a difference. Returns `None` for a
    /// job without the setting, and a warning if this host cannot keep the state.
    ///
    /// # Errors
    ///
    /// Fails with [`Usage`](Kind::Usage) if the job dumps no database.
    pub(crate) async fn plan(
        (config, job): (&'a Config, &'a Job),
        subjects: &[(Arc<dyn Dump>, DiscoveredSubject)],
        pipeline: &Pipeline,
        differences: Differences,
        now: DateTime<Utc>,
    ) -> Result<(Option<Self>, Option<String>)> {
        let Some(settings) = &job.differential else { return Ok((None, None)) };
        let databases = subjects.iter().map(|(_, surveyed)| &surveyed.subject);
        let databases: Vec<_> = databases.filter(|subject| subject.kind() == SubjectKind::Database).collect();
        // Another error reports a dump that cannot be built.
        let may_dump = |dump: &Builder<dyn Dump>| dump(&job.site).map_or(true, |dump| dump.dumps_databases());
        if databases.is_empty() && !job.dump.iter().any(may_dump) {
            return Err(without_database(job));
        }
        let folder = match StateFolder::of(config, job) {
            Ok(folder) => folder,
            // A host that cannot write its state still makes backups.
            Err(error) => return Ok((None, Some(full_warning(&error.chain())))),
        };
        let mut plans: BTreeMap<Subject, Planned> = BTreeMap::new();
        if differences == Differences::Never || databases.is_empty() {
            return Ok((Some(Self { settings, folder, unlisted: Vec::new(), plans }), None));
        }
        let reads = pipeline.destinations.iter().map(async |at| (at, Catalog::read(&*at.store).await));
        let catalogs = join_all(reads).await;
        for subject in databases {
            let series =
                Series { cluster: job.site.cluster.name.clone(), subject: subject.clone(), job: job.name.clone() };
            let planned = match folder.read(subject) {
                Err(error) => Planned { full: None, warnings: vec![full_warning(&error.chain())] },
                Ok(None) => Planned { full: None, warnings: expected_full(&catalogs, &series, settings, now) },
                Ok(Some(state)) if state.is_full_due(settings, now) => Planned::default(),
                Ok(Some(state)) => usable(state, &catalogs, settings, pipeline),
            };
            plans.insert(subject.clone(), planned);
        }
        let unlisted = catalogs.iter().filter(|(_, catalog)| catalog.is_err()).map(|(at, _)| at.name.clone()).collect();
        Ok((Some(Self { settings, folder, unlisted, plans }), None))
    }

    /// Returns the destinations that could not be listed.
    pub(crate) fn unlisted(&self) -> &[String] {
        &self.unlisted
    }

    /// Returns for each database the full backup that the next backup will be compared with, if
    /// there is one, and warnings.
    pub(crate) fn preview(&self) -> Vec<(Option<&BackupName>, Vec<String>)> {
        let plans = self.plans.iter();
        plans
            .map(|(subject, planned)| {
                let missing = planned.full.as_ref().and_then(|state| self.folder.expect_blocks(subject, state).err());
                let full = planned.full.as_ref().filter(|_| missing.is_none());
                let warnings =
                    planned.warnings.iter().cloned().chain(missing.map(|error| full_warning(&error.chain())));
                (full.map(|state| &state.full), warnings.collect())
            })
            .collect()
    }

    /// Returns the size of the digests of full backups of this size, in bytes, and the free space
    /// for them.
    pub(crate) fn space(&self, plaintext_bytes: u64) -> Result<(u64, u64)> {
        let blocks = plaintext_bytes / u64::from(self.settings.block_bytes());
        Ok((signature_bytes(blocks), self.folder.free_bytes()?))
    }

    /// Backs up a database: as a difference if that was planned, and if it is small enough, else as
    /// a full backup.
    pub(super) async fn back_up(
        &self,
        pipeline: &Pipeline,
        dump: &dyn Dump,
        spec: &BackupSpec,
        observer: &Arc<dyn Observer>,
    ) -> Result<Shipped> {
        let subject = &spec.subject;
        let planned = self.plans.get(subject);
        let mut warnings = planned.map(|planned| planned.warnings.clone()).unwrap_or_default();
        let full = planned.and_then(|planned| planned.full.clone());
        let prepared = self.prepare(subject, full, &mut warnings).await;
        let (differ, new) = prepared.map_or((None, None), |(differ, new)| (Some(differ), Some(new)));
        let dumped = dump.dump(subject).await?;
        let mut shipped = pipeline.back_up_with(spec, dumped, differ, observer).await?;
        if let Some(new) = new {
            match self.remember(pipeline, &shipped, new) {
                Ok(warning) => warnings.extend(warning),
                Err(error) => warnings.push(format!("the next backup will be a full one: {}", error.chain())),
            }
        }
        shipped.notes.warnings.splice(..0, warnings);
        Ok(shipped)
    }

    /// Opens the digests of the full backup, and creates the file for those of a new one. Without
    /// that file, the backup is a full one like any other.
    async fn prepare(
        &self,
        subject: &Subject,
        full: Option<FullState>,
        warnings: &mut Vec<String>,
    ) -> Option<(Differ, NewState)> {
        let opened = match &full {
            None => None,
            Some(state) => match self.folder.open(subject, state).await {
                Ok(signature) => Some(signature),
                Err(error) => {
                    warnings.push(full_warning(&error.chain()));
                    None
                }
            },
        };
        let compared = full.filter(|_| opened.is_some());
        let new = self.folder.create(subject, compared);
        let prepared = new.and_then(|new| {
            let full = new.compared.as_ref().zip(opened).map(|(state, signature)| FullBlocks {
                name: state.full.clone(),
                plaintext: state.plaintext.clone(),
                signature,
            });
            let (key, block_bytes) = (new.key, self.settings.block_bytes());
            Ok((Differ { full, key, block_bytes, signature: new.file()? }, new))
        });
        prepared.map_err(|error| warnings.push(full_warning(&error.chain()))).ok()
    }

    /// Writes the state after a backup, if any destination has it. Returns a warning about a backup
    /// of an unexpected kind or size.
    fn remember(&self, pipeline: &Pipeline, shipped: &Shipped, new: NewState) -> Result<Option<String>> {
        let (Some(manifest), Some(outcome)) = (&shipped.manifest, shipped.difference.as_ref().and_then(OnEnd::get))
        else {
            return Ok(None);
        };
        let received = shipped.deliveries.iter().filter(|delivery| delivery.result.is_ok());
        let destinations: Vec<String> = received.map(|delivery| delivery.destination.clone()).collect();
        if destinations.is_empty() {
            return Ok(None);
        }
        match outcome {
            Outcome::Difference => {
                let bytes = manifest.artifact.sealed.bytes;
                let is_long = manifest.artifact.plaintext.bytes > HELD_BYTES as u64;
                let first = new.compared.as_ref().filter(|full| is_long && full.has_no_difference());
                // Differences grow until a full backup is due, but the first one should be small.
                let warning = first.map(|full| full.percent(bytes)).filter(|percent| *percent > 50).map(|percent| {
                    format!(
                        "the first difference has {percent} % of the size of its full backup: differences save little"
                    )
                });
                self.folder.add_difference(new, bytes)?;
                Ok(warning)
            }
            Outcome::Full(digests) => {
                // Until then, the next backup would be a difference from the full one before.
                self.folder.forget(&manifest.subject)?;
                // A short dump that changes much is stored in full without further ado.
                let is_long = manifest.artifact.plaintext.bytes > HELD_BYTES as u64;
                let compared = new.compared.as_ref().filter(|_| is_long).map(|state| state.full.clone());
                let summary = digests.as_ref().map_err(|error| self.folder.failed_write(error))?;
                let encrypt = pipeline.encrypt.as_deref();
                let state = FullState::new(manifest, destinations, encrypt, &new, self.settings, *summary)?;
                self.folder.write(new, &state)?;
                Ok(compared
                    .map(|full| full_warning(&format!("the beginning of the dump has nothing in common with {full}"))))
            }
        }
    }
}

fn without_database(job: &Job) -> Error {
    let message = "differential needs a dump of databases, which the job does not make";
    Error::new(Stage::Config, Kind::Usage, format!("job {}", job.name), message)
        .hint("remove differential from the job, or add a dump of type \"pg_dump\"")
}

/// The catalogs of a job's destinations.
type Catalogs<'a> = [(&'a Destination, Result<Catalog>)];

/// Returns the warning if a full backup exists that has no digests on this host.
fn expected_full(catalogs: &Catalogs<'_>, series: &Series, settings: &Settings, now: DateTime<Utc>) -> Vec<String> {
    let backups = |catalog: &Catalog| catalog.series.get(series).cloned().unwrap_or_default();
    let read = catalogs.iter().filter_map(|(_, catalog)| catalog.as_ref().ok()).flat_map(backups);
    let is_recent =
        |backup: &Backup| !backup.manifest.is_difference() && now - backup.manifest.time.time() < settings.full_age();
    let newest = read.filter(is_recent).max_by_key(|backup| backup.manifest.time);
    let warning = |backup: Backup| full_warning(&format!("this host has no block digests of {}", backup.name));
    newest.map(warning).into_iter().collect()
}

/// Checks the full backup at each destination.
fn usable(state: FullState, catalogs: &Catalogs<'_>, settings: &Settings, pipeline: &Pipeline) -> Planned {
    let mut planned = Planned::default();
    let unfit = state.unfit(settings, pipeline.encrypt.as_deref());
    let reasons = catalogs.iter().map(|(at, catalog)| match catalog {
        Ok(catalog) => look_up(&state, &at.name, catalog).map_or(Found::Good, Found::Unusable),
        Err(error) => unseen(&state, &at.name, error, settings.parent_unseen),
    });
    for found in unfit.map(Found::Unusable).into_iter().chain(reasons) {
        match found {
            Found::Good => {}
            Found::Trusted(warning) => planned.warnings.push(warning),
            Found::Unusable(reason) => return Planned { full: None, warnings: vec![full_warning(&reason)] },
        }
    }
    Planned { full: Some(state), ..planned }
}

/// The state of the full backup at a destination.
enum Found {
    /// The destination has it.
    Good,
    /// The destination does not show it, and is trusted, with a warning.
    Trusted(String),
    /// The destination lacks it, or its copy is of no use.
    Unusable(String),
}

/// Returns the reason why a destination's copy of the full backup cannot be used, if there is one.
fn look_up(state: &FullState, destination: &str, catalog: &Catalog) -> Option<String> {
    let name = &state.full;
    let Some(backup) = catalog.backups().find(|backup| backup.name == *name) else {
        return Some(format!("destination \"{destination}\" lacks {name}"));
    };
    if let Some(damage) = backup.damage() {
        return Some(format!("{name} at destination \"{destination}\" is damaged: {damage}"));
    }
    let artifact = &backup.manifest.artifact;
    let is_same = artifact.plaintext == state.plaintext && artifact.difference.is_none();
    (!is_same).then(|| format!("{name} at destination \"{destination}\" is another backup"))
}

/// Decides about a destination that cannot be listed.
fn unseen(state: &FullState, destination: &str, error: &Error, parent_unseen: ParentUnseen) -> Found {
    let unseen = format!("destination \"{destination}\" does not show {}: {}", state.full, error.chain());
    match parent_unseen {
        ParentUnseen::Trust if state.destinations.contains(destination) => {
            Found::Trusted(format!("parent_unseen = \"trust\": {unseen}"))
        }
        ParentUnseen::Trust => Found::Unusable(format!("destination \"{destination}\" did not receive {}", state.full)),
        ParentUnseen::Full => Found::Unusable(unseen),
    }
}

/// Returns the warning about a full backup that the settings alone do not explain.
fn full_warning(reason: &str) -> String {
    format!("a full backup instead of a difference: {reason}")
}
