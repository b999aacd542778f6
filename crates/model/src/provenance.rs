//! The origin of a backup, as recorded in its details and in the header of its archive.
//!
//! A manifest is not protected against modification, so details and archives that name another
//! backup than their manifest were replaced later.

use chrono::{NaiveDateTime, TimeDelta};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Kind, Result, Stage, printable};
use crate::key::Timestamp;
use crate::manifest::Manifest;
use crate::subject::Subject;

/// The largest difference between an archive's creation in local time and the beginning of its dump
/// in UTC: 14 hours of time zone, and half a day for locks and clocks.
const MAX_DISTANCE: TimeDelta = TimeDelta::hours(26);

/// The backup that details belong to, recorded in the details under [`Provenance::KEY`]. Details of
/// older backups lack this record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The cluster's name in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// PostgreSQL's system identifier of the cluster, if the role may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// The subject of the backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// The time of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

/// A difference between a manifest and a record of the same backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The name of the field that differs.
    pub field: &'static str,
    /// The value in the manifest.
    pub expected: String,
    /// The value in the record.
    pub found: String,
}

impl Provenance {
    /// The key of the record in the details.
    pub const KEY: &str = "backup";

    /// Returns the record for the details of a manifest's backup.
    pub fn from_manifest(manifest: &Manifest) -> Self {
        Self {
            cluster: Some(manifest.cluster.name.clone()),
            system_identifier: manifest.cluster.server.system_identifier.clone(),
            subject: Some(manifest.subject.clone()),
            time: Some(manifest.time),
        }
    }

    /// Returns the differences between a manifest and the record in its details. A missing record
    /// or field is not a difference; an unreadable record is one.
    pub fn mismatches(manifest: &Manifest, details: &Map<String, Value>) -> Vec<Mismatch> {
        let Some(record) = details.get(Self::KEY) else { return Vec::new() };
        let own = Self::from_manifest(manifest);
        let Ok(found) = Self::deserialize(record) else {
            let expected = manifest.name().map(|name| name.to_string()).unwrap_or_default();
            return vec![Mismatch { field: "backup", expected, found: "unreadable".to_owned() }];
        };
        [
            mismatch("cluster", own.cluster, found.cluster),
            mismatch("system identifier", own.system_identifier, found.system_identifier),
            mismatch(
                "subject",
                own.subject.as_ref().map(Subject::segment),
                found.subject.as_ref().map(Subject::segment),
            ),
            mismatch("time", own.time.map(|time| time.to_string()), found.time.map(|time| time.to_string())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Returns the details that contain this record.
    pub fn into_details(self) -> Map<String, Value> {
        serde_json::to_value(self)
            .map_or_else(|_| Map::new(), |record| [(Self::KEY.to_owned(), record)].into_iter().collect())
    }
}

impl Mismatch {
    /// Returns the error for details that belong to another backup than their manifest, if there
    /// are differences.
    pub fn error(all: &[Self], subject: &str) -> Option<Error> {
        let first = all.first()?;
        let message = format!("damaged: these are the details of another backup: {first}");
        Some(Error::new(Stage::Catalog, Kind::Corrupt, subject, message))
    }
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { field, expected, found } = self;
        write!(f, "{field} {}, but the manifest records {}", printable(found), printable(expected))
    }
}

fn mismatch(field: &'static str, expected: Option<String>, found: Option<String>) -> Option<Mismatch> {
    let found = found.filter(|found| Some(found) != expected.as_ref())?;
    Some(Mismatch { field, expected: expected.unwrap_or_else(|| "none".to_owned()), found })
}

/// The origin recorded in the header of an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The dumped database.
    pub database: Option<String>,
    /// The creation time of the archive, by the local clock of the dumping host.
    pub created: Option<NaiveDateTime>,
    /// The version of the dumped server, such as `15.18`.
    pub server_version: Option<String>,
    /// The version of the program that made the dump, such as `17.12`.
    pub tool_version: Option<String>,
}

impl Origin {
    /// Compares the header of an archive with its manifest.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Corrupt`] if the header names another database, or a creation time more
    /// than 26 hours from the beginning of the dump.
    pub fn expect(&self, manifest: &Manifest) -> Result<()> {
        let damaged = |message: String| {
            let subject = manifest.artifact.key.as_str();
            Err(Error::new(Stage::Verify, Kind::Corrupt, subject, format!("damaged: {message}")))
        };
        if let (Some(found), Subject::Database { name }) = (&self.database, &manifest.subject)
            && found != name
        {
            let (found, name) = (printable(found), printable(name));
            return damaged(format!("this is an archive of database \"{found}\", but the manifest records \"{name}\""));
        }
        let started = manifest.started.naive_utc();
        match self.created {
            Some(created) if (created - started).abs() > MAX_DISTANCE => damaged(format!(
                "this archive was created at {created} (local time), but the manifest records {started} (UTC)"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;

    fn manifest() -> Manifest {
        let key = Key::parse("main/appdb/appdb-2026-06-07_091500.json").unwrap();
        Manifest::from_bytes(&key, include_bytes!("../testdata/manifest-1.json")).unwrap()
    }

    fn fields(change: impl FnOnce(&mut Provenance)) -> Vec<&'static str> {
        let mut record = Provenance::from_manifest(&manifest());
        change(&mut record);
        let found = Provenance::mismatches(&manifest(), &record.into_details());
        found.into_iter().map(|mismatch| mismatch.field).collect()
    }

    #[test]
    fn details_of_another_backup_differ_in_each_field() {
        assert!(fields(|_| {}).is_empty());
        assert_eq!(fields(|record| record.cluster = Some("crm".to_owned())), ["cluster"]);
        assert_eq!(fields(|record| record.system_identifier = Some("7".to_owned())), ["system identifier"]);
        assert_eq!(fields(|record| record.subject = Some(Subject::Globals)), ["subject"]);
        assert_eq!(fields(|record| record.time = Timestamp::parse("2026-06-07_091501")), ["time"]);
        let mismatches = [Mismatch { field: "cluster", expected: "main".into(), found: "crm".into() }];
        let error = Mismatch::error(&mismatches, "x").unwrap();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("cluster crm, but the manifest records main"), "{error}");
        let unreadable = [(Provenance::KEY.to_owned(), Value::from(7))].into_iter().collect();
        assert_eq!(Provenance::mismatches(&manifest(), &unreadable).len(), 1);
    }

    #[test]
    fn missing_fields_are_no_mismatch() {
        assert!(fields(|record| *record = Provenance::default()).is_empty());
        assert!(Provenance::mismatches(&manifest(), &Map::new()).is_empty());
        assert!(Mismatch::error(&[], "x").is_none());
    }

    #[test]
    fn archive_of_another_database_or_day_is_corrupt() {
        let started = manifest().started.naive_utc();
        let expect = |database: &str, distance: TimeDelta| {
            let origin =
                Origin { database: Some(database.to_owned()), created: Some(started + distance), ..Origin::default() };
            origin.expect(&manifest()).map_err(|error| error.kind())
        };
        // The local clock of the dumping host may be in any time zone.
        for hours in [-26, -12, 0, 14, 26] {
            assert_eq!(expect("appdb", TimeDelta::hours(hours)), Ok(()), "{hours}");
        }
        for minutes in [-26 * 60 - 1, 26 * 60 + 1] {
            assert_eq!(expect("appdb", TimeDelta::minutes(minutes)), Err(Kind::Corrupt));
        }
        assert_eq!(expect("crm", TimeDelta::zero()), Err(Kind::Corrupt));
        Origin::default().expect(&manifest()).unwrap();
        let all = Manifest { subject: Subject::All, ..manifest() };
        Origin { database: Some("postgres".to_owned()), ..Origin::default() }.expect(&all).unwrap();
    }
}
