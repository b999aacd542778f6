//! Missing backups are copied to a destination from another destination. The database is not read
//! again.

use std::path::PathBuf;
use std::time::Duration;

use crate::support::{Ended, Job, Tmpfs, Workshop, artifact, file_with, files};

/// Returns a workshop whose job has two destinations, of which `far` does not exist yet.
fn with_far_away() -> (Workshop, PathBuf) {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    let (local, far) = (workshop.local(), workshop.path("far"));
    workshop.configure(&Job { ship: &[("local", &local), ("far", &far)], ..Job::default() });
    (workshop, far)
}

#[test]
fn sync_brings_a_destination_up_that_was_away() {
    let (workshop, far) = with_far_away();
    workshop.longshore(&["run"]).expect(3);
    workshop.longshore(&["sync"]).expect(3).says("\"far\"");
    std::fs::create_dir(&far).unwrap();
    workshop.longshore(&["sync", "--dry-run"]).expect(0).says("appdb").says("would copy");
    assert_eq!(files(&far), [""; 0]);

    workshop.longshore(&["sync"]).expect(0).says("copied");
    assert_eq!(files(&workshop.local()), files(&far));
    workshop.opening(&["verify", "--all", "--destination", "far"]).expect(0).says("verified: ");
    workshop.longshore(&["sync"]).expect(0).says("all destinations are in sync");
    let synced = workshop.json(&["sync", "--json"]);
    assert_eq!((synced["copies"].as_array().unwrap().len(), synced["problems"].as_array().unwrap().len()), (0, 0));
}

/// A backup that one policy has removed is not copied back from a destination with another policy.
#[test]
fn sync_brings_nothing_that_the_policy_there_would_let_go() {
    let (workshop, far) = with_far_away();
    let local = workshop.local();
    std::fs::create_dir(&far).unwrap();
    let dump = "[{ type = 'pg_dump', databases = ['appdb'] }]";
    let more = "retention = { far = 'short' }\n[retention.short]\nkeep_last = 1";
    workshop.configure(&Job { dump, ship: &[("local", &local), ("far", &far)], more, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    std::thread::sleep(Duration::from_secs(1));
    workshop.longshore(&["run"]).expect(0);
    let kept = files(&far);
    assert!(kept.len() < files(&local).len());
    workshop.longshore(&["sync"]).expect(0);
    assert_eq!(files(&far), kept);
}

/// Without its hold, the copy would be pruned.
#[test]
fn what_is_held_is_held_where_it_is_copied_to() {
    let (workshop, far) = with_far_away();
    let local = workshop.local();
    let dump = "[{ type = 'pg_dump', databases = ['appdb'] }]";
    let more = "retention = { far = 'short' }\n[retention.short]\nkeep_last = 1";
    workshop.configure(&Job { dump, ship: &[("local", &local), ("far", &far)], more, ..Job::default() });
    workshop.longshore(&["run"]).expect(3);
    std::fs::create_dir(&far).unwrap();
    let oldest = workshop.json(&["list", "--json"])[0]["name"].as_str().unwrap().to_owned();
    workshop.longshore(&["hold", &oldest, "--why", "for a day"]).expect(0);
    workshop.longshore(&["unhold", &oldest]).expect(0);
    std::thread::sleep(Duration::from_secs(1));
    workshop.longshore(&["hold", &oldest, "--why", "before the migration"]).expect(0);
    // A newer backup at `far`, where the policy keeps only one.
    let held = local.join("main/appdb");
    std::fs::rename(&held, workshop.path("held")).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    workshop.longshore(&["run"]).expect(0);
    for file in files(&workshop.path("held")) {
        std::fs::rename(workshop.path("held").join(&file), held.join(&file)).unwrap();
    }
    workshop.longshore(&["sync"]).expect(0).says("copied");
    let holds = || files(&far).iter().filter(|file| file.contains(&oldest) && file.contains(".hold.")).count();
    assert_eq!(holds(), 1, "only the current hold is copied");

    std::thread::sleep(Duration::from_millis(1100));
    workshop.longshore(&["run"]).expect(0);
    workshop.longshore(&["prune", "--explain"]).expect(0).says("before the migration");
    let copies = || files(&far).iter().filter(|file| file.ends_with(".dump.zst.age")).count();
    assert_eq!(copies(), 2);
    workshop.longshore(&["unhold", &oldest]).expect(0);
    workshop.longshore(&["prune"]).expect(0);
    assert_eq!(copies(), 1);
}

#[test]
fn a_damaged_backup_is_healed_from_a_good_sibling() {
    let (workshop, far) = with_far_away();
    std::fs::create_dir(&far).unwrap();
    workshop.longshore(&["run"]).expect(0);
    let whole = std::fs::read(artifact(&far.join("main/appdb"))).unwrap();
    for damage in ["flip", "cut", "remove", "manifest"] {
        let artifact = artifact(&workshop.local().join("main/appdb"));
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
        workshop.longshore(&["verify"]).expect(4).says("DAMAGED");
        if damage != "flip" {
            workshop.longshore(&["sync"]).expect(4).says("--repair");
        }
        workshop.longshore(&["sync", "--repair"]).expect(0).says("damaged").says("copied");
        assert_eq!(std::fs::read(&artifact).unwrap(), whole, "{damage}");
        workshop.opening(&["verify", "--all"]).expect(0);
    }
}

#[test]
fn a_damaged_source_is_told_and_a_good_one_serves() {
    let (workshop, far) = with_far_away();
    std::fs::create_dir(&far).unwrap();
    let third = workshop.path("third");
    std::fs::create_dir(&third).unwrap();
    let local = workshop.local();
    workshop.configure(&Job { ship: &[("local", &local), ("far", &far), ("third", &third)], ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let (near, gone) = (artifact(&local.join("main/appdb")), artifact(&third.join("main/appdb")));
    let whole = std::fs::read(&near).unwrap();
    let mut bytes = whole.clone();
    bytes[100] ^= 1;
    std::fs::write(&near, bytes).unwrap();
    std::fs::remove_dir_all(third.join("main/appdb")).unwrap();
    let ended = workshop.longshore(&["sync"]).expect(4);
    ended.says("\"local\"").says("--repair").says("far");
    assert_eq!(std::fs::read(&gone).unwrap(), whole);
    workshop.longshore(&["list"]).expect(4).says("third").says("local (damaged");
    workshop.longshore(&["sync", "--repair"]).expect(0).says("copied");
    assert_eq!(std::fs::read(&near).unwrap(), whole);
}

/// Returns the name of a backup's artifact without its extensions.
fn file_stem(artifact: &std::path::Path) -> String {
    artifact.file_name().unwrap().to_str().unwrap().split_once('.').unwrap().0.to_owned()
}

/// The only copy is kept, even if damaged.
#[test]
fn what_is_damaged_everywhere_is_told_and_left() {
    let (workshop, far) = with_far_away();
    std::fs::create_dir(&far).unwrap();
    workshop.longshore(&["run"]).expect(0);
    let (near, far) = (artifact(&workshop.local().join("main/appdb")), artifact(&far.join("main/appdb")));
    for artifact in [&near, &far] {
        let mut bytes = std::fs::read(artifact).unwrap();
        bytes[100] ^= 1;
        std::fs::write(artifact, bytes).unwrap();
    }
    let before = std::fs::read(&near).unwrap();
    workshop.longshore(&["sync", "--repair"]).expect(4).says("main/appdb/appdb-").says("damaged");
    assert_eq!(std::fs::read(&near).unwrap(), before);
    assert!(far.exists());
}

/// An artifact of an interrupted copy is accepted as part of the same backup.
#[test]
fn a_sync_that_was_cut_off_goes_on_where_it_was() {
    let (workshop, far) = with_far_away();
    std::fs::create_dir(&far).unwrap();
    workshop.longshore(&["run"]).expect(0);
    for part in ["main/appdb/appdb-", "main/globals/globals-"] {
        for file in files(&far).iter().filter(|file| file.contains(part) && file.ends_with(".json")) {
            std::fs::remove_file(far.join(file)).unwrap();
        }
    }
    std::fs::remove_file(file_with(&far, ".sql.zst.age")).unwrap();
    workshop.longshore(&["sync"]).expect(0);
    assert_eq!(files(&workshop.local()), files(&far));
    workshop.opening(&["verify", "--all"]).expect(0);
}

/// The disk is full during one dump, but has room again by the end of the run.
#[test]
fn a_run_ends_with_a_copy_of_what_it_failed_to_ship() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 32);
    workshop.cluster.create_database("late");
    workshop.cluster.psql("late", "create table held (i int)");
    let (local, small) = (workshop.local(), workshop.make_folder("small"));
    let disk = Tmpfs::mount(&small, "2m");
    let dump = "[{ type = 'pg_dump', databases = ['bulk', 'late'] }]";
    workshop.configure(&Job { dump, ship: &[("small", &small), ("local", &local)], ..Job::default() });

    let held = workshop.hold("late", "held");
    let run = workshop.start(&["run", "--json"]);
    workshop.wait_for_backend("LOCK TABLE%");
    disk.resize("128m");
    drop(held);
    let ended = Ended::of(run.wait_with_output().unwrap()).expect(0);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let bulk =
        report["artifacts"].as_array().unwrap().iter().find(|artifact| artifact["subject"]["name"] == "bulk").unwrap();
    let small_one = bulk["destinations"].as_array().unwrap().iter().find(|at| at["destination"] == "small").unwrap();
    assert_eq!((small_one["caught_up_from"].as_str(), &small_one["error"]), (Some("local"), &serde_json::Value::Null));
    workshop.opening(&["verify", "--all"]).expect(0);
}
