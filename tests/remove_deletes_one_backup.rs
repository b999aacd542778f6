//! `remove` deletes one backup, and reports like a prune.

use crate::support::TestEnv;

#[test]
fn remove_confirms_then_deletes_at_all_destinations() {
    let test_env = TestEnv::new();
    for _ in 0..2 {
        test_env.longshore(&["run"]).expect(0);
    }
    let names = |subject: &str| -> Vec<String> {
        let all = test_env.json(&["list", subject, "--json"]);
        all.as_array().unwrap().iter().map(|backup| backup["name"].as_str().unwrap().to_owned()).collect()
    };
    let (databases, globals) = (names("postgres"), names("globals"));
    let remove =
        |name: &str, more: &[&str]| test_env.longshore(&[&["remove", name, "--why", "a customer left"], more].concat());
    remove(&databases[0], &[]).expect(6).shows("--yes");
    remove(&databases[0], &["--dry-run"]).expect(0).shows("would remove").shows("a customer left");
    assert_eq!(names("postgres"), databases);
    remove(&globals[0], &["--yes"])
        .expect(6)
        .shows("needed by postgres-")
        .shows("remove the backups that need it first");
    let report = remove(&databases[0], &["--yes", "--json"]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(report[0]["series"][0]["remove"][0]["name"], databases[0].as_str());
    assert_eq!(report[0]["series"][0]["remove"][0]["why"], "a customer left");
    assert_eq!(names("postgres"), databases[1..]);
    remove(&databases[1], &["--yes"]).expect(6).shows("among the last good backups");
    remove(&globals[0], &["--yes"]).expect(0).shows("removed by hand: a customer left");
    assert!(test_env.longshore(&["remove", &databases[1]]).code == Some(1), "remove requires a reason");
}
