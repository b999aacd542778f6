//! The checks of a destination before the first run.

use async_trait::async_trait;
use futures_util::StreamExt;
use longshore_core::Kind;
use longshore_core::check::{Check, Finding, Outcome};
use object_store::path::Path;

use crate::bucket::Bucket;
use crate::create_only::CreateOnly;
use crate::list::{self, Contents};
use crate::version::Versioning;

#[async_trait]
impl Check for Bucket {
    async fn check(&self) -> Vec<Finding> {
        let subject = self.backend.location.url();
        let failed = |error| vec![Finding::failed(&subject, &error)];
        let bucket = self.backend.location.vocabulary.bucket;
        let folder = self.backend.location.folder();
        let listing = match list::entries(self.backend.clone(), folder, Contents::All).next().await {
            None | Some(Ok(_)) => Finding::good(&subject, format!("the {bucket} exists and can be listed")),
            // Write-only credentials are sufficient for backups; the next check finds whether they
            // can write.
            Some(Err(error)) if error.kind() == Kind::Denied => {
                Finding::good(&subject, format!("the {bucket} exists; these credentials may not list it"))
            }
            Some(Err(error)) => return failed(error),
        };
        let create_only = match self.check_create_only(&subject).await {
            Ok(finding) => finding,
            Err(error) => return failed(error),
        };
        let mut findings = vec![listing, create_only];
        match &self.backend.lock {
            Some(lock) => findings.push(self.check_lock(lock).await),
            None => findings.extend(self.check_versioning(&subject).await),
        }
        findings
    }
}

impl Bucket {
    /// Warns if the bucket keeps deleted objects as old versions, which cost money.
    async fn check_versioning(&self, subject: &str) -> Option<Finding> {
        let versions = self.backend.versions.as_ref()?;
        let costs = "the bucket keeps versions, so objects that other programs delete still take space";
        match versions.versioning(&self.backend).await {
            Ok(Versioning::Disabled | Versioning::Unknown) => None,
            Ok(Versioning::Enabled) => Some(match versions.list(&self.backend, &Path::from("longshore")).await {
                Ok(_) => Finding::good(subject, format!("{costs}; Longshore deletes every version of an object")),
                Err(_) => Finding::warning(
                    subject,
                    format!("{costs}; these credentials cannot list versions, so they cannot delete backups"),
                    "permit s3:ListBucketVersions and s3:DeleteObjectVersion for the host that prunes",
                ),
            }),
            Err(error) => Some(Finding::failed(subject, &error)),
        }
    }

    /// Checks whether the store itself refuses to overwrite objects.
    async fn check_create_only(&self, subject: &str) -> longshore_core::Result<Finding> {
        let (put, multipart) =
            (self.backend.create_only_of_put().await?, self.backend.create_only_of_multipart().await?);
        let requests = match (put, multipart) {
            (CreateOnly::ByStore, CreateOnly::ByStore) => {
                return Ok(Finding::good(subject, "the store refuses to overwrite existing objects"));
            }
            (CreateOnly::ByStore, CreateOnly::ByChecks) => "uploads in parts",
            (CreateOnly::ByChecks, _) => "requests",
        };
        let finding = Finding::warning(
            subject,
            format!(
                "the store lets create-only {requests} overwrite existing objects, so Longshore checks before and after each upload"
            ),
            "if two hosts write the same key at once, the last write wins: give each host its own prefix",
        );
        Ok(Finding { outcome: Outcome::Warning, ..finding })
    }
}
