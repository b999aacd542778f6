//! The stages of jobs and of existing backups, built from the configuration.

use std::sync::Arc;

use longshore_catalog::catalog::Backup;
use longshore_config::Job;
use longshore_config::registry::Registry;
use longshore_core::Result;
use longshore_core::compress::Compression;
use longshore_core::plugin::{Cluster, CompressBy, Identities, JobContext};
use longshore_core::stage::{Decrypt, Verify};

/// Builds the verifiers of a job, or the default verifiers.
pub(crate) fn verifiers(registry: &Registry, job: Option<&Job>, site: &JobContext) -> Result<Vec<Arc<dyn Verify>>> {
    match job.and_then(|job| job.verify.as_ref()) {
        Some(verifiers) => verifiers.iter().map(|verifier| verifier(site).map(Arc::from)).collect(),
        None => Ok(registry.default_verifiers(site)?.into_iter().map(Arc::from).collect()),
    }
}

/// Returns the decryption of a backup, if the backup is encrypted and there are identities.
pub(crate) fn decryptor(
    registry: &Registry,
    identities: &Identities,
    backup: &Backup,
) -> Result<Option<Box<dyn Decrypt>>> {
    match &backup.manifest.artifact.encryption {
        Some(encryption) if registry.can_decrypt(encryption, identities) => {
            registry.decryption(encryption, identities).map(Some)
        }
        _ => Ok(None),
    }
}

/// Returns a site without a server, for verifying dumps of another host.
pub(crate) fn site_without_server() -> JobContext {
    JobContext {
        cluster: Cluster { name: String::new(), connection: String::new().into(), password: None, bin_dir: None },
        compress_by: CompressBy::Pipeline(Compression::None),
        scratch_dir: None,
    }
}
