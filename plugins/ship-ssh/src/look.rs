//! What would fail at 3 a.m., found now.

use async_trait::async_trait;
use longshore_core::check::{Check, Finding};

use crate::Account;

#[async_trait]
impl Check for Account {
    async fn check(&self) -> Vec<Finding> {
        // How much is free, and how much is wanted, is told by whoever knows the databases.
        self.directory.look().await
    }
}
