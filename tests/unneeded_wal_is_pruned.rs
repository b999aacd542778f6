//! `prune` removes the WAL that neither a base backup nor the recovery window needs, and no other.

use std::fs;
use std::thread;
use std::time::Duration;

use longshore_testkit::cluster::{Cluster, Installation, NewFolder};

use crate::support::{ArchiveEnv, file_with};

/// Makes two base backups, with WAL before, between and after them. Returns the names of the
/// segments before the first and after the second backup.
fn two_backups(archive: &ArchiveEnv) -> (String, String) {
    archive.env.cluster.psql("postgres", "create table ledger (i int)");
    let before = archive.archive();
    archive.longshore(&["run"]).expect(0);
    archive.env.cluster.psql("postgres", "insert into ledger values (1)");
    archive.archive();
    thread::sleep(Duration::from_millis(1050));
    archive.longshore(&["run"]).expect(0);
    archive.env.cluster.psql("postgres", "insert into ledger values (2)");
    let after = archive.archive();
    (before, after)
}

fn has(archive: &ArchiveEnv, name: &str) -> bool {
    archive.archived("local").iter().any(|file| file.contains(&format!("/{name}-")))
}

#[test]
fn wal_before_the_window_is_removed() {
    let installation = Installation::newer();
    let archive = ArchiveEnv::start(&installation, &[]);
    archive.configure("recovery_window = '30d'");
    let (before, after) = two_backups(&archive);
    // Without a backup as old as the window, the oldest backup counts.
    archive
        .longshore(&["prune", "--dry-run"])
        .expect(0)
        .shows("would remove")
        .shows("is kept from the start of main/base/");
    assert!(has(&archive, &before), "a dry run removes nothing");
    archive.longshore(&["prune"]).expect(0).shows(&before);
    assert!(!has(&archive, &before) && has(&archive, &after));
    let left = archive.archived("local").len();
    archive.configure("recovery_window = 'none'");
    archive.longshore(&["prune", "--explain"]).expect(0).shows("would remove");
    archive.longshore(&["prune"]).expect(0);
    assert!(archive.archived("local").len() < left && has(&archive, &after));

    // What is left recovers the newest backup to its last transaction.
    let folder = NewFolder::new();
    let (data_dir, identity) = (folder.data_dir().display().to_string(), archive.env.identity().display().to_string());
    let arguments = ["restore", "main", "--base", "--at", "latest", "--to-dir", &data_dir, "-i", &identity];
    archive.longshore(&arguments).expect(0);
    let recovered = Cluster::start_on(folder, &installation, &[]);
    assert_eq!(recovered.psql("postgres", "select count(*) from ledger"), "2");
}

#[test]
fn wal_is_kept_if_anything_is_unclear() {
    let archive = ArchiveEnv::start(&Installation::newer(), &[]);
    archive.configure("");
    let (before, after) = two_backups(&archive);
    let all = archive.archived("local");
    // Without a window, no WAL is removed.
    archive.longshore(&["prune"]).expect(0).omits("WAL of");
    archive.configure("recovery_window = 'none'");
    // A manifest that cannot be read may be of a backup that needs WAL.
    let manifests = archive.env.local().join("main/base");
    let manifest = fs::read_dir(&manifests).unwrap().map(|entry| entry.unwrap().path());
    let manifest = manifest.filter(|path| path.extension().is_some_and(|suffix| suffix == "json")).min().unwrap();
    let content = fs::read(&manifest).unwrap();
    fs::write(&manifest, "damaged").unwrap();
    assert_ne!(archive.longshore(&["prune"]).shows("no WAL is removed").code, Some(0));
    fs::write(&manifest, content).unwrap();
    // Two files of one name: two servers wrote into the archive.
    let stored = file_with(&archive.env.local(), &format!("/{after}-"));
    let name = stored.file_name().unwrap().to_str().unwrap();
    let digest = name.split(['-', '.']).nth(1).unwrap();
    let other = stored.with_file_name(name.replace(digest, &"0".repeat(32)));
    fs::copy(&stored, &other).unwrap();
    archive.give_files();
    assert_ne!(archive.longshore(&["prune"]).shows("two files of this name").code, Some(0));
    archive.longshore(&["wal", "status"]).expect(4).shows("several files of the name");
    fs::remove_file(&other).unwrap();
    assert_eq!(archive.archived("local"), all);
    archive.longshore(&["prune"]).expect(0);
    assert!(!has(&archive, &before));
}
