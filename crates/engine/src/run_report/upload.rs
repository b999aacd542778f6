//! Uploading run reports to the destinations of a job: never overwriting, and with write
//! permission only.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use longshore_config::registry::Builder;
use longshore_config::{Config, Destination, Job};
use longshore_core::key::Key;
use longshore_core::pipeline::{encrypt_json, sign_record};
use longshore_core::run_report::{Details, Id, ReportName, RunReport};
use longshore_core::stage::{Encrypt, Store};
use longshore_core::stream::from_bytes;
use longshore_core::{Kind, Result};
use longshore_retention::Policy;

use crate::destination_state::DestinationState;
use crate::mount;
use crate::report_retention::prune;

/// The destinations of a job's reports.
pub(super) struct Uploader {
    cluster: String,
    job: String,
    /// The name of each destination, with its retention policy and the remembered mount point.
    /// If the policy locks backups, reports are locked, too. If backups are pruned by the
    /// policy, so are reports.
    destinations: Vec<(String, Destination, Option<Policy>, Option<PathBuf>)>,
    encrypt: Option<Builder<dyn Encrypt>>,
}

/// A report to upload.
pub(super) struct ReportUpload {
    pub(super) report: RunReport,
    /// The bytes of the report, as stored on this host.
    pub(super) bytes: Vec<u8>,
    pub(super) details: Details,
}

impl Uploader {
    /// Returns the destinations of a job.
    pub(super) fn of(config: &Config, job: &Job) -> Self {
        let destination = |name: &String| {
            let destination = config.destinations.get(name)?.clone();
            // Without a readable state, the mount point is not compared: the run itself
            // reports that.
            let mount_point = DestinationState::read(config, name).ok().and_then(|state| state.mount_point);
            Some((name.clone(), destination, job.retention.get(name).cloned(), mount_point))
        };
        Self {
            cluster: job.site.cluster.name.clone(),
            job: job.name.clone(),
            destinations: job.ship.iter().filter_map(destination).collect(),
            encrypt: job.encrypt.clone(),
        }
    }

    /// Uploads reports to every destination, and removes surplus reports from destinations that are
    /// not pruned otherwise. Returns the errors by destination.
    pub(super) async fn upload_all(
        &self,
        uploads: &[ReportUpload],
        prunes: bool,
    ) -> Vec<(String, longshore_core::Error)> {
        let results = self.destinations.iter().map(async |(name, destination, policy, mount_point)| {
            let shipped = async {
                let store = destination.open_for_retention(policy.as_ref())?;
                if mount_point.as_ref().is_some_and(|before| mount::is_gone(before, &*store)) {
                    return Ok(());
                }
                for upload in uploads {
                    self.ship(&*store, upload).await?;
                }
                if prunes && policy.is_none() {
                    self.prune(&store).await;
                }
                Ok(())
            };
            let error = shipped.await.err()?;
            Some((name.clone(), error))
        });
        join_all(results).await.into_iter().flatten().collect()
    }

    async fn ship(&self, store: &dyn Store, upload: &ReportUpload) -> Result<()> {
        let name = self.name(&upload.report.id);
        if !upload.details.is_empty() {
            let (extension, sealed) = self.seal(&upload.details, &name).await?;
            ship_new(store, &name.details(&extension)?, sealed).await?;
        }
        let key = name.key()?;
        ship_new(store, &key, upload.bytes.clone()).await?;
        match sign_record(store, &key, &upload.bytes).await? {
            Some((key, signature)) => ship_new(store, &key, signature.to_vec()).await,
            None => Ok(()),
        }
    }

    fn name(&self, id: &Id) -> ReportName {
        ReportName::new(&self.cluster, &self.job, id.clone())
    }

    async fn seal(&self, details: &Details, name: &ReportName) -> Result<(String, Vec<u8>)> {
        let encrypt = self.encrypt.as_ref().map(|encrypt| encrypt(&())).transpose()?;
        let json: serde_json::Value = serde_json::from_slice(&details.to_bytes(&name.id)?).unwrap_or_default();
        let (extension, sealed) = encrypt_json(encrypt.as_deref(), &json, &name.to_string()).await?;
        Ok((extension.to_owned(), sealed.to_vec()))
    }

    /// Removes surplus reports from a destination without a retention policy, whose reports would
    /// otherwise accumulate. A destination that cannot be listed, or permits no removal, keeps all.
    async fn prune(&self, store: &Arc<dyn Store>) {
        let listed = async { store.list(None).await?.map_ok(|entry| entry.key).try_collect::<Vec<Key>>().await };
        if let Ok(keys) = listed.await {
            prune(&**store, &keys, &self.cluster, &self.job).await;
        }
    }
}

/// Uploads an object. An existing object counts as success.
async fn ship_new(store: &dyn Store, key: &Key, bytes: Vec<u8>) -> Result<()> {
    match store.ship(key, from_bytes(bytes)).await {
        Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
        shipped => shipped,
    }
}
