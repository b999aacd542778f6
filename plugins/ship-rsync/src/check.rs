//! The check of the destination before a run.

use std::ffi::OsStr;

use async_trait::async_trait;
use longshore_core::check::{Check, Finding};

use crate::Destination;
use crate::settings::Account;

#[async_trait]
impl Check for Destination {
    async fn check(&self) -> Vec<Finding> {
        let subject = self.transfer.name();
        if let Err(error) = self.spool.ensure() {
            return vec![Finding::failed(self.spool.name(), &error)];
        }
        match self.account {
            Account::Shell => {
                let mut findings = self.directory.check().await;
                findings.push(self.try_rsync(&subject).await);
                findings
            }
            Account::Rrsync => {
                let limits = Finding::warning(
                    &subject,
                    "an account restricted by rrsync cannot publish files safely: if two hosts send the same name at once, the later wins; \
                     it also reports neither free space nor leftovers of interrupted writers",
                    "give each host its own directory, or ship to an account with a shell",
                );
                vec![self.try_rsync(&subject).await, limits]
            }
        }
    }
}

impl Destination {
    /// Runs rsync without transferring anything.
    async fn try_rsync(&self, subject: &str) -> Finding {
        let dry_run = async {
            let file = self.spool.create_file()?;
            let to = self.transfer.remote_path("");
            self.transfer.run("", &[OsStr::new("--dry-run"), OsStr::new("--"), file.path().as_os_str(), &to]).await
        };
        match dry_run.await {
            Ok(_) => Finding::good(subject, "rsync is installed on both hosts"),
            Err(error) => Finding::failed(subject, &error),
        }
    }
}
