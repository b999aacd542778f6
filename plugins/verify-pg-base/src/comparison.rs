//! Compares the facts found by a read-back with the record of the same bytes. The facts depend on
//! the bytes only, so every difference is damage.

use std::collections::BTreeMap;

use longshore_core::comparison::{Comparison, ComparisonOutcome};
use longshore_core::manifest::Manifest;
use serde_json::{Map, Value};

use crate::report::{FACTS, METHODS, PROGRAM, SYSTEM_IDENTIFIER, TOTALS};

/// The subject of the record in the details.
const DETAILS_SUBJECT: &str = "base backup";
/// The subject of the record in the manifest, which is not encrypted.
const MANIFEST_SUBJECT: &str = "manifest";

/// Returns the differences of the details, and those of the manifest. Returns `None` if one side is
/// no record of this verifier. Another version of the verifier may record more or fewer parts, so
/// only parts of both sides are compared.
pub(crate) fn differences(manifest: &Manifest, recorded: &Value, found: &Value) -> Option<Vec<Comparison>> {
    let (recorded, found) = (recorded.as_object()?, found.as_object()?);
    let mut all = Vec::new();
    for (name, found) in found {
        match (recorded.get(name), found) {
            (Some(Value::Object(recorded)), Value::Object(found)) => {
                all.extend(parts(DETAILS_SUBJECT, recorded, found));
            }
            (Some(recorded), found) => all.extend(compare(DETAILS_SUBJECT, name, recorded, found)),
            // Damaged pages are recorded only if there are any; their number is in the totals.
            (None, _) => {}
        }
    }
    all.extend(manifest_differences(manifest, found));
    Some(all)
}

/// Compares the record in the manifest.
fn manifest_differences(manifest: &Manifest, found: &Map<String, Value>) -> Vec<Comparison> {
    let mut all = Vec::new();
    if let (Some(Value::Object(found)), Some(base)) = (found.get(FACTS), &manifest.base)
        && let Ok(Value::Object(recorded)) = serde_json::to_value(base)
    {
        all.extend(parts(MANIFEST_SUBJECT, &recorded, found));
    }
    let is_own = |method: &str| METHODS.contains(&method);
    let own = manifest.verified.iter().filter(|one| is_own(&one.method) && one.by.split(' ').next() == Some(PROGRAM));
    if let Some(Value::Object(found)) = found.get(TOTALS) {
        for recorded in own.map(|one| &one.totals) {
            all.extend(parts(MANIFEST_SUBJECT, &to_map(recorded), found));
        }
    }
    let identifier = manifest.cluster.server.system_identifier.as_deref().map(Value::from);
    if let (Some(recorded), Some(found)) = (identifier, found.get(SYSTEM_IDENTIFIER)) {
        all.extend(compare(MANIFEST_SUBJECT, "system identifier", &recorded, found));
    }
    all
}

fn to_map(totals: &BTreeMap<String, u64>) -> Map<String, Value> {
    totals.iter().map(|(name, count)| (name.clone(), (*count).into())).collect()
}

/// Compares the parts that both sides have.
fn parts<'a>(
    subject: &'a str,
    recorded: &'a Map<String, Value>,
    found: &'a Map<String, Value>,
) -> impl Iterator<Item = Comparison> + 'a {
    found.iter().filter_map(move |(name, found)| compare(subject, name, recorded.get(name)?, found))
}

/// Returns a comparison if the two values differ.
fn compare(subject: &str, name: &str, recorded: &Value, found: &Value) -> Option<Comparison> {
    (recorded != found).then(|| Comparison {
        subject: subject.to_owned(),
        aspect: name.replace('_', " "),
        expected: Some(text(recorded)),
        found: Some(text(found)),
        outcome: ComparisonOutcome::Different,
    })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn details() -> Value {
        json!({
            "label": "longshore",
            "system_identifier": "7512345678901234567",
            "facts": { "timeline": 1, "start_lsn": "0/2000028", "files": 9 },
            "totals": { "files": 9, "pages": 70 },
        })
    }

    fn manifest() -> Manifest {
        let digest =
            json!({ "bytes": 3, "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" });
        let manifest = json!({
            "format": 2, "longshore": "0.1.0", "job": "base", "run": "2026-06-07_091500-5f3a9c21", "run_backups": 1,
            "time": "2026-06-07T09:15:00Z", "started": "2026-06-07T09:15:01Z", "finished": "2026-06-07T09:16:40Z",
            "cluster": { "name": "main", "server_version": "17.4", "system_identifier": "7512345678901234567" },
            "subject": { "kind": "base" },
            "base": {
                "timeline": 1, "start_lsn": "0/2000028", "stop_lsn": "0/2000120", "wal": "included",
                "wal_segment_bytes": 16777216, "from_standby": false, "page_checksums": true, "settings": {},
                "files": 9, "file_bytes": 1000,
            },
            "tool": { "name": "BASE_BACKUP", "version": "17.4" },
            "artifact": { "key": "main/base/base-2026-06-07_091500.base.tar", "format": "base", "plaintext": digest,
                "sealed": digest },
            "verified": [{ "by": "longshore 0.1.0", "method": METHODS[1], "totals": { "files": 9, "pages": 70 } }],
        });
        serde_json::from_value(manifest).unwrap()
    }

    fn texts(manifest: &Manifest, recorded: &Value, found: &Value) -> Vec<String> {
        let differences = differences(manifest, recorded, found).unwrap();
        differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn equal_records_have_no_difference() {
        assert_eq!(texts(&manifest(), &details(), &details()), [""; 0]);
    }

    #[test]
    fn differences_name_their_parts() {
        let mut found = details();
        found["label"] = "other".into();
        found["facts"]["start_lsn"] = "0/3000028".into();
        assert_eq!(
            texts(&manifest(), &details(), &found),
            [
                "base backup: start lsn: expected 0/2000028, found 0/3000028",
                "base backup: label: expected longshore, found other",
                "manifest: start lsn: expected 0/2000028, found 0/3000028",
            ]
        );
    }

    #[test]
    fn manifest_of_another_cluster_differs() {
        let mut manifest = manifest();
        manifest.cluster.server.system_identifier = Some("7".to_owned());
        manifest.verified[0].totals.insert("files".to_owned(), 8);
        manifest.base.as_mut().unwrap().files = 8;
        assert_eq!(
            texts(&manifest, &details(), &details()),
            [
                "manifest: files: expected 8, found 9",
                "manifest: files: expected 8, found 9",
                "manifest: system identifier: expected 7, found 7512345678901234567",
            ]
        );
        // Totals of another verifier have other meanings.
        manifest.verified[0].by = "pg_verifybackup 17.4".to_owned();
        assert_eq!(texts(&manifest, &details(), &details()).len(), 2);
    }

    #[test]
    fn records_of_other_versions_are_compared_by_common_parts() {
        let recorded = json!({ "label": "longshore", "later": 7, "totals": { "files": 9, "later": 7 } });
        assert_eq!(texts(&manifest(), &recorded, &details()), [""; 0]);
        assert!(differences(&manifest(), &json!("no record"), &details()).is_none());
    }
}
