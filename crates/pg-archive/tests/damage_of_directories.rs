//! A matrix of damage, file and archive for archives of many files: the directory format, packed by
//! tar, and the tar format.
#![allow(clippy::unwrap_used, reason = "a failing unwrap fails the test")]
#![allow(clippy::print_stdout, reason = "the table is the result of the test")]

#[path = "directories/directory.rs"]
mod directory;
#[path = "directories/files.rs"]
mod files;
#[path = "directories/members.rs"]
mod members;
#[path = "damage/pg_restore.rs"]
mod pg_restore;
mod support;
#[path = "damage/table.rs"]
mod table;

use longshore_testkit::cluster::Installation;

use crate::support::Bank;
use crate::table::conclude;

#[test]
fn every_damage_that_changes_a_restore_is_found_in_directories_of_the_system() {
    conclude(&directory::rows(&Bank::open(&Installation::system()), &["none", "gzip"]));
}

#[test]
fn every_damage_is_found_in_directories_that_only_a_newer_release_makes() {
    conclude(&directory::rows(&Bank::open(&Installation::newer()), &["lz4", "zstd"]));
}

#[test]
fn every_damage_that_changes_a_restore_is_found_in_tars() {
    conclude(&members::rows(&Bank::open(&Installation::system())));
}

/// The complete matrix for a newer release.
mod slow {
    use longshore_testkit::cluster::Installation;

    use crate::support::Bank;
    use crate::table::conclude;
    use crate::{directory, members};

    #[test]
    fn every_damage_that_changes_a_restore_is_found_in_directories_of_a_newer_release() {
        conclude(&directory::rows(&Bank::open(&Installation::newer()), &["none", "gzip"]));
    }

    #[test]
    fn every_damage_that_changes_a_restore_is_found_in_tars_of_a_newer_release() {
        conclude(&members::rows(&Bank::open(&Installation::newer())));
    }
}
