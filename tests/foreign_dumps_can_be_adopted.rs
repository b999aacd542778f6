//! Dated files of another script are listed and pruned like backups if the whole name matches the
//! pattern. All other files are never touched.

use std::fs;
use std::path::Path;

use crate::support::{CommandOutput, Job, TestEnv, files};

/// Returns an environment with the usual job, and files of another script in the destination.
fn with_files(more: &str, names: &[&str]) -> TestEnv {
    let test_env = TestEnv::new();
    test_env.configure(&Job { more, ..Job::default() });
    for name in names {
        let path = test_env.local().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "a dump").unwrap();
    }
    test_env
}

/// Returns the tables of an adopt and its policy.
fn adopting() -> String {
    "[adopt.old]\ndestination = 'local'\npattern = '{database}-%Y-%m-%d_%H%M%S.dump'\nretention = 'two'\n\
     [retention.two]\nkeep_last = 2\n"
        .to_owned()
}

fn is_there(test_env: &TestEnv, name: &str) -> bool {
    Path::new(&test_env.local().join(name)).exists()
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
fn adopted_files_are_listed_and_pruned() {
    let test_env = with_files(&adopting(), &FILES);
    test_env.longshore(&["run"]).expect(0);
    let ours: Vec<_> = files(&test_env.local()).into_iter().filter(|name| name.starts_with("main/")).collect();
    let list = test_env
        .longshore(&["list", "--all"])
        .expect(0)
        .shows("adopted, not verified")
        .shows("app-prod-2025-06-05_091500.dump");
    assert!(!list.stdout.contains("notes.txt") && !list.stdout.contains("02-30"), "{}", list.stdout);
    let line = &test_env.json(&["list", "old/app-prod", "--json"])[0];
    assert_eq!((&line["adopted"], &line["bytes"], &line["job"]), (&true.into(), &6.into(), &"old".into()));

    let explained = test_env.longshore(&["prune", "--explain"]).expect(0);
    let explained = explained.shows("local: old/app, adopt old").shows("policy: keep_last 2, timezone UTC");
    let explained = explained.shows("2025-06  ····○●●···").shows("2 kept (12 B), 1 to remove (6 B)");
    explained
        .shows("2 files, such as app-2025-02-30_091500.dump (the name contains an invalid date")
        .shows("the name matches no pattern");
    assert!(FILES.iter().all(|name| is_there(&test_env, name)));

    test_env.longshore(&["prune"]).expect(0).shows("removed");
    assert!(!is_there(&test_env, FILES[0]) && FILES[1..].iter().all(|name| is_there(&test_env, name)));
    assert!(ours.iter().all(|name| is_there(&test_env, name)), "prune removed one of Longshore's own files");
    test_env.longshore(&["prune"]).expect(0).omits("removed");
    test_env.run_with_identity(&["verify", "--all"]).expect(0);
}

#[test]
fn adopted_files_get_manual_restore_instructions() {
    let test_env = with_files(&adopting(), &FILES);
    let by_hand = |result: CommandOutput| result.expect(1).shows("is an adopted file").shows("pg_restore");
    by_hand(test_env.run_with_identity(&["restore", "app", "--output", "out.dump"]));
    by_hand(test_env.longshore(&["verify", "app-2025-06-07_091500.dump"]));
}

/// `verify` cannot read adopted files, so no message suggests `verify`.
#[test]
fn empty_adopted_file_is_reported_as_empty() {
    let test_env = with_files(&adopting(), &FILES[..3]);
    fs::write(test_env.local().join(FILES[0]), "").unwrap();
    for arguments in [&["prune", "--dry-run"][..], &["prune", "--explain"]] {
        test_env.longshore(arguments).expect(0).shows("empty: ").omits("longshore verify");
    }
}

/// The names of pg_back contain colons and the offset from UTC.
const OF_PG_BACK: [&str; 5] = [
    "app_2025-06-05T03:00:01+02:00.dump",
    "app_2025-06-06T03:00:01+02:00.dump",
    "app_2025-12-06T03:00:01+01:00.dump",
    "app_2025-12-07T02:00:01Z.dump",
    "app_2025-12-07T02:00:01Z.dump.sha256",
];

#[test]
fn names_with_colons_are_held_and_pruned() {
    let adopting = adopting().replace("-%Y-%m-%d_%H%M%S", "_%FT%T%:z");
    let test_env = with_files(&adopting, &OF_PG_BACK);
    test_env.longshore(&["hold", OF_PG_BACK[0], "--why", "an audit"]).expect(0);
    let held = &test_env.json(&["list", "old/app", "--json"])[0];
    assert_eq!((&held["name"], &held["held"]["why"]), (&OF_PG_BACK[0].into(), &"an audit".into()));
    test_env.longshore(&["prune"]).expect(0).shows("removed");
    let expected = [0, 2, 3, 4].map(|index| OF_PG_BACK[index]);
    let left = |test_env: &TestEnv| -> Vec<String> {
        files(&test_env.local()).into_iter().filter(|name| name.starts_with("app_")).collect()
    };
    assert_eq!(left(&test_env), expected);

    // A hold that another program deleted is restored from the state of this host, and reported.
    let mark = files(&test_env.local()).into_iter().find(|name| name.starts_with("adopted/")).unwrap();
    assert!(mark.starts_with("adopted/app_2025-06-05T03%3A00%3A01%2B02%3A00.dump.hold."), "{mark}");
    fs::remove_file(test_env.local().join(&mark)).unwrap();
    test_env.longshore(&["prune"]).expect(0).shows(OF_PG_BACK[0]);
    assert_eq!(left(&test_env), expected);

    test_env.longshore(&["unhold", "old/app_2025-06-05"]).expect(1);
    test_env.longshore(&["unhold", OF_PG_BACK[0]]).expect(0);
    test_env.longshore(&["prune"]).expect(0).shows("removed");
    assert_eq!(left(&test_env), &expected[1..]);
    assert_eq!(files(&test_env.local()).iter().filter(|name| name.starts_with("adopted/")).count(), 0);
    // A checksum is removed with its file.
    fs::write(test_env.local().join("app_2025-12-08T02:00:01Z.dump"), "a dump").unwrap();
    fs::write(test_env.local().join("app_2025-12-09T02:00:01Z.dump"), "a dump").unwrap();
    test_env.longshore(&["prune"]).expect(0);
    assert_eq!(left(&test_env), ["app_2025-12-08T02:00:01Z.dump", "app_2025-12-09T02:00:01Z.dump"]);
}

#[test]
fn incomplete_listing_of_adopted_files_is_refused() {
    let test_env = with_files(&adopting(), &FILES[1..5]);
    test_env.longshore(&["prune"]).expect(0);
    for name in &FILES[1..3] {
        fs::remove_file(test_env.local().join(name)).unwrap();
    }
    test_env
        .longshore(&["prune"])
        .expect(6)
        .shows("found 2 files that adopt \"old\" claims, but the last prune left 4");
    test_env.longshore(&["prune", "--despite", "listing"]).expect(0);
}

#[test]
fn ambiguous_adopt_pattern_is_a_config_error() {
    for (more, expected) in [
        (adopting().replace("{database}-", "x"), "must contain {database}, or set database"),
        (adopting() + "database = 'app'\n", "unknown field `database`"),
        (adopting().replace("\n[ret", "\ndatabase = 'app'\n[ret"), "only for a pattern without {database}"),
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
        let test_env = with_files(&more, &[]);
        test_env.longshore(&["list"]).expect(1).shows(expected);
    }
}
