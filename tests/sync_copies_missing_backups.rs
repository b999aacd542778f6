//! Missing backups are copied to a destination from another destination. The database is not read
//! again.

use std::path::PathBuf;
use std::time::Duration;

use crate::support::{CommandOutput, Job, TestEnv, Tmpfs, artifact, file_with, files};

/// Returns an environment whose job has two destinations, of which `far` does not exist yet.
fn with_far_away() -> (TestEnv, PathBuf) {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    let (local, far) = (test_env.local(), test_env.path("far"));
    test_env.configure(&Job { ship: &[("local", &local), ("far", &far)], ..Job::default() });
    (test_env, far)
}

#[test]
fn sync_completes_an_absent_destination() {
    let (test_env, far) = with_far_away();
    test_env.longshore(&["run"]).expect(3);
    test_env.longshore(&["sync"]).expect(3).shows("\"far\"");
    std::fs::create_dir(&far).unwrap();
    test_env.longshore(&["sync", "--dry-run"]).expect(0).shows("appdb").shows("would copy");
    assert_eq!(files(&far), [""; 0]);

    test_env.longshore(&["sync"]).expect(0).shows("copied");
    assert_eq!(files(&test_env.local()), files(&far));
    test_env.run_with_identity(&["verify", "--all", "--destination", "far"]).expect(0).shows("verified: ");
    test_env.longshore(&["sync"]).expect(0).shows("all destinations are in sync");
    let synced = test_env.json(&["sync", "--json"]);
    assert_eq!((synced["copies"].as_array().unwrap().len(), synced["problems"].as_array().unwrap().len()), (0, 0));
}

/// A backup that one policy has removed is not copied back from a destination with another policy.
#[test]
fn sync_skips_backups_that_the_policy_removes() {
    let (test_env, far) = with_far_away();
    let local = test_env.local();
    std::fs::create_dir(&far).unwrap();
    let dump = "[{ type = 'pg_dump', databases = ['appdb'] }]";
    let more = "retention = { far = 'short' }\n[retention.short]\nkeep_last = 1";
    test_env.configure(&Job { dump, ship: &[("local", &local), ("far", &far)], more, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    std::thread::sleep(Duration::from_secs(1));
    test_env.longshore(&["run"]).expect(0);
    let kept = files(&far);
    assert!(kept.len() < files(&local).len());
    test_env.longshore(&["sync"]).expect(0);
    assert_eq!(files(&far), kept);
}

/// Without its hold, the copy would be pruned.
#[test]
fn sync_copies_holds() {
    let (test_env, far) = with_far_away();
    let local = test_env.local();
    let dump = "[{ type = 'pg_dump', databases = ['appdb'] }]";
    let more = "retention = { far = 'short' }\n[retention.short]\nkeep_last = 1";
    test_env.configure(&Job { dump, ship: &[("local", &local), ("far", &far)], more, ..Job::default() });
    test_env.longshore(&["run"]).expect(3);
    std::fs::create_dir(&far).unwrap();
    let oldest = test_env.json(&["list", "--json"])[0]["name"].as_str().unwrap().to_owned();
    test_env.longshore(&["hold", &oldest, "--why", "for a day"]).expect(0);
    test_env.longshore(&["unhold", &oldest]).expect(0);
    std::thread::sleep(Duration::from_secs(1));
    test_env.longshore(&["hold", &oldest, "--why", "before the migration"]).expect(0);
    // A newer backup at `far`, where the policy keeps only one.
    let held = local.join("main/appdb");
    std::fs::rename(&held, test_env.path("held")).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    test_env.longshore(&["run"]).expect(0);
    for file in files(&test_env.path("held")) {
        std::fs::rename(test_env.path("held").join(&file), held.join(&file)).unwrap();
    }
    test_env.longshore(&["sync"]).expect(0).shows("copied");
    let holds = || files(&far).iter().filter(|file| file.contains(&oldest) && file.contains(".hold.")).count();
    assert_eq!(holds(), 1, "only the current hold is copied");

    std::thread::sleep(Duration::from_millis(1100));
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["prune", "--explain"]).expect(0).shows("before the migration");
    let copies = || files(&far).iter().filter(|file| file.ends_with(".dump.zst.age")).count();
    assert_eq!(copies(), 2);
    test_env.longshore(&["unhold", &oldest]).expect(0);
    test_env.longshore(&["prune"]).expect(0);
    assert_eq!(copies(), 1);
}

#[test]
fn damaged_copy_is_repaired_from_a_good_one() {
    let (test_env, far) = with_far_away();
    std::fs::create_dir(&far).unwrap();
    test_env.longshore(&["run"]).expect(0);
    let whole = std::fs::read(artifact(&far.join("main/appdb"))).unwrap();
    for damage in ["flip", "cut", "remove", "manifest"] {
        let artifact = artifact(&test_env.local().join("main/appdb"));
        let manifest = artifact.with_file_name(file_stem(&artifact) + ".json");
        let mut bytes = whole.clone();
        match damage {
            "flip" => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(&artifact, bytes).unwrap();
            }
            "manifest" => std::fs::write(&manifest, &std::fs::read(&manifest).unwrap()[..100]).unwrap(),
            "cut" => std::fs::write(&artifact, &bytes[..bytes.len() - 1]).unwrap(),
            _ => std::fs::remove_file(&artifact).unwrap(),
        }
        test_env.longshore(&["verify"]).expect(4).stdout_shows("damaged");
        if damage != "flip" {
            test_env.longshore(&["sync"]).expect(4).shows("--repair");
        }
        test_env.longshore(&["sync", "--repair"]).expect(0).shows("damaged").shows("copied");
        assert_eq!(std::fs::read(&artifact).unwrap(), whole, "{damage}");
        test_env.run_with_identity(&["verify", "--all"]).expect(0);
    }
}

#[test]
fn damaged_source_is_reported_and_replaced() {
    let (test_env, far) = with_far_away();
    std::fs::create_dir(&far).unwrap();
    let third = test_env.path("third");
    std::fs::create_dir(&third).unwrap();
    let local = test_env.local();
    test_env.configure(&Job { ship: &[("local", &local), ("far", &far), ("third", &third)], ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let (near, gone) = (artifact(&local.join("main/appdb")), artifact(&third.join("main/appdb")));
    let whole = std::fs::read(&near).unwrap();
    let mut bytes = whole.clone();
    bytes[100] ^= 1;
    std::fs::write(&near, bytes).unwrap();
    std::fs::remove_dir_all(third.join("main/appdb")).unwrap();
    let result = test_env.longshore(&["sync"]).expect(4);
    result.shows("\"local\"").shows("--repair").shows("far");
    assert_eq!(std::fs::read(&gone).unwrap(), whole);
    test_env.longshore(&["list"]).expect(4).shows("third").shows("local (damaged");
    test_env.longshore(&["sync", "--repair"]).expect(0).shows("copied");
    assert_eq!(std::fs::read(&near).unwrap(), whole);
}

/// Returns the name of a backup's artifact without its extensions.
fn file_stem(artifact: &std::path::Path) -> String {
    artifact.file_name().unwrap().to_str().unwrap().split_once('.').unwrap().0.to_owned()
}

/// The only copy is kept, even if damaged.
#[test]
fn backup_damaged_everywhere_is_reported_and_kept() {
    let (test_env, far) = with_far_away();
    std::fs::create_dir(&far).unwrap();
    test_env.longshore(&["run"]).expect(0);
    let (near, far) = (artifact(&test_env.local().join("main/appdb")), artifact(&far.join("main/appdb")));
    for artifact in [&near, &far] {
        let mut bytes = std::fs::read(artifact).unwrap();
        bytes[100] ^= 1;
        std::fs::write(artifact, bytes).unwrap();
    }
    let before = std::fs::read(&near).unwrap();
    test_env.longshore(&["sync", "--repair"]).expect(4).shows("main/appdb/appdb-").shows("damaged");
    assert_eq!(std::fs::read(&near).unwrap(), before);
    assert!(far.exists());
}

/// An artifact of an interrupted copy is accepted as part of the same backup.
#[test]
fn interrupted_sync_resumes() {
    let (test_env, far) = with_far_away();
    std::fs::create_dir(&far).unwrap();
    test_env.longshore(&["run"]).expect(0);
    for part in ["main/appdb/appdb-", "main/globals/globals-"] {
        for file in files(&far).iter().filter(|file| file.contains(part) && file.ends_with(".json")) {
            std::fs::remove_file(far.join(file)).unwrap();
        }
    }
    std::fs::remove_file(file_with(&far, ".sql.zst.age")).unwrap();
    test_env.longshore(&["sync"]).expect(0);
    assert_eq!(files(&test_env.local()), files(&far));
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
}

/// The disk is full during one dump, but has room again by the end of the run.
#[test]
fn run_retries_failed_shipments_from_a_copy() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 32);
    test_env.cluster.create_database("late");
    test_env.cluster.psql("late", "create table held (i int)");
    let (local, small) = (test_env.local(), test_env.make_folder("small"));
    let disk = Tmpfs::mount(&small, "2m");
    let dump = "[{ type = 'pg_dump', databases = ['bulk', 'late'] }]";
    test_env.configure(&Job { dump, ship: &[("small", &small), ("local", &local)], ..Job::default() });

    let table_lock = test_env.lock_table("late", "held");
    let run = test_env.start(&["run", "--json"]);
    test_env.wait_for_backend("LOCK TABLE%");
    disk.resize("128m");
    drop(table_lock);
    let result = CommandOutput::of(run.wait_with_output().unwrap()).expect(0);
    let report: serde_json::Value = serde_json::from_str(&result.stdout).unwrap();
    let bulk =
        report["artifacts"].as_array().unwrap().iter().find(|artifact| artifact["subject"]["name"] == "bulk").unwrap();
    let small_one = bulk["destinations"].as_array().unwrap().iter().find(|at| at["destination"] == "small").unwrap();
    assert_eq!((small_one["caught_up_from"].as_str(), &small_one["error"]), (Some("local"), &serde_json::Value::Null));
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
}
