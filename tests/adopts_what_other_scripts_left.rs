//! Dated files of another script are listed and pruned like backups, by their whole names; whatever is called otherwise is never touched.

use std::fs;
use std::path::Path;

use crate::support::{Ended, Job, Workshop, files};

/// The usual job, and files of another script in its destination.
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

/// The tables of an adopt, and of its policy.
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
        .says("adopted, unverified")
        .says("app-prod-2025-06-05_091500.dump");
    assert!(!list.stdout.contains("notes.txt") && !list.stdout.contains("02-30"), "{}", list.stdout);
    let line = &workshop.json(&["list", "old/app-prod", "--json"])[0];
    assert_eq!((&line["adopted"], &line["bytes"], &line["job"]), (&true.into(), &6.into(), &"old".into()));

    let explained = workshop.longshore(&["prune", "--explain"]).expect(0);
    let explained = explained.says("local: old/app, adopt old").says("policy: keep_last 2, timezone UTC");
    let explained = explained.says("2025-06  ····○●●···").says("2 stay (12 B), 1 go (6 B)");
    explained
        .says("2 files, such as app-2025-02-30_091500.dump (there is no such date")
        .says("no pattern makes such a name");
    assert!(FILES.iter().all(|name| is_there(&workshop, name)));

    workshop.longshore(&["prune"]).expect(0).says("removed");
    assert!(!is_there(&workshop, FILES[0]) && FILES[1..].iter().all(|name| is_there(&workshop, name)));
    assert!(ours.iter().all(|name| is_there(&workshop, name)), "what Longshore made is as it was");
    workshop.longshore(&["prune"]).expect(0).keeps_quiet_about("removed");
    workshop.opening(&["verify", "--all"]).expect(0);
}

#[test]
fn adopted_files_are_not_restored_and_the_way_to_do_it_by_hand_is_told() {
    let workshop = with_files(&adopting(), &FILES);
    let by_hand = |ended: Ended| ended.expect(1).says("was adopted by its name alone").says("pg_restore");
    by_hand(workshop.opening(&["restore", "app", "--output", "out.dump"]));
    by_hand(workshop.longshore(&["verify", "app-2025-06-07_091500.dump"]));
    by_hand(workshop.longshore(&["hold", "old/app", "--why", "it matters"]));
}

/// `verify` cannot look at it, so that nobody is sent there.
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
    workshop
        .longshore(&["prune"])
        .expect(6)
        .says("there are 2 files that adopt \"old\" claims, where the last prune left 4");
    workshop.longshore(&["prune", "--despite", "listing"]).expect(0);
}

#[test]
fn what_cannot_tell_which_files_are_meant_is_a_mistake_in_the_configuration() {
    for (more, says) in [
        (adopting().replace("{database}-", "x"), "must contain {database} once"),
        (adopting().replace("_%H%M%S", "_%H%S"), "without the greater one"),
        (adopting().replace("-%d", ""), "must contain a year, a month and a day"),
        (adopting().replace("'local'", "'nowhere'"), "there is no destination \"nowhere\""),
        (adopting().replace("retention = 'two'", "retention = 'three'"), "there is no retention \"three\""),
        (adopting().replace("adopt.old", "adopt.nightly"), "is the name of a job and of an adopt"),
        (
            adopting() + &adopting().replace("adopt.old", "adopt.older").replace("[retention.two]\nkeep_last = 2", ""),
            "claim the same files",
        ),
        (adopting().replace("'two'\n", "'two'\ntimezone = 'Berlin'\n"), "there is no time zone \"Berlin\""),
    ] {
        let workshop = with_files(&more, &[]);
        workshop.longshore(&["list"]).expect(1).says(says);
    }
}
