//! `list` prints a line per series, and a line per backup on request.

use crate::support::{Workshop, finish};

#[test]
fn list_has_one_line_for_each_series() {
    let workshop = Workshop::new();
    for _ in 0..3 {
        workshop.longshore(&["run"]).expect(0);
    }
    let list = workshop.longshore(&["list"]).expect(0).says("NEWEST (UTC)").says("--all");
    assert_eq!(list.stdout.lines().count(), 3, "{}", list.stdout);
    let all = workshop.longshore(&["list", "--all"]).expect(0);
    assert_eq!(all.stdout.lines().count(), 1 + 6, "{}", all.stdout);
    let json = workshop.json(&["list", "--json"]);
    assert_eq!(json.as_array().unwrap().len(), 6);
    let times: Vec<_> = json.as_array().unwrap().iter().map(|backup| backup["name"].as_str().unwrap()).collect();
    let lines: Vec<_> = all.stdout.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(times, lines, "one order everywhere");
    let latest = workshop.longshore(&["list", "--latest", "1"]).expect(0);
    assert_eq!(latest.stdout.lines().count(), 1 + 2, "{}", latest.stdout);
    workshop.longshore(&["list", "--since", "9999-01-01"]).expect(0).says("no backups");
    assert_eq!(workshop.json(&["list", "--since", "1h", "--json"]).as_array().unwrap().len(), 6);
}

#[test]
fn list_shows_holds_and_what_was_verified() {
    let workshop = Workshop::new();
    workshop.longshore(&["run"]).expect(0);
    workshop.longshore(&["list"]).expect(0).keeps_quiet_about("HELD");
    workshop.longshore(&["hold", "postgres", "--why", "the audit"]).expect(0);
    workshop.opening(&["verify", "postgres"]).expect(0);
    workshop.longshore(&["list"]).expect(0).says("HELD").says("VERIFIED");
    workshop.longshore(&["list", "--all"]).expect(0).says("the audit").says("verified");
    let held = workshop.json(&["list", "--state", "held", "--json"]);
    assert_eq!((held.as_array().unwrap().len(), &held[0]["held"]["why"]), (1, &"the audit".into()));
    assert_eq!(held[0]["verified_at"][0], "local");
    assert!(workshop.json(&["list", "globals", "--json"])[0]["held"].is_null());
    assert_eq!(workshop.json(&["list", "--state", "drilled", "--json"]).as_array().unwrap().len(), 0);
}

#[test]
fn times_are_shown_in_the_zone_that_is_wanted() {
    let workshop = Workshop::new();
    workshop.longshore(&["run"]).expect(0);
    let mut local = workshop.command();
    finish(local.env("TZ", "Asia/Tokyo").args(["list", "--local"])).expect(0).says("NEWEST (Asia/Tokyo)");
    let mut json = workshop.command();
    let json = finish(json.env("TZ", "Asia/Tokyo").args(["list", "--json"])).expect(0);
    let (here, there): (serde_json::Value, serde_json::Value) =
        (workshop.json(&["list", "--json"]), serde_json::from_str(&json.stdout).unwrap());
    assert_eq!(here[0]["time"], there[0]["time"]);
}

#[test]
fn colours_are_for_terminals_or_for_those_who_want_them() {
    let workshop = Workshop::new();
    workshop.longshore(&["run"]).expect(0);
    let escape = |ended: crate::support::Ended| ended.stdout.contains('\u{1b}');
    assert!(!escape(workshop.longshore(&["list"]).expect(0)));
    assert!(escape(workshop.longshore(&["list", "--color", "always"]).expect(0)));
    let with = |name: &str, value: &str, arguments: &[&str]| {
        let mut command = workshop.command();
        escape(finish(command.env(name, value).args(arguments)).expect(0))
    };
    assert!(with("CLICOLOR_FORCE", "1", &["list"]));
    assert!(!with("CLICOLOR_FORCE", "1", &["list", "--color", "never"]));
    assert!(!with("CLICOLOR_FORCE", "1", &["list", "--json"]), "programs read JSON");
    assert!(!with("NO_COLOR", "1", &["list"]));
}
