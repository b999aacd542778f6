use std::fs;
use std::path::Path;

use longshore_core::check::Outcome;
use longshore_core::manifest::Manifest;
use longshore_core::plugin::{Recovery, RecoveryEnd};

use super::*;
use crate::tests::{details, manifest, target};

fn check_with(target: &DataDirectory, manifest: &Manifest) -> Checked {
    check(target, &RestoreRequest::new(manifest, Some(&details())))
}

/// Returns the subjects of failed findings, without the path of `parent`.
fn failed(checked: &Checked, parent: &Path) -> Vec<String> {
    let failed = checked.findings.iter().filter(|finding| finding.outcome == Outcome::Failed);
    let relative = |subject: &str| subject.replace(&format!("{}/", parent.display()), "");
    failed
        .map(|finding| {
            assert!(finding.remedy.is_some(), "{finding:?}");
            relative(&finding.subject)
        })
        .collect()
}

#[test]
fn all_obstacles_are_reported_at_once() {
    let parent = tempfile::tempdir().unwrap();
    let mut target = target(parent.path());
    fs::create_dir(&target.path).unwrap();
    fs::write(target.path.join("postmaster.pid"), "1").unwrap();
    target.owner = Some("no-such-user".to_owned());
    target.tablespaces = BTreeMap::from([("moons".to_owned(), parent.path().join("moons"))]);
    let mut manifest = manifest();
    manifest.base.as_mut().unwrap().incremental_from = Some("0/1000028".parse().unwrap());
    let checked = check_with(&target, &manifest);
    assert_eq!(
        failed(&checked, parent.path()),
        [
            "main/base/base-2026-11-29_030000",
            "data",
            "--tablespace moons",
            "tablespace \"stars\" (16398)",
            "no-such-user"
        ]
    );
    let error = checked.into_plan().unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(error.chain().matches("; restore ").count(), 4, "{}", error.chain());
}

#[test]
fn folders_must_not_contain_each_other() {
    let parent = tempfile::tempdir().unwrap();
    // The parent is empty, but the data directory would be made in it.
    for (path, message) in [("data", "named twice"), ("data/stars", "cannot be made in"), ("", "contains ")] {
        let mut target = target(parent.path());
        target.tablespaces.insert("stars".to_owned(), parent.path().join(path));
        let findings = check_with(&target, &manifest()).findings;
        let failed = findings.iter().filter(|finding| finding.outcome == Outcome::Failed);
        let messages: Vec<_> = failed.map(|finding| finding.message.as_str()).collect();
        assert!(messages.iter().any(|found| found.contains(message)), "{path}: {messages:?}");
    }
}

#[test]
fn plan_has_normal_paths_by_oid() {
    let parent = tempfile::tempdir().unwrap();
    let mut target = target(parent.path());
    target.tablespaces = BTreeMap::from([("16398".to_owned(), parent.path().join("stars/"))]);
    let plan = check_with(&target, &manifest()).into_plan().unwrap();
    assert_eq!(plan.data, parent.path().join("data"));
    let [(16398, TablespaceFolder::Outside(folder))] = &plan.tablespaces.into_iter().collect::<Vec<_>>()[..] else {
        panic!("not one folder")
    };
    assert_eq!(folder.as_os_str(), parent.path().join("stars").as_os_str());
}

#[test]
fn folder_of_the_source_is_only_a_key() {
    let parent = tempfile::tempdir().unwrap();
    let mut target = target(parent.path());
    target.tablespaces = BTreeMap::from([("/srv/of the source".to_owned(), parent.path().join("new"))]);
    let plan = check_with(&target, &manifest()).into_plan().unwrap();
    assert_eq!(plan.tablespaces[&16398], TablespaceFolder::Outside(parent.path().join("new")));
}

#[test]
fn missing_space_is_reported_for_all_folders() {
    let parent = tempfile::tempdir().unwrap();
    let mut manifest = manifest();
    manifest.base.as_mut().unwrap().file_bytes = u64::MAX / 2;
    let checked = check_with(&target(parent.path()), &manifest);
    assert_eq!(failed(&checked, parent.path()), ["data, stars"]);
}

#[test]
fn unknown_sizes_and_tablespaces_are_warnings() {
    let parent = tempfile::tempdir().unwrap();
    let mut manifest = manifest();
    manifest.base = None;
    let mut target = target(parent.path());
    target.tablespaces.clear();
    let checked = check(&target, &RestoreRequest::new(&manifest, None));
    assert!(failed(&checked, parent.path()).is_empty());
    let warned: Vec<_> = checked.findings.iter().filter(|finding| finding.outcome == Outcome::Warning).collect();
    assert!(warned.iter().any(|finding| finding.subject == "tablespaces"), "{warned:?}");
    assert!(warned.iter().any(|finding| finding.message.contains("does not record the sizes")), "{warned:?}");
    checked.into_plan().unwrap();
}

#[test]
fn limits_of_the_backup_are_warnings() {
    let parent = tempfile::tempdir().unwrap();
    let mut manifest = manifest();
    let facts = manifest.base.as_mut().unwrap();
    facts.damaged_pages = 3;
    let checked = check_with(&target(parent.path()), &manifest);
    assert!(checked.findings.iter().any(|finding| finding.message.contains("3 pages were damaged")));
    checked.into_plan().unwrap();
}

#[test]
fn backup_without_wal_needs_a_recovery() {
    let parent = tempfile::tempdir().unwrap();
    let mut manifest = manifest();
    manifest.base.as_mut().unwrap().wal = WalLocation::Archive;
    let mut target = target(parent.path());
    let error = check_with(&target, &manifest).into_plan().unwrap_err();
    assert!(error.chain().contains("does not contain its WAL, from 0/2000028"), "{}", error.chain());
    let (folder, end) = (parent.path().to_owned(), RecoveryEnd::Target);
    target.recovery = Some(Recovery { settings: Vec::new(), folder, files: Vec::new(), end, reaches: None });
    check_with(&target, &manifest).into_plan().unwrap();
}

#[test]
fn space_for_a_whole_chain_is_a_warning() {
    let parent = tempfile::tempdir().unwrap();
    let full = manifest();
    let mut child = manifest();
    child.time = longshore_core::key::Timestamp::parse("2026-11-30_030000").unwrap();
    let base = child.base.as_mut().unwrap();
    (base.incremental_from, base.start_lsn) = (Some(base.start_lsn), "0/4000028".parse().unwrap());
    base.file_bytes = u64::MAX;
    child.needs = vec![full.name().unwrap()];
    let earlier = [full];
    let details = details();
    let request = RestoreRequest { manifest: &child, details: Some(&details), earlier: &earlier };
    let checked = check(&target(parent.path()), &request);
    assert!(failed(&checked, parent.path()).is_empty(), "{:?}", checked.findings);
    assert!(
        checked
            .findings
            .iter()
            .any(|found| found.outcome == Outcome::Warning && found.message.contains("MiB are free"))
    );
    checked.into_plan().unwrap();
    let alone = RestoreRequest::new(&child, Some(&details));
    assert!(check(&target(parent.path()), &alone).into_plan().is_err());
    let checksums = |on| {
        let mut child = child.clone();
        child.base.as_mut().unwrap().page_checksums = on;
        check(&target(parent.path()), &RestoreRequest { manifest: &child, ..request }).into_plan().is_ok()
    };
    assert_eq!([checksums(true), checksums(false)], [true, false], "switched off between two backups");
}
