//! A matrix of damage, file and archive for archives of many files: the directory format, packed by
//! tar, and the tar format.

mod directory_format;
mod files;
mod tar_format;

use longshore_testkit::cluster::Installation;

use crate::support::TestServer;
use crate::support::scope::Scope;
use crate::support::table::print_and_check;

#[test]
fn detects_damage_in_directories_and_tars_of_system_release() {
    let server = TestServer::start(&Installation::system());
    print_and_check(&directory_format::rows(&server, &["none", "gzip"], Scope::Sample));
    print_and_check(&tar_format::rows(&server));
}

#[test]
fn detects_damage_in_lz4_and_zstd_directories() {
    let server = TestServer::start(&Installation::newer());
    print_and_check(&directory_format::rows(&server, &["lz4", "zstd"], Scope::Sample));
}

/// Every damage in every directory instead of one, and tars and directories of a newer release.
mod slow {
    use longshore_testkit::cluster::Installation;

    use super::{directory_format, tar_format};
    use crate::support::TestServer;
    use crate::support::scope::Scope;
    use crate::support::table::print_and_check;

    #[test]
    fn detects_every_damage_in_directories_of_system_release() {
        let server = TestServer::start(&Installation::system());
        print_and_check(&directory_format::rows(&server, &["none", "gzip"], Scope::Complete));
    }

    #[test]
    fn detects_damage_in_directories_of_newer_release() {
        let server = TestServer::start(&Installation::newer());
        print_and_check(&directory_format::rows(&server, &["none", "gzip", "lz4", "zstd"], Scope::Complete));
    }

    #[test]
    fn detects_damage_in_tars_of_newer_release() {
        print_and_check(&tar_format::rows(&TestServer::start(&Installation::newer())));
    }
}
