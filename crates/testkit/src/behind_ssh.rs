//! The requirements of destinations behind an SSH server beyond those of all destinations, with one
//! function per behaviour.
//!
//! A plugin's test file contains `longshore_testkit::behind_ssh!(REACH);`, which defines one test
//! per behaviour. Each test starts its own servers.

// The function names are sentences.
#![allow(missing_docs)]

mod cut;
mod draft;
mod jump;
mod list;
mod refused;
mod setting;
mod stall;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use longshore_core::key::Key;
use longshore_core::plugin::Plugin;
use longshore_core::stage::Store;
use serde_json::{Value, json};

use crate::sshd::{Account, Sshd};

pub use cut::*;
pub use draft::*;
pub use jump::*;
pub use list::*;
pub use refused::*;
pub use setting::*;
pub use stall::*;

/// The way in which a plugin reaches a server.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// Builds the destination from its settings: [`built`] of the plugin.
    pub build: fn(Value) -> Built,
    /// The account for which the plugin is made.
    pub account: Account,
}

/// The result of building a destination: a parse error, a validation error, or the destination.
pub type Built = Result<longshore_core::Result<Box<dyn Store>>, String>;

/// Builds a destination from its settings.
pub fn built<P: Plugin<dyn Store>>(settings: Value) -> Built {
    let plugin: P = serde_json::from_value(settings).map_err(|error| error.to_string())?;
    Ok(plugin.build(&()))
}

impl Reach {
    /// Returns a destination on a server, with additional or changed settings.
    pub fn store(&self, sshd: &Sshd, more: Value) -> Box<dyn Store> {
        self.store_as(sshd, self.account, more)
    }

    /// Returns a destination on a server, for another account.
    pub fn store_as(&self, sshd: &Sshd, account: Account, more: Value) -> Box<dyn Store> {
        if account == Account::BusyBox {
            sshd.give_busybox();
        }
        let mut settings = sshd.settings(account);
        settings["path"] = json!(sshd.backups());
        for (name, value) in more.as_object().into_iter().flatten() {
            settings[name] = value.clone();
        }
        (self.build)(settings).unwrap().unwrap()
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
pub async fn soon(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "the condition did not become true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Defines a test for each behaviour.
#[macro_export]
macro_rules! behind_ssh {
    ($reach:expr) => {
        $crate::behind_ssh_tests! {
            $reach,
            a_host_and_a_path_are_enough,
            an_unknown_setting_is_an_error_that_names_the_known_ones,
            what_cannot_work_names_its_setting,
            a_host_behind_another_is_reached_through_it,
            a_host_on_the_way_that_refuses_is_told,
            a_key_that_the_host_does_not_know_is_denied,
            a_host_whose_key_is_not_known_is_never_trusted,
            a_host_whose_key_has_changed_is_never_trusted,
            a_port_where_nobody_listens_may_work_later,
            a_directory_that_does_not_exist_is_refused_and_never_made,
            a_directory_that_everybody_may_write_to_is_refused,
            what_is_not_a_directory_is_refused,
            what_is_there_is_refused_before_a_byte_is_read,
            what_a_person_put_there_is_not_overwritten_either,
            a_file_on_its_way_is_hidden_and_everything_is_private,
            what_a_dead_writer_left_is_found_and_removed_and_nothing_else_is,
            what_is_hidden_or_no_key_is_left_out,
            links_are_not_followed_neither_in_a_list_nor_by_their_name,
            a_key_at_the_top_is_as_good_as_any,
            what_cannot_be_read_fails_the_list_and_never_shortens_it,
            a_connection_that_is_cut_while_a_body_passes_is_an_error_and_leaves_nothing,
            a_connection_that_is_cut_between_two_bodies_is_made_anew,
            a_writer_that_goes_while_its_last_bytes_are_on_their_way_leaves_nothing,
            a_connection_that_is_cut_while_a_file_is_fetched_is_never_a_clean_end,
            a_file_that_is_cut_while_it_is_read_ends_in_an_error,
            a_host_that_stalls_is_given_up_in_time,
            a_folder_that_everybody_may_write_to_is_reported,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! behind_ssh_tests {
    ($reach:expr, $($behaviour:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $behaviour() {
                $crate::behind_ssh::$behaviour(&$reach).await;
            }
        )+
    };
}
