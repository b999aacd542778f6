//! What would fail at 3 a.m., found now.

use async_trait::async_trait;
use longshore_core::check::{Check, Finding};
use longshore_core::root::exposed_folders;

use crate::draft::Draft;
use crate::{Account, walk};

#[async_trait]
impl Check for Account {
    async fn check(&self) -> Vec<Finding> {
        let subject = self.root.name();
        // How much is free, and how much is wanted, is told by whoever knows the databases.
        let writable = match Draft::try_out(&self.root).await {
            Ok(()) => {
                Finding::good(&subject, "the host is reached by SFTP, and the directory is there and can be written to")
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
                "the SFTP server cannot make files durable (fsync@openssh.com): a power cut there may lose the newest",
                "use OpenSSH's SFTP server there",
            )),
            _ => None,
        };
        std::iter::once(writable).chain(durable).chain(exposed).collect()
    }
}
