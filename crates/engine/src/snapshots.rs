//! The snapshots that stay on this host after their backups. They are no backups: no policy and no
//! status counts them.

use std::sync::Arc;

use longshore_config::Config;
use longshore_config::registry::Registry;
use longshore_core::plugin::Target;
use longshore_core::stage::{Dump, KeptSnapshot, RestoreRequest, Restored};
use longshore_core::{Error, Kind, Result, Stage};

use crate::restore::restore_stage;

/// A snapshot on this host.
pub struct HostSnapshot {
    /// The snapshot.
    pub kept: KeptSnapshot,
    /// The stage that made it.
    stage: Arc<dyn Dump>,
}

impl HostSnapshot {
    /// Returns the name of the cluster.
    pub fn cluster(&self) -> &str {
        &self.kept.manifest.cluster.name
    }

    /// Restores the files of the snapshot.
    pub async fn restore(&self, registry: &Registry, target: &Target) -> Result<Restored> {
        let KeptSnapshot { name, manifest, details } = &self.kept;
        let stage = restore_stage(registry, target, manifest)?;
        let Some(snapshots) = self.stage.snapshots() else { return Err(without_snapshot(name)) };
        let files = snapshots.open(&self.kept).await?;
        stage.restore_snapshot(RestoreRequest::new(manifest, Some(details)), files).await
    }
}

/// The snapshots on this host, and the errors of jobs whose snapshots are unknown.
#[derive(Default)]
pub struct HostSnapshots {
    /// The snapshots of each cluster, oldest first.
    pub found: Vec<HostSnapshot>,
    /// The errors.
    pub errors: Vec<Error>,
}

impl HostSnapshots {
    /// Finds the snapshots of all jobs.
    pub async fn find(config: &Config) -> Self {
        let mut all = Self::default();
        for job in config.jobs.values() {
            for build in &job.dump {
                // A job with invalid settings has no snapshots yet, and `check` reports it.
                let Ok(stage) = build(&job.site) else { continue };
                let stage: Arc<dyn Dump> = Arc::from(stage);
                let Some(snapshots) = stage.snapshots() else { continue };
                match snapshots.kept().await {
                    Ok(kept) => all.add(kept, &stage),
                    Err(error) => all.errors.push(error),
                }
            }
        }
        all
    }

    /// Adds snapshots, unless another job of the cluster uses the same folder.
    fn add(&mut self, kept: Vec<KeptSnapshot>, stage: &Arc<dyn Dump>) {
        for kept in kept {
            if !self.found.iter().any(|found| found.kept == kept) {
                self.found.push(HostSnapshot { kept, stage: Arc::clone(stage) });
            }
        }
    }

    /// Returns the snapshot of a cluster by its name, or the newest one for `latest`.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::NotFound`] if there is no such snapshot.
    pub fn choose(mut self, cluster: &str, name: &str) -> Result<HostSnapshot> {
        let is_wanted =
            |found: &HostSnapshot| found.cluster() == cluster && (name == LATEST || found.kept.name == name);
        match self.found.into_iter().rfind(is_wanted) {
            Some(found) => Ok(found),
            None => Err(self.errors.pop().unwrap_or_else(|| without_snapshot(name))),
        }
    }
}

/// The name of the newest snapshot.
const LATEST: &str = "latest";

fn without_snapshot(name: &str) -> Error {
    Error::new(Stage::Restore, Kind::NotFound, name, "no such snapshot is kept on this host")
        .hint("see `longshore list --snapshots`; jobs keep snapshots with keep_on_host")
}
