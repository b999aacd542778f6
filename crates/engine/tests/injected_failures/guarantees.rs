//! The guarantees after every injection, checked from the bytes in the destinations and
//! without a catalog.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use longshore_core::key::{BackupName, Key, RESTORE_PAGE};
use longshore_core::mark::MarkName;
use longshore_core::meter::Digest;
use serde_json::Value;

use crate::env::{Contents, TestEnv};
use crate::stage::{content, subjects};
use crate::verb::{Verb, VerbReport};

/// The number of backups of a series that the policy keeps.
const KEPT: usize = 2;

/// A backup, by destination and name.
pub(crate) type Named = (String, String);

/// The contents of the destinations.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Inventory {
    /// Backups whose bytes are those of the dump.
    pub(crate) intact: BTreeSet<Named>,
    /// Backups with a manifest, but with other bytes than the dump.
    pub(crate) damaged_backups: BTreeSet<Named>,
    /// Files that do not belong to a backup.
    pub(crate) orphans: BTreeSet<Named>,
    /// Files of another program.
    pub(crate) foreign: BTreeSet<Named>,
}

/// Classifies the contents of the destinations.
pub(crate) fn classify(contents: &Contents) -> Inventory {
    let mut found = Inventory::default();
    for (destination, files) in contents {
        let named = |name: &str| ((*destination).to_owned(), name.to_owned());
        let mut claimed = BTreeSet::new();
        for (key, bytes) in files {
            let Some(name) = BackupName::from_manifest_key(key) else { continue };
            let manifest: Value = serde_json::from_slice(bytes).unwrap();
            claimed.insert(key.clone());
            let files = BTreeMap::from_iter(files.iter().map(|(key, bytes)| (key.as_str(), bytes)));
            let of_backup = [&manifest["artifact"], &manifest["details"]];
            claimed.extend(of_backup.iter().map(|file| Key::parse(file["key"].as_str().unwrap()).unwrap()));
            let digests_match = of_backup.iter().all(|file| {
                files.get(file["key"].as_str().unwrap()).is_some_and(|bytes| is_digest(&file["sealed"], bytes))
            });
            let artifact = files.get(manifest["artifact"]["key"].as_str().unwrap());
            let dumped =
                subjects().into_iter().find(|subject| name.as_str().contains(&format!("/{}/", subject.segment())));
            let opened = artifact.map(|bytes| bytes.iter().map(|byte| byte ^ 0x5A).collect::<Bytes>());
            let intact = digests_match && opened == dumped.as_ref().map(content);
            if intact { &mut found.intact } else { &mut found.damaged_backups }.insert(named(name.as_str()));
        }
        for key in files.keys().filter(|key| !claimed.contains(*key)) {
            let of_mark = MarkName::from_key(key).or_else(|| MarkName::from_details_key(key));
            let is_marked = |mark: MarkName| claimed.contains(&mark.backup.manifest());
            if key.as_str().starts_with("old/") {
                found.foreign.insert(named(key.as_str()));
            } else if key.as_str() != RESTORE_PAGE && !of_mark.is_some_and(is_marked) {
                found.orphans.insert(named(key.as_str()));
            }
        }
    }
    found
}

fn is_digest(expected: &Value, bytes: &Bytes) -> bool {
    expected["bytes"] == bytes.len() && expected["sha256"].as_str() == Some(Digest::of(bytes).hex())
}

/// The result of a verb without failures.
pub(crate) struct Reference {
    pub(crate) before: Inventory,
    pub(crate) after: Inventory,
    pub(crate) calls: Vec<String>,
}

impl Reference {
    /// Returns the backups and files that the verb removes.
    fn removed(&self) -> BTreeSet<&Named> {
        let before = self.before.intact.iter().chain(&self.before.foreign);
        before.filter(|name| !self.after.intact.contains(*name) && !self.after.foreign.contains(*name)).collect()
    }
}

/// Returns the violated guarantees after a verb that met a fault.
pub(crate) fn violations(
    verb: Verb,
    reference: &Reference,
    env: &TestEnv,
    after: &Contents,
    report: Option<&VerbReport>,
) -> Vec<String> {
    let found = classify(after);
    let mut violations = Vec::new();
    for name in found.damaged_backups.difference(&reference.before.damaged_backups) {
        violations.push(format!("{name:?} is visible, but not intact"));
    }
    let allowed = reference.removed();
    for name in reference.before.intact.iter().chain(&reference.before.foreign) {
        let may_go = match verb {
            // The newest two backups of a series are kept, of any origin.
            Verb::Run => newer(&found, name) >= KEPT,
            _ => allowed.contains(name),
        };
        if !found.intact.contains(name) && !found.foreign.contains(name) && !may_go {
            violations.push(format!("{name:?} is lost"));
        }
    }
    let marked_damaged = after.iter().flat_map(|(destination, files)| {
        let marks = files.keys().filter_map(MarkName::from_key);
        let damaged = marks.filter(|mark| mark.kind == longshore_core::mark::MarkKind::Damaged);
        damaged.map(|mark| ((*destination).to_owned(), mark.backup.to_string()))
    });
    let claimed_damaged = report.iter().flat_map(|report| report.damaged.iter().cloned());
    for name in marked_damaged.chain(claimed_damaged).filter(|name| !verb.damaged_before().contains(name)) {
        violations.push(format!("{name:?} is reported damaged, but is intact"));
    }
    let Some(report) = report else { return violations };
    for name in report.intact.iter().filter(|name| !found.intact.contains(*name)) {
        violations.push(format!("{name:?} is reported intact, but is not"));
    }
    if report.success {
        violations.extend(success_violations(verb, reference, env, after, &found));
    }
    violations
}

/// Returns the number of newer intact backups of the same series at the destination.
fn newer(found: &Inventory, (destination, name): &Named) -> usize {
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let is_newer = |(at, other): &&Named| at == destination && other.starts_with(folder) && other > name;
    found.intact.iter().filter(is_newer).count()
}

/// Returns the violated guarantees of a successful verb.
pub(crate) fn success_violations(
    verb: Verb,
    reference: &Reference,
    env: &TestEnv,
    after: &Contents,
    found: &Inventory,
) -> Vec<String> {
    let mut violations = Vec::new();
    if !verb.is_done(env, after) {
        violations.push("a false success".to_owned());
    }
    // The times of runs differ.
    let counted = |found: &Inventory| {
        let mut counts: BTreeMap<Named, usize> = BTreeMap::new();
        for (destination, name) in &found.intact {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
            *counts.entry((destination.clone(), folder)).or_default() += 1;
        }
        counts
    };
    let (expected, counts) = (counted(&reference.after), counted(found));
    let has_all = match verb {
        // An earlier run may have left a backup that others need.
        Verb::Run => expected.iter().all(|(series, count)| counts.get(series) >= Some(count)),
        _ => counts == expected,
    };
    if !has_all || found.foreign != reference.after.foreign || found.damaged_backups != reference.after.damaged_backups
    {
        violations.push(format!("a success left {counts:?} instead of {expected:?}"));
    }
    violations
}
