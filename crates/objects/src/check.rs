//! What would fail at 3 a.m., found now.

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
            None | Some(Ok(_)) => Finding::good(&subject, format!("the {bucket} is there and can be listed")),
            // Credentials that may only write are as good as any; whether they may is tried next.
            Some(Err(error)) if error.kind() == Kind::Denied => {
                Finding::good(&subject, format!("the {bucket} answers; these credentials may not list it"))
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
    /// Whether what is removed would stay as a version, and cost.
    async fn kept(&self, subject: &str) -> Option<Finding> {
        let versions = self.backend.versions.as_ref()?;
        let costs = "the bucket keeps versions, so that what others remove goes on costing";
        match versions.keeping(&self.backend).await {
            Ok(Keeping::Latest | Keeping::Unknown) => None,
            Ok(Keeping::Versions) => Some(match versions.of(&self.backend, &Path::from("longshore")).await {
                Ok(_) => Finding::good(subject, format!("{costs}; Longshore removes every version of what it removes")),
                Err(_) => Finding::warning(
                    subject,
                    format!("{costs}; these credentials cannot see versions, so they can remove nothing"),
                    "permit s3:ListBucketVersions and s3:DeleteObjectVersion where backups are pruned",
                ),
            }),
            Err(error) => Some(Finding::failed(subject, &error)),
        }
    }

    /// Whether the store itself refuses to overwrite.
    async fn guarded(&self, subject: &str) -> longshore_core::Result<Finding> {
        let (put, parts) = (self.backend.guard_of_put().await?, self.backend.guard_of_parts().await?);
        let what = match (put, parts) {
            (Guard::Store, Guard::Store) => {
                return Ok(Finding::good(subject, "the store refuses to overwrite what is there"));
            }
            (Guard::Store, Guard::Look) => "uploads in parts",
            (Guard::Look, _) => "requests",
        };
        let finding = Finding::warning(
            subject,
            format!("the store lets create-only {what} overwrite what is there, so Longshore looks before and after"),
            "of two runs that write one name in the same moment the later one's stays: give each host a prefix of its own",
        );
        Ok(Finding { outcome: Outcome::Warning, ..finding })
    }
}
