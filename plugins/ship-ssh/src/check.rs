//! The check of the directory before a run.

use async_trait::async_trait;
use longshore_core::check::{Check, Finding};

use crate::Account;

#[async_trait]
impl Check for Account {
    async fn check(&self) -> Vec<Finding> {
        // The caller knows the databases, and so compares the free space with their size.
        self.directory.check().await
    }
}
