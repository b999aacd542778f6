//! The guarantees of the test kit for every major version of PostgreSQL.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use longshore_testkit::cluster::{Cluster, INSTALLED, Installation, NEWER, contents, fingerprint, globals};
use longshore_testkit::sample;

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
fn zoo_survives_dump_and_restore_on_every_version() {
    thread::scope(|scope| {
        for installation in Installation::all() {
            scope.spawn(move || {
                let [source, copy] = [(); 2].map(|()| Cluster::start(&installation, &[]));
                sample::load_zoo(&source);
                dump_and_restore(&source, &copy);
                assert_same(&fingerprint(&copy, sample::ZOO), &fingerprint(&source, sample::ZOO), installation.major);
                assert_same(&globals(&copy), &globals(&source), installation.major);
            });
        }
    });
}

#[test]
fn zoo_moves_from_oldest_to_newest_version() {
    let all = Installation::all();
    let [source, copy] = [&all[0], &all[all.len() - 1]].map(|installation| Cluster::start(installation, &[]));
    sample::load_zoo(&source);
    dump_and_restore(&source, &copy);
    assert_same(&contents(&copy, sample::ZOO), &contents(&source, sample::ZOO), all[all.len() - 1].major);
}

#[test]
fn many_tables_load_with_few_locks() {
    let cluster = Cluster::start(&Installation::system(), &["max_locks_per_transaction=10", "max_connections=20"]);
    sample::load_many_tables(&cluster, 2001);
    let tables = "SELECT count(*) FROM pg_class WHERE relname ~ '^table_[0-9]+$';";
    assert_eq!(cluster.psql(sample::MANY_TABLES, tables), "2001");
    assert_eq!(cluster.psql(sample::MANY_TABLES, "TABLE table_2000; TABLE table_2001;"), "2000");
}

/// Dumps and restores with the programs of the copy's version.
fn dump_and_restore(source: &Cluster, copy: &Cluster) {
    copy.psql("postgres", &globals(source).replace("CREATE ROLE postgres;", ""));
    let dump = copy.data_dir().with_file_name("dump");
    let program = |name| Command::new(copy.bin_dir().join(name));
    let zoo = format!("{} dbname={}", source.connection(), sample::ZOO);
    run(program("pg_dump").args(["-Fc", "-d", &zoo, "-f"]).arg(&dump));
    let postgres = format!("{} dbname=postgres", copy.connection());
    run(program("pg_restore").args(["--create", "--exit-on-error", "-d", &postgres]).arg(&dump));
}

/// Compares two dumps, and reports only the lines that differ.
fn assert_same(copy: &str, source: &str, major: u32) {
    let lines = |one: &str, other: &str| {
        let other: HashSet<&str> = other.lines().collect();
        one.lines().filter(|line| !other.contains(line)).collect::<Vec<_>>().join("\n")
    };
    let (lost, gained) = (lines(source, copy), lines(copy, source));
    assert!(copy == source, "PostgreSQL {major}, lost:\n{lost}\n\ngained:\n{gained}");
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
