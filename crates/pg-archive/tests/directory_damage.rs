//! A matrix of damage, file and archive for archives of many files: the directory format, packed by
//! tar, and the tar format.
#![allow(clippy::unwrap_used, reason = "a failing unwrap fails the test")]
#![allow(clippy::print_stdout, reason = "the table is the result of the test")]

#[path = "directories/directory_format.rs"]
mod directory_format;
#[path = "directories/files.rs"]
mod files;
#[path = "damage/pg_restore.rs"]
mod pg_restore;
mod support;
#[path = "damage/table.rs"]
mod table;
#[path = "directories/tar_format.rs"]
mod tar_format;

use longshore_testkit::cluster::Installation;

use crate::support::TestServer;
use crate::table::print_and_check;

#[test]
fn detects_damage_in_directories_of_system_release() {
    print_and_check(&directory_format::rows(&TestServer::start(&Installation::system()), &["none", "gzip"]));
}

#[test]
fn detects_damage_in_lz4_and_zstd_directories() {
    print_and_check(&directory_format::rows(&TestServer::start(&Installation::newer()), &["lz4", "zstd"]));
}

#[test]
fn detects_damage_in_tars_of_system_release() {
    print_and_check(&tar_format::rows(&TestServer::start(&Installation::system())));
}

/// The complete matrix for a newer release.
mod slow {
    use longshore_testkit::cluster::Installation;

    use crate::support::TestServer;
    use crate::table::print_and_check;
    use crate::{directory_format, tar_format};

    #[test]
    fn detects_damage_in_directories_of_newer_release() {
        print_and_check(&directory_format::rows(&TestServer::start(&Installation::newer()), &["none", "gzip"]));
    }

    #[test]
    fn detects_damage_in_tars_of_newer_release() {
        print_and_check(&tar_format::rows(&TestServer::start(&Installation::newer())));
    }
}
