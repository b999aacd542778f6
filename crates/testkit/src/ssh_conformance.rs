//! The requirements of destinations behind an SSH server beyond those of all destinations, with one
//! function per behaviour.
//!
//! A plugin's test file contains `longshore_testkit::ssh_conformance!(PLUGIN);`, which defines one
//! test per behaviour. Each test starts its own servers.

// The function names describe the behaviours.
#![allow(missing_docs)]

mod disconnect;
mod jump;
mod list;
mod refusal;
mod settings;
mod stall;
mod temp_file;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use longshore_core::key::Key;
use longshore_core::plugin::{Plugin, StoreContext};
use longshore_core::stage::Store;
use serde_json::{Value, json};

use crate::sshd::{Account, Sshd};

pub use disconnect::*;
pub use jump::*;
pub use list::*;
pub use refusal::*;
pub use settings::*;
pub use stall::*;
pub use temp_file::*;

/// A plugin under test, and the account that it uses.
#[derive(Debug, Clone, Copy)]
pub struct SshPlugin {
    /// Builds the destination from its settings: [`build`] of the plugin.
    pub build: fn(Value, &StoreContext) -> BuildResult,
    /// The account of the tests.
    pub account: Account,
}

/// The result of building a destination: a parse error, a validation error, or the destination.
pub type BuildResult = Result<longshore_core::Result<Box<dyn Store>>, String>;

/// Builds a destination from its settings.
pub fn build<P: Plugin<dyn Store>>(settings: Value, context: &StoreContext) -> BuildResult {
    let plugin: P = serde_json::from_value(settings).map_err(|error| error.to_string())?;
    Ok(plugin.build(context))
}

impl SshPlugin {
    /// Returns a destination on a server, with additional or changed settings.
    pub fn store(&self, sshd: &Sshd, more: Value) -> Box<dyn Store> {
        self.store_as(sshd, self.account, more)
    }

    /// Returns a destination on a server, for another account.
    pub fn store_as(&self, sshd: &Sshd, account: Account, more: Value) -> Box<dyn Store> {
        self.store_with(sshd, account, more, &StoreContext::default())
    }

    /// Returns a destination on a server, for another account and with another context.
    pub fn store_with(&self, sshd: &Sshd, account: Account, more: Value, context: &StoreContext) -> Box<dyn Store> {
        if account == Account::BusyBox {
            sshd.install_busybox();
        }
        let mut settings = sshd.settings(account);
        settings["path"] = json!(sshd.backups());
        for (name, value) in more.as_object().into_iter().flatten() {
            settings[name] = value.clone();
        }
        (self.build)(settings, context).unwrap().unwrap()
    }

    /// Returns a destination on a temporary server.
    pub fn temporary(&self) -> (Sshd, Box<dyn Store>) {
        let sshd = Sshd::start();
        let store = self.store(&sshd, json!({}));
        (sshd, store)
    }
}

/// Parses a key that is known to be valid.
pub fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

/// Lists every file below `folder`, including hidden files.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// Waits until a condition holds, at most 30 seconds.
pub async fn eventually(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "the condition did not become true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Defines a test for each behaviour.
#[macro_export]
macro_rules! ssh_conformance {
    ($plugin:expr) => {
        $crate::ssh_conformance_tests! {
            $plugin,
            requires_only_host_and_path,
            unknown_setting_error_lists_known_settings,
            invalid_values_name_their_setting,
            connects_through_a_jump_host,
            reports_a_refusing_jump_host,
            unknown_client_keys_are_denied,
            never_trusts_unknown_host_keys,
            never_trusts_changed_host_keys,
            closed_ports_are_unavailable,
            never_creates_a_missing_directory,
            refuses_a_world_writable_directory,
            refuses_a_path_to_a_file,
            refuses_existing_keys_before_reading_the_body,
            never_overwrites_foreign_files,
            temporary_files_are_hidden_and_private,
            sweep_removes_only_temporary_files,
            hidden_files_and_invalid_keys_are_not_listed,
            links_are_not_followed,
            accepts_keys_without_a_folder,
            unreadable_folders_fail_the_listing,
            cut_uploads_leave_nothing,
            reconnects_between_uploads,
            upload_dropped_with_bytes_in_flight_leaves_nothing,
            cut_downloads_fail,
            files_truncated_during_a_download_are_corrupt,
            stalled_hosts_time_out,
            check_reports_world_writable_folders,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! ssh_conformance_tests {
    ($plugin:expr, $($behaviour:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $behaviour() {
                $crate::ssh_conformance::$behaviour(&$plugin).await;
            }
        )+
    };
}
