//! Dated files of another script are listed and pruned like backups if the whole name matches the
//! pattern. All other files are never touched.

use std::fs;
use std::path::Path;

use crate::support::{Ended, Job, Workshop, files};

/// Returns a workshop with the usual job, and files of another script in the destination.
fn with_files(more: &str, names: &[&str]) -> Workshop {
    let workshop = Workshop::new();
    workshop.configure(&Job { more, ..Job::default() });
    for name in names {
        let path = workshop.local().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "a dump").unwrap();
    }
    workshop
}

/// Returns the tables of an adopt and its policy.
fn adopting() -> String {
    "[adopt.old]\ndestination = 'local'\npattern = '{database}-%Y-%m-%d_%H%M%S.dump'\nretention = 'two'\n\
     [retention.two]\nkeep_last = 2\n"
        .to_owned()
}

fn is_there(workshop: &Workshop, name: &str) -> bool {
    Path::new(&workshop.local().join(name)).exists()
}

const FILES: [&str; 7] = [
    "app-2025-06-05_091500.dump",
    "app-2025-06-06_091500.dump",
    "app-2025-06-07_091500.dump",
    "app-prod-2025-06-05_091500.dump",
    "app-prod-2025-06-06_091500.dump",
    "app-2025-02-30_091500.dump",
    "notes.txt",
];

#[test]
fn adopted_files_are_listed_unverified_and_pruned_by_the_policy() {
    let workshop = with_files(&adopting(), &FILES);
    workshop.longshore(&["run"]).expect(0);
    let ours: Vec<_> = files(&workshop.local()).into_iter().filter(|name| name.starts_with("main/")).collect();
    let list = workshop
        .longshore(&["list", "--all"])
        .expect(0)
        .says("adopted, not verified")
        .says("app-prod-2025-06-05_091500.dump");
    assert!(!list.stdout.contains("notes.txt") && !list.stdout.contains("02-30"), "{}", list.stdout);
    let line = &workshop.json(&["list", "old/app-prod", "--json"])[0];
    assert_eq!((&line["adopted"], &line["bytes"], &line["job"]), (&true.into(), &6.into(), &"old".into()));

    let explained = workshop.longshore(&["prune", "--explain"]).expect(0);
    let explained = explained.says("local: old/app, adopt old").says("policy: keep_last 2, timezone UTC");
    let explained = explained.says("2025-06  ····○●●···").says("2 kept (12 B), 1 to remove (6 B)");
    explained
        .says("2 files, such as app-2025-02-30_091500.dump (the name contains an invalid date")
        .says("the name matches no pattern");
    assert!(FILES.iter().all(|name| is_there(&workshop, name)));

    workshop.longshore(&["prune"]).expect(0).says("removed");
    assert!(!is_there(&workshop, FILES[0]) && FILES[1..].iter().all(|name| is_there(&workshop, name)));
    assert!(ours.iter().all(|name| is_there(&workshop, name)), "prune removed one of Longshore's own files");
    workshop.longshore(&["prune"]).expect(0).keeps_quiet_about("removed");
    workshop.opening(&["verify", "--all"]).expect(0);
}

#[test]
fn adopted_files_are_not_restored_and_the_way_to_do_it_by_hand_is_told() {
    let workshop = with_files(&adopting(), &FILES);
    let by_hand = |ended: Ended| ended.expect(1).says("is an adopted file").says("pg_restore");
    by_hand(workshop.opening(&["restore", "app", "--output", "out.dump"]));
    by_hand(workshop.longshore(&["verify", "app-2025-06-07_091500.dump"]));
    by_hand(workshop.longshore(&["hold", "old/app", "--why", "it matters"]));
}

/// `verify` cannot read adopted files, so no message suggests `verify`.
#[test]
fn an_empty_adopted_file_is_called_empty() {
    let workshop = with_files(&adopting(), &FILES[..3]);
    fs::write(workshop.local().join(FILES[0]), "").unwrap();
    for arguments in [&["prune", "--dry-run"][..], &["prune", "--explain"]] {
        workshop.longshore(arguments).expect(0).says("empty: ").keeps_quiet_about("longshore verify");
    }
}

#[test]
fn a_listing_that_is_short_of_adopted_files_is_refused() {
    let workshop = with_files(&adopting(), &FILES[1..5]);
    workshop.longshore(&["prune"]).expect(0);
    for name in &FILES[1..3] {
        fs::remove_file(workshop.local().join(name)).unwrap();
    }
    workshop.longshore(&["prune"]).expect(6).says("found 2 files that adopt \"old\" claims, but the last prune left 4");
    workshop.longshore(&["prune", "--despite", "listing"]).expect(0);
}

#[test]
fn what_cannot_tell_which_files_are_meant_is_a_mistake_in_the_configuration() {
    for (more, says) in [
        (adopting().replace("{database}-", "x"), "must contain {database} once"),
        (adopting().replace("_%H%M%S", "_%H%S"), "incomplete time of day"),
        (adopting().replace("-%d", ""), "must contain a year, a month and a day"),
        (adopting().replace("'local'", "'nowhere'"), "there is no destination \"nowhere\""),
        (adopting().replace("retention = 'two'", "retention = 'three'"), "there is no retention \"three\""),
        (adopting().replace("adopt.old", "adopt.nightly"), "names both a job and an adopt"),
        (
            adopting() + &adopting().replace("adopt.old", "adopt.older").replace("[retention.two]\nkeep_last = 2", ""),
            "claim the same files",
        ),
        (adopting().replace("'two'\n", "'two'\ntimezone = 'Berlin'\n"), "unknown time zone \"Berlin\""),
    ] {
        let workshop = with_files(&more, &[]);
        workshop.longshore(&["list"]).expect(1).says(says);
    }
}
