//! Longshore reports every decision that foreign or missing files in a destination affect.

use std::fs;
use std::path::Path;

use crate::support::{Job, TestEnv, Tmpfs, files};

/// The globals alone: the smallest dump.
const GLOBALS: &str = "[{ type = 'pg_dumpall' }]";

fn configure_policy(test_env: &TestEnv, policy: &str) {
    let more = format!("retention = 'standard'\n[retention.standard]\n{policy}");
    test_env.configure(&Job { dump: GLOBALS, more: &more, ..Job::default() });
}

/// Returns the names of the backups at a destination, oldest first.
fn names(root: &Path) -> Vec<String> {
    let is_manifest = |name: &String| name.strip_suffix(".json").is_some_and(|name| !name.contains('.'));
    files(root).into_iter().filter(is_manifest).map(|name| name.strip_suffix(".json").unwrap().to_owned()).collect()
}

/// Copies a backup under a later time, complete, with manifest and details changed to match.
fn forge(root: &Path, name: &str, seconds: i64) -> String {
    let stamp = &name[name.len() - 17..];
    let time = chrono::NaiveDateTime::parse_from_str(stamp, "%Y-%m-%d_%H%M%S").unwrap();
    let later = time + chrono::TimeDelta::seconds(seconds);
    let forged = later.format("%Y-%m-%d_%H%M%S").to_string();
    for file in files(root).into_iter().filter(|file| file.contains(stamp)) {
        let bytes = fs::read(root.join(&file)).unwrap();
        let bytes = match std::str::from_utf8(&bytes) {
            Ok(text) if file.ends_with(".json") => {
                let [from, to] = [time, later].map(|time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string());
                text.replace(stamp, &forged).replace(&from, &to).into_bytes()
            }
            _ => bytes,
        };
        fs::write(root.join(file.replace(stamp, &forged)), bytes).unwrap();
    }
    name.replace(stamp, &forged)
}

#[test]
fn junk_files_displace_no_backup() {
    let test_env = TestEnv::new();
    configure_policy(&test_env, "keep_last = 2");
    for _ in 0..2 {
        test_env.longshore(&["run"]).expect(0);
    }
    let root = test_env.local();
    let real = names(&root);
    assert_eq!(real.len(), 2);
    let junk: Vec<_> = (2..9).map(|minutes| forge(&root, &real[1], minutes * 60)).collect();
    let result = test_env.longshore(&["prune"]).expect(0);
    result.shows("7 backups of main/globals were not made by a run that this host knows").shows("longshore verify");
    assert!(real.iter().all(|name| names(&root).contains(name)), "{:?}", names(&root));
    assert_eq!(names(&root).len(), 9, "prune removes no unknown backups");
    test_env.longshore(&["run"]).expect(0);
    assert!(names(&root).contains(&real[1]) && !names(&root).contains(&real[0]), "only runs known to the host count");
    // Decrypting the details exposes the copy; `remove` deletes one.
    test_env.run_with_identity(&["verify", &junk[6]]).expect(4).shows("these are the details of another backup");
    test_env.longshore(&["remove", &junk[0], "--why", "junk", "--yes"]).expect(0);
    test_env.longshore(&["prune"]).expect(0).shows("6 backups of main/globals");
}

#[test]
fn future_backup_is_ignored_and_reported() {
    let test_env = TestEnv::new();
    configure_policy(&test_env, "keep_last = 1");
    test_env.longshore(&["run"]).expect(0);
    let root = test_env.local();
    let ahead = forge(&root, &names(&root)[0], 2 * 24 * 3600);
    let result = test_env.longshore(&["run"]).expect(3);
    result.shows(&format!("{ahead} at \"local\" is dated in the future")).shows("longshore remove");
    assert_eq!(names(&root).len(), 2, "the rest of the series is pruned: {:?}", names(&root));
}

#[test]
fn lost_backup_is_reported_once_then_by_status() {
    let test_env = TestEnv::new();
    configure_policy(&test_env, "keep_last = 9");
    for _ in 0..6 {
        test_env.longshore(&["run"]).expect(0);
    }
    let root = test_env.local();
    for name in names(&root).iter().take(5) {
        fs::remove_file(root.join(format!("{name}.json"))).unwrap();
    }
    test_env.longshore(&["run"]).expect(3).shows("nothing was pruned").shows("longshore prune --despite listing");
    test_env.longshore(&["run"]).expect(0).shows("nothing was pruned").shows("longshore prune --despite listing");
    test_env.longshore(&["status"]).shows("backups are missing");
    test_env.longshore(&["prune", "--despite", "listing"]).expect(0);
    test_env.longshore(&["run"]).expect(0).omits("nothing was pruned");
    test_env.longshore(&["status"]).omits("backups are missing");
}

#[test]
fn unmounted_disk_is_refused() {
    let test_env = TestEnv::new();
    configure_policy(&test_env, "keep_last = 2");
    let disk = Tmpfs::mount(&test_env.local(), "64m");
    test_env.longshore(&["run"]).expect(0);
    drop(disk);
    test_env.longshore(&["run"]).expect(6).shows("the disk is not mounted").shows("--despite listing");
    assert_eq!(fs::read_dir(test_env.local()).unwrap().count(), 0, "the run wrote below the mount point");
    test_env.longshore(&["prune", "--destination", "local", "--despite", "listing"]).expect(0);
    test_env.longshore(&["run"]).expect(0);
}

#[test]
fn damaged_mark_and_deleted_hold_are_detected() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { dump: GLOBALS, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let root = test_env.local();
    let name = names(&root).remove(0);
    test_env.longshore(&["verify"]).expect(0);
    test_env.longshore(&["hold", &name, "--why", "an audit"]).expect(0);
    let hold = files(&root).into_iter().find(|name| name.contains(".hold.")).unwrap();
    let text = fs::read(root.join(&hold)).unwrap();
    fs::write(root.join(&hold), "{").unwrap();
    test_env.longshore(&["verify"]).expect(3).shows("cannot be read");
    fs::remove_file(root.join(&hold)).unwrap();
    test_env.longshore(&["verify"]).expect(3).shows("the hold of the backup was deleted");
    test_env.longshore(&["status"]).shows("was deleted or shortened");
    fs::write(root.join(&hold), text).unwrap();
    test_env.longshore(&["verify"]).expect(0);
}
