//! Incremental base backups: the choice between an incremental and a full one, and the state that
//! the next run needs.
//!
//! A host that only encrypts cannot read the manifest of an earlier backup at a destination, so it
//! keeps the newest one of each job in `state_dir/incremental`. Restores never need this state.
//!
//! ```text
//! state_dir/incremental/nightly-1f0c9a7e.json                   the newest backup
//! state_dir/incremental/nightly-1f0c9a7e.2026-11-29_030000      the server's manifest of it
//! ```

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
use longshore_core::manifest::{Format, Manifest, Server};
use longshore_core::meter::Digest;
use longshore_core::pipeline::{BackupSpec, Destination, Pipeline, Shipped};
use longshore_core::stage::{Dump, Parent};
use longshore_core::{Error, Kind, Result, Stage, regular_file};
use serde::{Deserialize, Serialize};

use crate::destination_state::state_dir;
use crate::dirs;

/// The size of pieces in which the server's manifest is copied.
const PIECE_BYTES: usize = 256 << 10;

/// The newest base backup of a job, made by this host.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Newest {
    name: BackupName,
    /// The digest of the artifact at every destination.
    sealed: Digest,
    system_identifier: String,
    base: BaseFacts,
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
            let warning = full("no verifier of the job reads base backups");
            return Ok((Some(none), vec![warning]));
        }
        let newest = match Newest::read(config, job) {
            Ok(Some(newest)) => newest,
            Ok(None) => return Ok((Some(none), Vec::new())),
            Err(error) => return Ok((Some(none), vec![full(&error.chain())])),
        };
        if newest.is_full_due(settings, now) {
            return Ok((Some(none), Vec::new()));
        }
        if server.system_identifier.as_ref() != Some(&newest.system_identifier) {
            let warning = full(&format!("{} is of another cluster", newest.name));
            return Ok((Some(none), vec![warning]));
        }
        let mut warnings = Vec::new();
        for destination in &pipeline.destinations {
            match newest.expect_at(destination, settings).await {
                Ok(unseen) => warnings.extend(unseen),
                Err(reason) => return Ok((Some(none), vec![full(&reason)])),
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
                let dumped = stage.dump_since(&newest.parent(self.config, self.job)?).await?;
                pipeline.back_up(&spec, dumped, observer).await
            };
            match attempt.await {
                Err(error) if error.kind() == Kind::Refused => warnings.push(full(&error.chain())),
                ended => (shipped, continued) = (Some(ended), Some(newest)),
            }
        }
        let shipped = match shipped {
            Some(shipped) => shipped,
            None => match dump.dump(&spec.subject).await {
                Ok(dumped) => pipeline.back_up(spec, dumped, observer).await,
                Err(error) => Err(error),
            },
        };
        if let Ok(Shipped { manifest: Some(manifest), base_manifest: Some(file), name, .. }) = &shipped
            && let Some(newest) = Newest::of(name, manifest, continued)
            && let Err(error) = newest.write(self.config, self.job, file)
        {
            warnings.push(format!("the next base backup will not continue this one: {}", error.chain()));
        }
        (shipped, warnings)
    }
}

impl Newest {
    /// Returns the state after a backup, or `None` without the facts that a successor needs.
    fn of(name: &BackupName, manifest: &Manifest, continued: Option<&Self>) -> Option<Self> {
        Some(Self {
            name: name.clone(),
            sealed: manifest.artifact.sealed.clone(),
            system_identifier: manifest.cluster.server.system_identifier.clone()?,
            base: manifest.base.clone()?,
            full_time: continued.map_or(manifest.time, |continued| continued.full_time),
            incrementals: continued.map_or(0, |continued| continued.incrementals + 1),
        })
    }

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
            let mut state = tempfile::NamedTempFile::new_in(&folder)?;
            serde_json::to_writer(&mut state, self)?;
            state.write_all(b"\n")?;
            state.as_file().sync_all()?;
            state.persist(folder.join(format!("{}.json", prefix(config, job))))?;
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

    /// Returns the reason, if a destination shows that it lacks a good copy of the chain. Returns a
    /// warning if it does not show the chain, and the settings trust it.
    async fn expect_at(&self, at: &Destination, settings: &Settings) -> std::result::Result<Option<String>, String> {
        let (name, destination) = (&self.name, &at.name);
        let catalog = match Catalog::read(&*at.store).await {
            Ok(catalog) => catalog,
            Err(error) => {
                let unseen = format!("destination \"{destination}\" does not show {name}: {}", error.chain());
                return match settings.parent_unseen {
                    ParentUnseen::Trust => Ok(Some(format!("parent_unseen = \"trust\": {unseen}"))),
                    ParentUnseen::Full => Err(unseen),
                };
            }
        };
        let found = catalog.backups().find(|backup| backup.name == *name);
        match found.map(|backup| (backup.damage(), backup.manifest.artifact.sealed == self.sealed)) {
            Some((None, true)) => Ok(None),
            Some((None, false)) => Err(format!("{name} at destination \"{destination}\" is another backup")),
            Some((Some(damage), _)) => Err(format!("{name} at destination \"{destination}\" is damaged: {damage}")),
            None => Err(format!("destination \"{destination}\" lacks {name}")),
        }
    }

    /// Adds this backup to what a new one needs, at each destination.
    fn needed_by(&self, mut spec: BackupSpec) -> BackupSpec {
        spec.needs.values_mut().for_each(|needs| needs.push(self.name.clone()));
        spec
    }
}

const FOLDER: &str = "incremental";

fn prefix(config: &Config, job: &Job) -> String {
    format!("{}-{}", job.name, config.digest())
}

/// Returns the warning about a full backup that the settings alone do not explain.
fn full(reason: &str) -> String {
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
