//! Longshore reports every decision that foreign or missing files in a destination affect.

use std::fs;
use std::path::Path;

use crate::support::{Job, Tmpfs, Workshop, files};

/// The globals alone: the smallest dump.
const GLOBALS: &str = "[{ type = 'pg_dumpall' }]";

fn keeping(workshop: &Workshop, policy: &str) {
    let more = format!("retention = 'standard'\n[retention.standard]\n{policy}");
    workshop.configure(&Job { dump: GLOBALS, more: &more, ..Job::default() });
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
fn junk_beside_real_backups_pushes_none_out() {
    let workshop = Workshop::new();
    keeping(&workshop, "keep_last = 2");
    for _ in 0..2 {
        workshop.longshore(&["run"]).expect(0);
    }
    let root = workshop.local();
    let real = names(&root);
    assert_eq!(real.len(), 2);
    let junk: Vec<_> = (2..9).map(|minutes| forge(&root, &real[1], minutes * 60)).collect();
    let told = workshop.longshore(&["prune"]).expect(0);
    told.says("7 backups of main/globals were not made by a run that this host knows").says("longshore verify");
    assert!(real.iter().all(|name| names(&root).contains(name)), "{:?}", names(&root));
    assert_eq!(names(&root).len(), 9, "prune removes no unknown backups");
    workshop.longshore(&["run"]).expect(0);
    assert!(names(&root).contains(&real[1]) && !names(&root).contains(&real[0]), "only runs known to the host count");
    // Decrypting the details exposes the copy; `remove` deletes one.
    workshop.opening(&["verify", &junk[6]]).expect(4).says("these are the details of another backup");
    workshop.longshore(&["remove", &junk[0], "--why", "junk", "--yes"]).expect(0);
    workshop.longshore(&["prune"]).expect(0).says("6 backups of main/globals");
}

#[test]
fn a_backup_of_the_future_is_left_out_and_named() {
    let workshop = Workshop::new();
    keeping(&workshop, "keep_last = 1");
    workshop.longshore(&["run"]).expect(0);
    let root = workshop.local();
    let ahead = forge(&root, &names(&root)[0], 2 * 24 * 3600);
    let told = workshop.longshore(&["run"]).expect(3);
    told.says(&format!("{ahead} at \"local\" is dated in the future")).says("longshore remove");
    assert_eq!(names(&root).len(), 2, "the rest of the series is pruned: {:?}", names(&root));
}

#[test]
fn a_loss_ends_one_run_with_3_and_status_keeps_it() {
    let workshop = Workshop::new();
    keeping(&workshop, "keep_last = 9");
    for _ in 0..6 {
        workshop.longshore(&["run"]).expect(0);
    }
    let root = workshop.local();
    for name in names(&root).iter().take(5) {
        fs::remove_file(root.join(format!("{name}.json"))).unwrap();
    }
    workshop.longshore(&["run"]).expect(3).says("nothing was pruned").says("longshore prune --despite listing");
    workshop.longshore(&["run"]).expect(0).says("nothing was pruned").says("longshore prune --despite listing");
    workshop.longshore(&["status"]).says("backups are missing");
    workshop.longshore(&["prune", "--despite", "listing"]).expect(0);
    workshop.longshore(&["run"]).expect(0).keeps_quiet_about("nothing was pruned");
    workshop.longshore(&["status"]).keeps_quiet_about("backups are missing");
}

#[test]
fn a_disk_that_is_not_mounted_is_refused() {
    let workshop = Workshop::new();
    keeping(&workshop, "keep_last = 2");
    let disk = Tmpfs::mount(&workshop.local(), "64m");
    workshop.longshore(&["run"]).expect(0);
    drop(disk);
    workshop.longshore(&["run"]).expect(6).says("the disk is not mounted").says("--despite listing");
    assert_eq!(fs::read_dir(workshop.local()).unwrap().count(), 0, "the run wrote below the mount point");
    workshop.longshore(&["prune", "--destination", "local", "--despite", "listing"]).expect(0);
    workshop.longshore(&["run"]).expect(0);
}

#[test]
fn a_damaged_mark_and_a_deleted_hold_are_found() {
    let workshop = Workshop::new();
    workshop.configure(&Job { dump: GLOBALS, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let root = workshop.local();
    let name = names(&root).remove(0);
    workshop.longshore(&["verify"]).expect(0);
    workshop.longshore(&["hold", &name, "--why", "an audit"]).expect(0);
    let hold = files(&root).into_iter().find(|name| name.contains(".hold.")).unwrap();
    let text = fs::read(root.join(&hold)).unwrap();
    fs::write(root.join(&hold), "{").unwrap();
    workshop.longshore(&["verify"]).expect(3).says("cannot be read");
    fs::remove_file(root.join(&hold)).unwrap();
    workshop.longshore(&["verify"]).expect(3).says("the hold of the backup was deleted");
    workshop.longshore(&["status"]).says("was deleted or shortened");
    fs::write(root.join(&hold), text).unwrap();
    workshop.longshore(&["verify"]).expect(0);
}
