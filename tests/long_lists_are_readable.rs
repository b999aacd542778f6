//! `list` prints a line per series, and a line per backup on request.

use std::process::Command;

use unicode_width::UnicodeWidthStr;

use crate::support::offline_env::{ForgedBackup, NIGHTLY, OfflineEnv};
use crate::support::{TestEnv, finish};

#[test]
fn list_prints_one_line_per_series() {
    let test_env = TestEnv::new();
    for _ in 0..3 {
        test_env.longshore(&["run"]).expect(0);
    }
    let list = test_env.longshore(&["list"]).expect(0).shows("NEWEST (UTC)").shows("--all");
    assert_eq!(list.stdout.lines().count(), 3, "{}", list.stdout);
    let all = test_env.longshore(&["list", "--all"]).expect(0);
    assert_eq!(all.stdout.lines().count(), 1 + 6, "{}", all.stdout);
    let json = test_env.json(&["list", "--json"]);
    assert_eq!(json.as_array().unwrap().len(), 6);
    let times: Vec<_> = json.as_array().unwrap().iter().map(|backup| backup["name"].as_str().unwrap()).collect();
    let lines: Vec<_> = all.stdout.lines().skip(1).map(|line| line.split_whitespace().next_back().unwrap()).collect();
    assert_eq!(times, lines, "one order everywhere");
    let latest = test_env.longshore(&["list", "--latest", "1"]).expect(0);
    assert_eq!(latest.stdout.lines().count(), 1 + 2, "{}", latest.stdout);
    test_env.longshore(&["list", "--since", "9999-01-01"]).expect(0).shows("no backups");
    assert_eq!(test_env.json(&["list", "--since", "1h", "--json"]).as_array().unwrap().len(), 6);
}

#[test]
fn list_shows_holds_and_verified_backups() {
    let test_env = TestEnv::new();
    test_env.longshore(&["run"]).expect(0);
    test_env.longshore(&["list"]).expect(0).omits("HELD");
    test_env.longshore(&["hold", "postgres", "--why", "the audit"]).expect(0);
    test_env.run_with_identity(&["verify", "postgres"]).expect(0);
    test_env.longshore(&["list"]).expect(0).shows("HELD").shows("VERIFIED");
    test_env.longshore(&["list", "--all"]).expect(0).shows("the audit").shows("verified");
    let held = test_env.json(&["list", "--state", "held", "--json"]);
    assert_eq!((held.as_array().unwrap().len(), &held[0]["held"]["why"]), (1, &"the audit".into()));
    assert_eq!(held[0]["verified_at"][0], "local");
    assert!(test_env.json(&["list", "globals", "--json"])[0]["held"].is_null());
    assert_eq!(test_env.json(&["list", "--state", "drilled", "--json"]).as_array().unwrap().len(), 0);
}

#[test]
fn list_shows_times_in_the_requested_zone() {
    let test_env = TestEnv::new();
    test_env.longshore(&["run"]).expect(0);
    let mut local = test_env.command();
    finish(local.env("TZ", "Asia/Tokyo").args(["list", "--local"])).expect(0).shows("NEWEST (Asia/Tokyo)");
    let mut json = test_env.command();
    let json = finish(json.env("TZ", "Asia/Tokyo").args(["list", "--json"])).expect(0);
    let (here, there): (serde_json::Value, serde_json::Value) =
        (test_env.json(&["list", "--json"]), serde_json::from_str(&json.stdout).unwrap());
    assert_eq!(here[0]["time"], there[0]["time"]);
}

#[test]
fn colours_need_a_terminal_or_an_option() {
    let test_env = TestEnv::new();
    test_env.longshore(&["run"]).expect(0);
    let escape = |result: crate::support::CommandOutput| result.stdout.contains('\u{1b}');
    assert!(!escape(test_env.longshore(&["list"]).expect(0)));
    assert!(escape(test_env.longshore(&["list", "--color", "always"]).expect(0)));
    let with = |name: &str, value: &str, arguments: &[&str]| {
        let mut command = test_env.command();
        escape(finish(command.env(name, value).args(arguments)).expect(0))
    };
    assert!(with("CLICOLOR_FORCE", "1", &["list"]));
    assert!(!with("CLICOLOR_FORCE", "1", &["list", "--color", "never"]));
    assert!(!with("CLICOLOR_FORCE", "1", &["list", "--json"]), "programs read JSON");
    assert!(!with("NO_COLOR", "1", &["list"]));
}

/// Runs a command on a terminal of this width, and returns the lines of its result.
fn on_terminal(offline_env: &OfflineEnv, arguments: &str, columns: usize) -> Vec<String> {
    let line = format!(
        "stty rows 50 cols {columns}; '{}' --config '{}' {arguments} 2>/dev/null",
        env!("CARGO_BIN_EXE_longshore"),
        offline_env.path("config.toml").display()
    );
    // script(1) provides a terminal and records its output.
    let mut shell = Command::new("script");
    shell.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("NO_COLOR", "1");
    let result = finish(with_own_dirs(&mut shell, offline_env));
    result.stdout.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Keeps the files of a command out of the directories of this host.
fn with_own_dirs<'a>(command: &'a mut Command, offline_env: &OfflineEnv) -> &'a mut Command {
    command.env("HOME", offline_env.path(""));
    command.env("RUNTIME_DIRECTORY", offline_env.path("run")).env("STATE_DIRECTORY", offline_env.path("state"))
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let policy = "max_age = '26h'\nretention = 'r'\n[retention.r]\nkeep_last = 1";
    let offline_env = OfflineEnv::new(&format!("{NIGHTLY}{policy}"));
    for database in ["shop", "a_database_with_a_long_name_for_a_narrow_terminal", "日本語のデータベース", "cafe\u{301}"]
    {
        for hours in [2, 30] {
            offline_env.add_backup(&ForgedBackup { database, hours, at: &["disk"], ..ForgedBackup::default() });
        }
    }
    for verb in ["list", "list --all", "status", "prune --dry-run", "sync --dry-run", "verify --all"] {
        for columns in [80, 60, 40] {
            let lines = on_terminal(&offline_env, verb, columns);
            // `status` also lists what was not captured, in lines that are no table.
            let mut table = lines.iter().filter(|line| !line.starts_with("not captured of "));
            assert!(
                table.all(|line| line.width() <= columns) && lines.len() > 2,
                "{verb} at {columns} columns: {lines:#?}"
            );
        }
    }
    let lines = on_terminal(&offline_env, "list --all", 80);
    assert!(lines.iter().any(|line| line.starts_with("main/shop ") && line.contains("30 h ago")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("main/shop/shop-")), "names need a wide terminal: {lines:#?}");
    assert!(on_terminal(&offline_env, "list --all", 400).iter().any(|line| line.contains("main/shop/shop-")));
}

#[test]
fn commands_accept_the_short_name_of_a_list() {
    let offline_env = OfflineEnv::new(NIGHTLY);
    let old = offline_env.add_backup(&ForgedBackup { hours: 5, ..ForgedBackup::default() });
    offline_env.add_backup(&ForgedBackup::default());
    for zone in ["UTC", "Asia/Tokyo"] {
        let longshore = |arguments: &[&str]| {
            finish(with_own_dirs(&mut offline_env.command(arguments), &offline_env).env("TZ", zone))
        };
        let list = longshore(&["list", "--all"]).expect(0);
        let line = list.stdout.lines().find(|line| line.contains(old.as_str())).unwrap();
        let [series, day, minute] = line.split_whitespace().take(3).collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert_eq!(series, "main/shop");
        let name = format!("{series} {day} {minute}");
        longshore(&["hold", &name, "--why", "audit"]).expect(0).stdout_shows("held").stdout_shows(old.as_str());
        let held = longshore(&["list", "--state", "held", "--json"]).expect(0).stdout;
        let held: serde_json::Value = serde_json::from_str(&held).unwrap();
        assert_eq!((held.as_array().unwrap().len(), &held[0]["name"]), (1, &old.as_str().into()));
        longshore(&["unhold", &format!("shop {day} {minute}")]).expect(0).stdout_shows("released");
        for unknown in [format!("main/shop {day} 99:99"), "main/shop 2001-01-01 00:00".to_owned()] {
            longshore(&["hold", &unknown, "--why", "x"]).expect(1).shows("no backup of that name");
        }
    }
}

#[test]
fn list_suggests_how_to_name_a_backup() {
    let offline_env = OfflineEnv::new(NIGHTLY);
    offline_env.add_backup(&ForgedBackup::default());
    let result = offline_env.longshore(&["list", "--all"]).expect(0);
    assert!(result.stderr.contains("name a backup in other commands as 'main/shop 20"), "{}", result.stderr);
}
