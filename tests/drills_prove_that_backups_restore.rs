//! A drill restores what lies in a destination into a cluster of its own, compares it with the record of its dump, asks what its owner wants
//! to know, and leaves its evidence and nothing else.

use std::fs;

use longshore_testkit::cluster::{Cluster, Installation};
use longshore_testkit::sample;
use serde_json::Value;

use crate::support::{Job, Workshop, finish};

/// Drills the usual job in a folder of its own, and returns the report; nothing may be left in the folder.
fn drilled(workshop: &Workshop, installation: &Installation) -> Value {
    let scratch = place();
    let mut drill = workshop.command();
    drill.env("PATH", with(installation)).args(["drill", "--json", "--scratch-dir"]).arg(scratch.path());
    let ended = finish(drill.arg("--identity").arg(workshop.identity()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is left");
    serde_json::from_str(&ended.stdout).unwrap()
}

/// A folder that the server's user can enter.
pub(crate) fn place() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::Builder::new().prefix("longshore-scratch-").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

/// The programs of an installation before those of the system.
pub(crate) fn with(installation: &Installation) -> std::ffi::OsString {
    let mut path = std::ffi::OsString::from(&installation.bin_dir);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    path
}

/// The record of a database's drill.
fn of<'a>(report: &'a Value, backup: &str) -> &'a Value {
    let drills = report["drills"].as_array().unwrap();
    drills.iter().find(|drill| drill["backup"].as_str().unwrap().contains(backup)).unwrap()
}

/// What was not the same, for a message.
fn apart(drill: &Value) -> String {
    let comparisons = drill["comparisons"].as_array().into_iter().flatten();
    comparisons
        .filter(|comparison| comparison["outcome"] != "same")
        .map(|comparison| format!("{comparison}\n"))
        .collect()
}

/// Everything that people have, and what they rarely have, is drilled in this release.
fn everything_in(installation: &Installation) {
    let workshop = Workshop::with_cluster(Cluster::start(installation, &["allow_in_place_tablespaces=on"]));
    sample::load(&workshop.cluster, 100);
    sample::load_zoo(&workshop.cluster);
    workshop.cluster.psql(
        "postgres",
        "create tablespace elsewhere location ''; create role second superuser login; set role second; \
         create role team; create role member; grant team to member; reset role; \
         alter default privileges for role member grant select on tables to team; \
         alter role postgres set default_transaction_read_only = on;",
    );
    workshop.cluster.psql(
        "shop",
        "set default_transaction_read_only = off; create table apart (n int) tablespace elsewhere; insert into apart values (1);",
    );
    let bin_dir = format!("bin_dir = '{}'", installation.bin_dir.display());
    workshop.configure(&Job { cluster: &bin_dir, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let report = drilled(&workshop, installation);
    for name in ["shop/", "telemetry/", "/zoo/", "Archiv", "empty/", "globals/"] {
        let drill = of(&report, name);
        assert_eq!(drill["verdict"], "good", "{name}: {}", apart(drill));
    }
    assert!(of(&report, "shop/")["compared"].as_u64().unwrap() > 50);
    assert!(of(&report, "shop/")["scratch"].as_str().unwrap().contains(&installation.version), "{report}");
}

#[test]
fn on_postgresql_15() {
    everything_in(&Installation::of_major(15));
}

#[test]
fn on_postgresql_16() {
    everything_in(&Installation::of_major(16));
}

#[test]
fn on_postgresql_17() {
    everything_in(&Installation::of_major(17));
}

#[test]
fn on_postgresql_18() {
    everything_in(&Installation::of_major(18));
}
