//! The checks of a destination before the first run.

use async_trait::async_trait;
use futures_util::StreamExt;
use longshore_core::Kind;
use longshore_core::check::{Check, Finding, Outcome};
use object_store::path::Path;

use crate::bucket::Bucket;
use crate::guard::Guard;
use crate::list;
use crate::version::Keeping;

#[async_trait]
impl Check for Bucket {
    async fn check(&self) -> Vec<Finding> {
        let subject = self.backend.place.name();
        let failed = |error| vec![Finding::failed(&subject, &error)];
        let bucket = self.backend.place.words.bucket;
        let seen = match list::entries(self.backend.clone()).next().await {
            None | Some(Ok(_)) => Finding::good(&subject, format!("the {bucket} exists and can be listed")),
            // Write-only credentials are sufficient for backups; the next check finds whether they
            // can write.
            Some(Err(error)) if error.kind() == Kind::Denied => {
                Finding::good(&subject, format!("the {bucket} exists; these credentials may not list it"))
            }
            Some(Err(error)) => return failed(error),
        };
        let guarded = match self.guarded(&subject).await {
            Ok(finding) => finding,
            Err(error) => return failed(error),
        };
        let mut findings = vec![seen, guarded];
        match &self.backend.lock {
            Some(lock) => findings.push(self.lock_finding(lock).await),
            None => findings.extend(self.kept(&subject).await),
        }
        findings
    }
}

impl Bucket {
    /// Warns if the bucket keeps deleted objects as old versions, which cost money.
    async fn kept(&self, subject: &str) -> Option<Finding> {
        let versions = self.backend.versions.as_ref()?;
        let costs = "the bucket keeps versions, so objects that other programs delete still take space";
        match versions.keeping(&self.backend).await {
            Ok(Keeping::Latest | Keeping::Unknown) => None,
            Ok(Keeping::Versions) => Some(match versions.of(&self.backend, &Path::from("longshore")).await {
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
    async fn guarded(&self, subject: &str) -> longshore_core::Result<Finding> {
        let (put, parts) = (self.backend.guard_of_put().await?, self.backend.guard_of_parts().await?);
        let what = match (put, parts) {
            (Guard::Store, Guard::Store) => {
                return Ok(Finding::good(subject, "the store refuses to overwrite existing objects"));
            }
            (Guard::Store, Guard::Look) => "uploads in parts",
            (Guard::Look, _) => "requests",
        };
        let finding = Finding::warning(
            subject,
            format!(
                "the store lets create-only {what} overwrite existing objects, so Longshore checks before and after each upload"
            ),
            "if two hosts write the same key at once, the last write wins: give each host its own prefix",
        );
        Ok(Finding { outcome: Outcome::Warning, ..finding })
    }
}
