//! The guarantees of the test kit for every major version of PostgreSQL.

use std::path::PathBuf;
use std::thread;

use longshore_testkit::cluster::{Cluster, INSTALLED, Installation, NEWER, contents, fingerprint, globals};
use longshore_testkit::sample;

use crate::copy::{assert_same, copy_database, copy_globals};

#[test]
fn lists_each_installed_version_once_oldest_first() {
    let majors: Vec<u32> = Installation::all().iter().map(|installation| installation.major).collect();
    assert!(majors.is_sorted_by(|one, next| one < next), "{majors:?}");
    for major in INSTALLED.into_iter().chain([Installation::system().major]) {
        assert!(majors.contains(&major), "{majors:?}");
        assert_eq!(Installation::of_major(major).major, major);
    }
}

#[test]
#[should_panic(expected = "run `cargo xtask test`, which installs it")]
fn reports_a_missing_version() {
    Installation::of_major(9);
}

#[test]
fn newer_is_the_next_version_with_compression() {
    // The environment may name any version, and `cargo xtask test` names one.
    let system = Installation::system().major;
    let next = Installation::all().into_iter().find(|installation| installation.major > system.max(16));
    match (std::env::var_os(NEWER).filter(|value| !value.is_empty()), next) {
        (Some(bin_dir), _) => assert_eq!(Installation::newer().bin_dir, PathBuf::from(bin_dir)),
        (None, Some(next)) => assert_eq!(Installation::newer(), next),
        (None, None) => assert_eq!(Installation::find_newer(), None),
    }
}

#[test]
fn zoo_moves_from_oldest_to_newest_version() {
    let all = Installation::all();
    let [source, copy] = [&all[0], &all[all.len() - 1]].map(|installation| Cluster::start(installation, &[]));
    copy_zoo(&source, &copy);
    assert_same(&contents(&copy, sample::ZOO), &contents(&source, sample::ZOO), sample::ZOO);
}

#[test]
fn many_tables_load_with_few_locks() {
    let cluster = Cluster::start(&Installation::system(), &["max_locks_per_transaction=10", "max_connections=20"]);
    sample::load_many_tables(&cluster, 2001);
    let tables = "SELECT count(*) FROM pg_class WHERE relname ~ '^table_[0-9]+$';";
    assert_eq!(cluster.psql(sample::MANY_TABLES, tables), "2001");
    assert_eq!(cluster.psql(sample::MANY_TABLES, "TABLE table_2000; TABLE table_2001;"), "2000");
}

/// Loads the zoo, and copies it.
fn copy_zoo(source: &Cluster, copy: &Cluster) {
    sample::load_zoo(source);
    copy_globals(source, copy);
    copy_database(source, copy, sample::ZOO);
}

mod slow {
    use super::*;

    /// Compares the schema and the roles, too, which only clusters of one version have in common.
    #[test]
    fn zoo_survives_dump_and_restore_on_every_version() {
        thread::scope(|scope| {
            for installation in Installation::all() {
                scope.spawn(move || {
                    let [source, copy] = [(); 2].map(|()| Cluster::start(&installation, &[]));
                    copy_zoo(&source, &copy);
                    let version = format!("PostgreSQL {}", installation.major);
                    assert_same(&fingerprint(&copy, sample::ZOO), &fingerprint(&source, sample::ZOO), &version);
                    assert_same(&globals(&copy), &globals(&source), &version);
                });
            }
        });
    }
}
