//! The check of the directory before a run.

use async_trait::async_trait;
use longshore_core::check::{Check, Finding};
use longshore_core::root::exposed_folders;

use crate::draft::Draft;
use crate::{Account, walk};

#[async_trait]
impl Check for Account {
    async fn check(&self) -> Vec<Finding> {
        let subject = self.root.name();
        // The caller knows the databases, and so compares the free space with their size.
        let writable = match Draft::try_out(&self.root).await {
            Ok(()) => {
                Finding::good(&subject, "the host is reachable by SFTP, and the directory exists and is writable")
            }
            Err(error) => return vec![Finding::failed(&subject, &error)],
        };
        let link = self.root.line.link().await;
        let exposed = match &link {
            Ok(link) => walk::exposed_folders(&self.root, link).await,
            Err(_) => Ok(Vec::new()),
        };
        let exposed = match exposed {
            Ok(folders) => exposed_folders(&subject, folders),
            Err(error) => Some(Finding::failed(&subject, &error)),
        };
        let durable = match link {
            Ok(link) if !link.sftp().support_fsync() => Some(Finding::warning(
                &subject,
                "the SFTP server cannot flush files to disk (fsync@openssh.com): a power failure there may lose the newest",
                "use OpenSSH's SFTP server there",
            )),
            _ => None,
        };
        std::iter::once(writable).chain(durable).chain(exposed).collect()
    }
}
