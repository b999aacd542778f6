//! Many backups: their times, shared by all tests that count them, and files that look like
//! backups.

use std::fs;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use longshore_core::key::Timestamp;
use longshore_core::manifest::{Manifest, SealedFile};
use longshore_core::meter::Digest;
use longshore_core::subject::Subject;

/// The number of backups of a series.
pub const BACKUPS_PER_SERIES: usize = 500;

/// Returns the times of a series' backups, six hours apart, oldest first. All are in the past.
pub fn every_six_hours() -> impl Iterator<Item = DateTime<Utc>> {
    let first = DateTime::from_timestamp(1_735_700_400, 0).unwrap(); // 1 January 2025, 03:00
    (0..BACKUPS_PER_SERIES).map(move |run| first + TimeDelta::hours(6 * run as i64))
}

/// The content of every artifact and every details file that [`fill`] writes.
pub const CONTENT: &str = "abc";

/// Writes backups into a folder in the layout of a destination: `series` databases of a cluster
/// `main`, each with `each` backups an hour apart, the newest of 7 June 2026. Each backup has three
/// files with correct sizes and digests, but cannot be restored.
pub fn fill(folder: &Path, series: usize, each: usize) {
    let template: Manifest = serde_json::from_str(include_str!("../../model/testdata/manifest-1.json")).unwrap();
    let sealed = Digest::of(CONTENT.as_bytes());
    for database in (0..series).map(|number| format!("app{number:02}")) {
        let folder = folder.join("main").join(&database);
        fs::create_dir_all(&folder).unwrap();
        for hour in 0..each {
            let mut manifest = template.clone();
            manifest.subject = Subject::database(&database);
            manifest.time = Timestamp::new(template.time.time() - TimeDelta::hours(hour as i64));
            manifest.needs = Vec::new();
            let name = manifest.name().unwrap();
            manifest.artifact.key = name.artifact(".dump").unwrap();
            manifest.artifact.sealed = sealed.clone();
            manifest.details = Some(SealedFile { key: name.details("").unwrap(), sealed: sealed.clone() });
            for file in manifest.files() {
                fs::write(folder.join(file.key.file_name()), CONTENT).unwrap();
            }
            fs::write(folder.join(name.manifest().file_name()), manifest.to_bytes().unwrap()).unwrap();
        }
    }
}
