//! `remove` deletes one backup, and reports like a prune.

use crate::support::Workshop;

#[test]
fn remove_asks_then_takes_one_backup_everywhere() {
    let workshop = Workshop::new();
    for _ in 0..2 {
        workshop.longshore(&["run"]).expect(0);
    }
    let names = |subject: &str| -> Vec<String> {
        let all = workshop.json(&["list", subject, "--json"]);
        all.as_array().unwrap().iter().map(|backup| backup["name"].as_str().unwrap().to_owned()).collect()
    };
    let (databases, globals) = (names("postgres"), names("globals"));
    let remove =
        |name: &str, more: &[&str]| workshop.longshore(&[&["remove", name, "--why", "a customer left"], more].concat());
    remove(&databases[0], &[]).expect(6).says("--yes");
    remove(&databases[0], &["--dry-run"]).expect(0).says("would remove").says("a customer left");
    assert_eq!(names("postgres"), databases);
    remove(&globals[0], &["--yes"]).expect(6).says("needed by postgres-").says("remove the backups that need it first");
    let report = remove(&databases[0], &["--yes", "--json"]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(report[0]["series"][0]["remove"][0]["name"], databases[0].as_str());
    assert_eq!(report[0]["series"][0]["remove"][0]["why"], "a customer left");
    assert_eq!(names("postgres"), databases[1..]);
    remove(&databases[1], &["--yes"]).expect(6).says("among the last good backups");
    remove(&globals[0], &["--yes"]).expect(0).says("removed by hand: a customer left");
    assert!(workshop.longshore(&["remove", &databases[1]]).code == Some(1), "remove requires a reason");
}
