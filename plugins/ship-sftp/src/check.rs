//! The check of the directory before a run.

use async_trait::async_trait;
use longshore_core::check::{Check, Finding};
use longshore_core::root_dir::world_writable_folders;

use crate::atomic_write::Upload;
use crate::{Account, list};

#[async_trait]
impl Check for Account {
    async fn check(&self) -> Vec<Finding> {
        let subject = self.root.name();
        // The caller knows the databases, and so compares the free space with their size.
        let writable = match Upload::probe(&self.root).await {
            Ok(()) => {
                Finding::good(&subject, "the host is reachable by SFTP, and the directory exists and is writable")
            }
            Err(error) => return vec![Finding::failed(&subject, &error)],
        };
        let session = self.root.client.session().await;
        let exposed = match &session {
            Ok(session) => list::world_writable_folders(&self.root, session).await,
            Err(_) => Ok(Vec::new()),
        };
        let exposed = match exposed {
            Ok(folders) => world_writable_folders(&subject, folders),
            Err(error) => Some(Finding::failed(&subject, &error)),
        };
        let durable = match session {
            Ok(session) if !session.sftp().support_fsync() => Some(Finding::warning(
                &subject,
                "the SFTP server cannot flush files to disk (fsync@openssh.com): a power failure there may lose the newest",
                "use OpenSSH's SFTP server there",
            )),
            _ => None,
        };
        std::iter::once(writable).chain(durable).chain(exposed).collect()
    }
}
