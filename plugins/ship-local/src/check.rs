//! The check of the directory before a run.

use async_trait::async_trait;
use longshore_core::Error;
use longshore_core::check::{Check, Finding};
use longshore_core::root_dir::world_writable_folders;

use crate::atomic_write::TempFile;
use crate::{Directory, blocking};

#[async_trait]
impl Check for Directory {
    async fn check(&self) -> Vec<Finding> {
        let subject = self.root.path.display().to_string();
        let failed = |error: Error| Finding::failed(&subject, &error);
        let root = self.root.clone();
        if let Err(error) = blocking(move || root.check()).await {
            return vec![failed(error)];
        }
        let root = self.root.clone();
        let writable = match blocking(move || TempFile::probe(&root)).await {
            Ok(()) => Finding::good(&subject, "the directory exists and is writable"),
            Err(error) => failed(error),
        };
        // The caller knows the databases, and so compares the free space with their size.
        let root = self.root.clone();
        let full = blocking(move || root.require_free_bytes(1)).await.err().map(failed);
        let root = self.root.clone();
        let exposed = match blocking(move || root.world_writable_folders()).await {
            Ok(folders) => world_writable_folders(&subject, folders),
            Err(error) => Some(failed(error)),
        };
        std::iter::once(writable).chain(full).chain(exposed).collect()
    }
}
