//! A destination written by 0.1.0 is readable by every later version: `fixtures/destination-0.1.0`
//! has encrypted and unencrypted backups in all formats, of databases with odd names, with marks,
//! drills, a hold, a damaged artifact and run reports. The fixture is never edited.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{CommandOutput, TestEnv, finish};

/// The number of backups in the fixture, of which one is damaged.
const BACKUPS: usize = 28;
const DAMAGED: &str = "main/shop/shop-2026-11-29_221922";
const HELD: &str = "main/shop/shop-2026-11-29_221902";

/// A copy of the fixture, and a configuration that reads it.
struct OldDestination {
    test_env: TestEnv,
    identity: PathBuf,
}

impl OldDestination {
    fn new() -> Self {
        let test_env = TestEnv::new();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/destination-0.1.0");
        let copied = Command::new("cp").arg("-r").args([&fixture, &test_env.path("old")]).status().unwrap();
        assert!(copied.success());
        let old = test_env.path("old");
        let identity = old.join("identity.txt");
        let config = fs::read_to_string(fixture.join("longshore.toml")).unwrap();
        let connection = test_env.cluster.connection();
        let config = config
            .replace("host=/tmp/fx port=54999 user=postgres", &connection)
            .replace("/tmp/fx/state", old.join("state").to_str().unwrap())
            .replace("/tmp/fx", old.to_str().unwrap());
        fs::write(test_env.config_path(), config).unwrap();
        Self { test_env, identity }
    }

    fn longshore(&self, arguments: &[&str]) -> CommandOutput {
        finish(self.test_env.command().args(arguments))
    }

    fn with_identity(&self, arguments: &[&str]) -> CommandOutput {
        finish(self.test_env.command().args(arguments).arg("--identity").arg(&self.identity))
    }
}

#[test]
fn list_shows_all_backups_and_marks() {
    let old = OldDestination::new();
    let all = old.longshore(&["list", "--all", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&all.stdout).unwrap();
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), BACKUPS);
    let find = |name: &str| all.iter().find(|backup| backup["name"] == name).unwrap();
    assert_eq!(find(HELD)["held"]["why"], "an audit", "{}", find(HELD));
    assert_eq!(find(DAMAGED)["destinations"]["unsealed"], "damaged: found by a read-back");
    let subjects: Vec<&str> = all.iter().filter_map(|backup| backup["subject"]["name"].as_str()).collect();
    for name in ["shop", "base", "wal", "globals", "Ünï/ 1"] {
        assert!(subjects.contains(&name), "{name}: {subjects:?}");
    }
}

#[test]
fn verify_decodes_all_backups() {
    let old = OldDestination::new();
    old.with_identity(&["verify", "--all"]).expect(4).shows("shop-2026-11-29_221922");
    let json = old.with_identity(&["verify", "--all", "--json"]).expect(4);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let results = json.as_array().unwrap();
    assert_eq!(results.len(), BACKUPS);
    let damaged: Vec<_> = results.iter().filter(|result| result["damaged"] == true).collect();
    assert_eq!(damaged.len(), 1, "{results:?}");
}

/// Restores each format, and a database that is named as a reserved word.
#[test]
fn restore_works_for_every_format() {
    let old = OldDestination::new();
    let target = Cluster::start(&Installation::system(), &[]);
    target.psql("postgres", "create role app; create role reader");
    let scratch = old.test_env.make_folder("scratch").display().to_string();
    let restore = |backup: &str, database: &str| {
        let connection = format!("{} dbname={database}", target.connection());
        let arguments = ["restore", backup, "--to", &connection, "--create"];
        let more: &[&str] = match database {
            "plain" => &["--trust-script"],
            "directory" => &["--scratch-dir", &scratch],
            _ => &[],
        };
        old.with_identity(&[&arguments, more].concat()).expect(0);
        assert_eq!(target.psql(database, "select count(*) from item").trim(), "40", "{backup}");
    };
    for (backup, database) in [
        ("main/shop/shop-2026-11-29_221925", "custom"),
        ("main/shop/shop-2026-11-29_221928", "plain"),
        ("main/shop/shop-2026-11-29_221930", "tar"),
        ("main/shop/shop-2026-11-29_221933", "directory"),
        ("main/base/base-2026-11-29_221925", "base"),
        ("main/wal/wal-2026-11-29_221925", "wal"),
    ] {
        restore(backup, database);
    }
}

#[test]
fn drill_proves_an_old_run() {
    let old = OldDestination::new();
    old.with_identity(&["drill", "custom"]).expect(0);
    old.longshore(&["drill", "tar"]).expect(0);
}

#[test]
fn prune_applies_the_policy() {
    let old = OldDestination::new();
    let config = fs::read_to_string(old.test_env.config_path()).unwrap();
    fs::write(old.test_env.config_path(), config.replace("keep_last = 2", "keep_last = 1")).unwrap();
    old.longshore(&["prune"]).expect(0);
    let left = old.longshore(&["list", "--all", "--json"]).expect(4);
    let left: serde_json::Value = serde_json::from_str(&left.stdout).unwrap();
    let left: Vec<&str> = left.as_array().unwrap().iter().filter_map(|backup| backup["name"].as_str()).collect();
    for name in [HELD, DAMAGED, "main/globals/globals-2026-11-29_221902"] {
        assert!(left.contains(&name), "held, damaged or needed: {name} {left:?}");
    }
    for name in
        ["main/wal/wal-2026-11-29_221902", "main/base/base-2026-11-29_221902", "main/schema/schema-2026-11-29_221912"]
    {
        assert!(!left.contains(&name), "{name} {left:?}");
    }
    old.with_identity(&["verify", "--all"]).expect(4);
}
