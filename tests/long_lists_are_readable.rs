//! `list` prints a line per series, and a line per backup on request.

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
    let lines: Vec<_> = all.stdout.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect();
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
