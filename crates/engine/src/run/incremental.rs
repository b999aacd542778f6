//! Incremental base backups: the choice between an incremental and a full one, and the state that
//! the next run needs.
//!
//! A host that only encrypts cannot read the server's manifest of an earlier backup at a
//! destination, so it keeps the newest one of each job in `state_dir/incremental`. Restores never
//! need this state. The names of the files contain the job and the digest of the configuration's
//! path.
//!
//! ```text
//! state_dir/incremental/nightly-1f0c9a7e.json                   the newest backup
//! state_dir/incremental/nightly-1f0c9a7e.2026-11-29_030000      the server's manifest of it
//! ```

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use longshore_catalog::catalog::Catalog;
use longshore_config::{Config, Incremental as Settings, Job, ParentUnseen};
use longshore_core::base::BaseFacts;
use longshore_core::event::Observer;
use longshore_core::key::{BackupName, Timestamp};
use longshore_core::manifest::{Format, Server};
use longshore_core::meter::Digest;
use longshore_core::pipeline::{BackupSpec, Destination, Pipeline, Shipped};
use longshore_core::stage::{Dump, Parent};
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage, regular_file};
use serde::{Deserialize, Serialize};

use super::checkpoint_wait::reported;
use crate::destination_state::state_dir;
use crate::{dirs, state_file};

/// The folder of the state, in `state_dir`.
const FOLDER: &str = "incremental";

/// The size of pieces in which the server's manifest is copied.
const PIECE_BYTES: usize = 256 << 10;

/// The newest base backup of a job, made by this host.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Newest {
    name: BackupName,
    /// The digest of the artifact at every destination.
    sealed: Digest,
    system_identifier: String,
    server_version: String,
    /// The digest of the server's history.
    history: String,
    base: BaseFacts,
    /// The destinations that received the backup.
    destinations: BTreeSet<String>,
    /// The time of the full backup at the beginning of the chain.
    full_time: Timestamp,
    /// The number of incremental backups since then, including this one.
    incrementals: u32,
}

/// The incremental backups of a run.
pub(super) struct Incrementals<'a> {
    config: &'a Config,
    job: &'a Job,
    /// The backup to continue; `None` if a full one is made.
    newest: Option<Newest>,
}

impl<'a> Incrementals<'a> {
    /// Decides whether the next base backup is an incremental one. Returns `None` for a job without
    /// the setting. Also returns warnings about a full backup that the settings alone do not
    /// explain.
    ///
    /// # Errors
    ///
    /// Fails with [`Usage`](Kind::Usage) if the job makes no base backups, or makes them in a way
    /// that permits only full ones.
    pub(super) async fn plan(
        (config, job): (&'a Config, &'a Job),
        dumps: &[Arc<dyn Dump>],
        pipeline: &Pipeline,
        server: &Server,
        now: DateTime<Utc>,
    ) -> Result<(Option<Self>, Vec<String>)> {
        let Some(settings) = &job.incremental else { return Ok((None, Vec::new())) };
        expect_stage(job, dumps)?;
        let none = Self { config, job, newest: None };
        if !pipeline.verify.iter().any(|verify| verify.verifies(&Format::Base)) {
            let warning = full_warning("no verifier of the job reads base backups");
            return Ok((Some(none), vec![warning]));
        }
        let newest = match Newest::read(config, job) {
            Ok(Some(newest)) => newest,
            Ok(None) => return Ok((Some(none), Vec::new())),
            Err(error) => return Ok((Some(none), vec![full_warning(&error.chain())])),
        };
        if newest.is_full_due(settings, now) {
            return Ok((Some(none), Vec::new()));
        }
        let own = BackupName::new(&job.site.cluster.name, &Subject::Base.segment(), Timestamp::new(now))?;
        if newest.name.folder() != own.folder() || server.system_identifier.as_ref() != Some(&newest.system_identifier)
        {
            return Ok((Some(none), vec![full_warning(&format!("{} is of another cluster", newest.name))]));
        }
        let mut warnings = Vec::new();
        for destination in &pipeline.destinations {
            match newest.look_up(destination, settings).await {
                Found::Good => {}
                Found::Trusted(warning) => warnings.push(warning),
                Found::Unusable(reason) => return Ok((Some(none), vec![full_warning(&reason)])),
            }
        }
        Ok((Some(Self { newest: Some(newest), ..none }), warnings))
    }

    /// Makes a base backup: an incremental one if that was planned and the server can make one that
    /// is right, else a full one. Also returns warnings.
    pub(super) async fn back_up(
        &self,
        pipeline: &Pipeline,
        dump: &dyn Dump,
        spec: &BackupSpec,
        observer: &Arc<dyn Observer>,
    ) -> (Result<Shipped>, Vec<String>) {
        let mut warnings = Vec::new();
        let mut continued = None;
        let mut shipped = None;
        if let (Some(newest), Some(stage)) = (&self.newest, dump.incremental()) {
            let spec = newest.needed_by(spec.clone());
            let attempt = async {
                let parent = newest.parent(self.config, self.job)?;
                let dumped = reported(&spec.subject, stage.dump_since(&parent), observer).await?;
                pipeline.back_up(&spec, dumped, observer).await
            };
            match attempt.await {
                Err(error) if error.kind() == Kind::Refused => warnings.push(full_warning(&error.chain())),
                ended => {
                    // A failure that does not depend on the network would recur.
                    if ended.as_ref().is_err_and(|error| matches!(error.kind(), Kind::Corrupt | Kind::Failed)) {
                        warnings.extend(self.forget().err().map(|error| error.chain()));
                    }
                    (shipped, continued) = (Some(ended), Some(newest));
                }
            }
        }
        let shipped = match shipped {
            Some(shipped) => shipped,
            None => match reported(&spec.subject, dump.dump(&spec.subject), observer).await {
                Ok(dumped) => pipeline.back_up(spec, dumped, observer).await,
                Err(error) => Err(error),
            },
        };
        if let Ok(shipped) = &shipped
            && let Err(error) = self.remember(dump, shipped, continued).await
        {
            warnings.push(format!("the next base backup will not continue this one: {}", error.chain()));
        }
        (shipped, warnings)
    }

    /// Writes the state after a backup, if any destination has it.
    async fn remember(&self, dump: &dyn Dump, shipped: &Shipped, continued: Option<&Newest>) -> Result<()> {
        let Shipped { name, manifest: Some(manifest), base_manifest: Some(file), deliveries, .. } = shipped else {
            return Ok(());
        };
        let received = deliveries.iter().filter(|delivery| delivery.result.is_ok());
        let destinations: BTreeSet<String> = received.map(|delivery| delivery.destination.clone()).collect();
        let (Some(base), Some(stage), false) = (&manifest.base, dump.incremental(), destinations.is_empty()) else {
            return Ok(());
        };
        // Until then, the next backup would continue the one before.
        self.forget()?;
        let system_identifier = manifest.cluster.server.system_identifier.clone();
        let (Some(history), Some(system_identifier)) = (stage.history(base).await?, system_identifier) else {
            let message = "the server has no WAL summary up to its start";
            return Err(Error::new(Stage::Dump, Kind::Refused, name.as_str(), message)
                .hint("set summarize_wal = on on the server, and reload its configuration"));
        };
        let newest = Newest {
            name: name.clone(),
            sealed: manifest.artifact.sealed.clone(),
            system_identifier,
            server_version: manifest.cluster.server.server_version.clone(),
            history,
            base: base.clone(),
            destinations,
            full_time: continued.map_or(manifest.time, |continued| continued.full_time),
            incrementals: continued.map_or(0, |continued| continued.incrementals + 1),
        };
        newest.write(self.config, self.job, file)
    }

    /// Removes the state, so that the next base backup is a full one.
    fn forget(&self) -> Result<()> {
        let path = state_dir(self.config)?.join(FOLDER).join(format!("{}.json", prefix(self.config, self.job)));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path, error)),
            _ => Ok(()),
        }
    }
}

/// The state of the newest backup at a destination.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// The destination has it, and all that it continues.
    Good,
    /// The destination does not show it, and is trusted, with a warning.
    Trusted(String),
    /// The destination lacks it, or its copy is of no use.
    Unusable(String),
}

impl Newest {
    /// Reads the state of a job. Returns `None` before its first base backup.
    fn read(config: &Config, job: &Job) -> Result<Option<Self>> {
        let Some(folder) = dirs::state_dir(config).map(|folder| folder.join(FOLDER)) else { return Ok(None) };
        let path = folder.join(format!("{}.json", prefix(config, job)));
        match regular_file::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(&path, error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// Writes the state and the server's manifest. Until the state is replaced, the previous one
    /// stays valid.
    fn write(&self, config: &Config, job: &Job, manifest: &File) -> Result<()> {
        let folder = state_dir(config)?.join(FOLDER);
        let written = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            let mut copy = tempfile::NamedTempFile::new_in(&folder)?;
            copy_all(manifest, &mut copy)?;
            copy.as_file().sync_all()?;
            copy.persist(self.manifest_path(&folder, config, job))?;
            state_file::write(&folder.join(format!("{}.json", prefix(config, job))), self)?;
            self.remove_older(&folder, config, job)
        };
        written().map_err(|error| failed(&folder, error))
    }

    /// Removes the manifests of earlier backups.
    fn remove_older(&self, folder: &Path, config: &Config, job: &Job) -> io::Result<()> {
        let own = self.manifest_path(folder, config, job);
        let prefix = format!("{}.", prefix(config, job));
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let time = name.to_str().and_then(|name| name.strip_prefix(&prefix)).and_then(Timestamp::parse);
            if time.is_some() && entry.path() != own {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn manifest_path(&self, folder: &Path, config: &Config, job: &Job) -> PathBuf {
        let time = self.name.time().map(|time| time.to_string()).unwrap_or_default();
        folder.join(format!("{}.{time}", prefix(config, job)))
    }

    /// Returns the parent of a new backup.
    fn parent(&self, config: &Config, job: &Job) -> Result<Parent> {
        let folder = state_dir(config)?.join(FOLDER);
        Ok(Parent {
            manifest: self.manifest_path(&folder, config, job),
            system_identifier: self.system_identifier.clone(),
            server_version: self.server_version.clone(),
            history: self.history.clone(),
            base: self.base.clone(),
        })
    }

    /// Returns true if the next backup must be a full one by the settings. A chain that a wrong
    /// clock dated in the future ends, too.
    fn is_full_due(&self, settings: &Settings, now: DateTime<Utc>) -> bool {
        let is_too_old = now - self.full_time.time() >= settings.full_age();
        let is_ahead = self.name.time().is_none_or(|time| time.time() >= now);
        is_too_old || is_ahead || self.incrementals >= settings.max_incrementals
    }

    /// Looks the backup up at a destination.
    async fn look_up(&self, at: &Destination, settings: &Settings) -> Found {
        let (name, destination) = (&self.name, &at.name);
        let catalog = match Catalog::read(&*at.store).await {
            Ok(catalog) => catalog,
            Err(error) => {
                let unseen = format!("destination \"{destination}\" does not show {name}: {}", error.chain());
                return match settings.parent_unseen {
                    ParentUnseen::Trust if self.destinations.contains(destination) => {
                        Found::Trusted(format!("parent_unseen = \"trust\": {unseen}"))
                    }
                    ParentUnseen::Trust => {
                        Found::Unusable(format!("destination \"{destination}\" did not receive {name}"))
                    }
                    ParentUnseen::Full => Found::Unusable(unseen),
                };
            }
        };
        let found = catalog.backups().find(|backup| backup.name == *name);
        let reason = match found.map(|backup| (backup.damage(), backup.manifest.artifact.sealed == self.sealed)) {
            Some((None, true)) => return Found::Good,
            Some((None, false)) => format!("{name} at destination \"{destination}\" is another backup"),
            Some((Some(damage), _)) => format!("{name} at destination \"{destination}\" is damaged: {damage}"),
            None => format!("destination \"{destination}\" lacks {name}"),
        };
        Found::Unusable(reason)
    }

    /// Adds this backup to what a new one needs, at each destination.
    fn needed_by(&self, mut spec: BackupSpec) -> BackupSpec {
        spec.needs.values_mut().for_each(|needs| needs.push(self.name.clone()));
        spec
    }
}

fn prefix(config: &Config, job: &Job) -> String {
    format!("{}-{}", job.name, config.digest())
}

/// Returns the warning about a full backup that the settings alone do not explain.
fn full_warning(reason: &str) -> String {
    format!("a full base backup instead of an incremental one: {reason}")
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::io(Stage::Dump, path.display().to_string(), "cannot use the state of incremental backups", error)
        .hint("set state_dir in the configuration to a folder that this user can write to")
}

/// Copies a file from its beginning, without moving its position.
fn copy_all(from: &File, to: &mut impl Write) -> io::Result<()> {
    let (mut piece, mut offset) = (vec![0; PIECE_BYTES], 0);
    loop {
        let read = from.read_at(&mut piece, offset)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(piece.get(..read).unwrap_or_default())?;
        offset += read as u64;
    }
}

/// Fails unless a stage of the job takes incremental base backups.
pub(crate) fn expect_stage(job: &Job, dumps: &[Arc<dyn Dump>]) -> Result<()> {
    if dumps.iter().any(|dump| dump.incremental().is_some()) {
        return Ok(());
    }
    let message = "incremental needs a dump of type \"pg_base\" with client = \"longshore\"";
    Err(Error::new(Stage::Config, Kind::Usage, format!("job {}", job.name), message)
        .hint("remove incremental from the job, or add such a dump"))
}

#[cfg(test)]
mod tests;
