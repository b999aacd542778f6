//! Dated files of other programs in a destination, adopted as backups by their names.
//!
//! A pattern describes the names, such as `{database}-%Y-%m-%d_%H%M%S.dump`. A key matches in at
//! most one way. The checksum of a file, beside the file, is a part of the backup, as are the files
//! beside the table of contents of a dump in directory format. Other files are reported and
//! ignored.

pub mod detect;
mod directory;
mod field;
mod pattern;
pub mod scheme;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use longshore_core::stage::Entry;
use longshore_model::key::{BackupName, Key};
use longshore_model::mark::{MarkName, Marks};
use longshore_model::series::Series;
use longshore_model::subject::Subject;

use crate::catalog::Catalog;

pub use self::directory::TABLE_OF_CONTENTS;
pub use self::pattern::{ParsedName, Pattern};
pub use crate::adopted::{Adopted, Refusal};

/// A rule for adopting files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptRule {
    /// The rule's name, used as the name of the job.
    pub name: String,
    /// The cluster of the adopted files.
    pub cluster: String,
    /// The pattern of the file names.
    pub pattern: Pattern,
    /// The time zone of the times in the file names, unless a name states its offset from UTC.
    pub timezone: Tz,
    /// The database of all files, if the pattern does not contain it.
    pub database: Option<String>,
}

impl AdoptRule {
    /// Adopts a file, if its name matches the pattern.
    pub fn try_adopt(&self, entry: &Entry) -> Result<Adopted, Refusal> {
        let dated = self.pattern.read(&entry.key)?;
        if is_reserved(&entry.key) {
            return Err(Refusal::Reserved);
        }
        let time = match dated.offset {
            Some(offset) => offset.from_local_datetime(&dated.time).earliest().map(|time| time.to_utc()),
            None => self.earliest_time(dated.time),
        };
        let time = time.ok_or(Refusal::NonexistentTime)?;
        let database = dated.database.or_else(|| self.database.clone()).ok_or(Refusal::NoMatch)?;
        let subject = Subject::database(database);
        Ok(Adopted {
            name: BackupName::from_adopted_key(&entry.key),
            series: Series { cluster: self.cluster.clone(), subject, job: self.name.clone() },
            time,
            key: entry.key.clone(),
            bytes: entry.bytes,
            parts: Vec::new(),
            checksums: Vec::new(),
            marks: Marks::default(),
        })
    }

    /// Returns the earliest moment of a local time, or the beginning of the day for a pattern
    /// without a time of day.
    fn earliest_time(&self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        // A day may begin at one o'clock, and clocks change by at least a quarter of an hour.
        let quarters = if self.pattern.has_time_of_day() { 0 } else { 95 };
        (0..=quarters).find_map(|quarter| {
            let shown = local + TimeDelta::minutes(15) * quarter;
            self.timezone.from_local_datetime(&shown).earliest().map(|time| time.to_utc())
        })
    }
}

/// The suffixes of files with the checksum of another file.
const CHECKSUMS: [&str; 6] = [".md5", ".sha1", ".sha224", ".sha256", ".sha384", ".sha512"];

/// Returns the key of the file whose checksum this is, if the name is that of a checksum.
pub fn checksum_of(key: &Key) -> Option<&str> {
    CHECKSUMS.iter().find_map(|suffix| key.as_str().strip_suffix(suffix))
}

/// Returns true if a key is the name of a Longshore backup or of one of its files.
fn is_reserved(key: &Key) -> bool {
    let as_name = Key::parse(&format!("{key}.json"));
    BackupName::from_file_key(key).is_some()
        || BackupName::from_manifest_key(key).is_some()
        || MarkName::from_key(key).is_some()
        || as_name.is_ok_and(|key| BackupName::from_manifest_key(&key).is_some())
}

impl Catalog {
    /// Adopts the orphans whose names match exactly one pattern, with their marks and the checksums
    /// beside them. Records the reason for the others, except for names reserved for Longshore's
    /// own files.
    pub fn adopt<'a>(&mut self, rules: impl Iterator<Item = &'a AdoptRule> + Clone) {
        let mut orphans = Vec::new();
        for entry in std::mem::take(&mut self.orphans) {
            let mut results: Vec<_> = rules.clone().map(|adopt| (adopt, adopt.try_adopt(&entry))).collect();
            let matching: Vec<_> =
                results.iter().filter(|(_, claim)| claim.is_ok()).map(|(adopt, _)| adopt.name.clone()).collect();
            let refusal = match &matching[..] {
                [] if is_reserved(&entry.key) => None,
                // Report the most specific reason.
                [] => results.into_iter().filter_map(|(_, claim)| claim.err()).max().or(Some(Refusal::NoMatch)),
                [_] => {
                    results.retain(|(_, claim)| claim.is_ok());
                    for mut adopted in results.into_iter().filter_map(|(_, claim)| claim.ok()) {
                        adopted.marks = self.adopted_marks.remove(&adopted.name).unwrap_or_default();
                        self.adopted.entry(adopted.series.clone()).or_default().push(adopted);
                    }
                    continue;
                }
                _ => Some(Refusal::Ambiguous(matching)),
            };
            self.not_adopted.extend(refusal.map(|refusal| (entry.key.clone(), refusal)));
            orphans.push(entry);
        }
        let claimed_parts = directory::claim(self.adopted.values_mut().flatten(), &mut orphans);
        self.not_adopted.retain(|(key, _)| !claimed_parts.contains(key));
        let mut checksums: BTreeMap<String, Vec<Key>> = BTreeMap::new();
        for entry in &orphans {
            if let Some(of) = checksum_of(&entry.key) {
                checksums.entry(of.to_owned()).or_default().push(entry.key.clone());
            }
        }
        let mut claimed = BTreeSet::new();
        for file in self.adopted.values_mut().flatten() {
            file.checksums = checksums.remove(directory::whole(file)).unwrap_or_default();
            claimed.extend(file.checksums.iter().cloned());
        }
        orphans.retain(|entry| !claimed.contains(&entry.key));
        self.not_adopted.retain(|(key, _)| !claimed.contains(key));
        self.orphans = orphans;
        for files in self.adopted.values_mut() {
            files.sort_by(|one, other| (one.time, &one.name).cmp(&(other.time, &other.name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERN: &str = "{database}-%Y-%m-%d_%H%M%S.dump";

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    fn adopt(name: &str, pattern: &str, timezone: Tz) -> AdoptRule {
        let pattern = Pattern::parse(pattern).unwrap();
        AdoptRule { name: name.to_owned(), cluster: "main".to_owned(), pattern, timezone, database: None }
    }

    fn claimed(pattern: &str, timezone: Tz, text: &str) -> Result<String, Refusal> {
        let entry = Entry::new(key(text), 1);
        adopt("old", pattern, timezone).try_adopt(&entry).map(|adopted| adopted.time.to_rfc3339())
    }

    fn catalog(keys: &[&str]) -> Catalog {
        let orphans = keys.iter().map(|text| Entry::new(key(text), 1)).collect();
        Catalog { orphans, ..Catalog::default() }
    }

    #[test]
    fn time_in_a_name_is_local_time() {
        let (hours, days) = ("{database}-%Y-%m-%d_%H%M", "{database}-%F");
        let berlin = Tz::Europe__Berlin;
        assert_eq!(claimed(hours, Tz::UTC, "a-2026-06-07_0915").unwrap(), "2026-06-07T09:15:00+00:00");
        assert_eq!(claimed(hours, berlin, "a-2026-06-07_0915").unwrap(), "2026-06-07T07:15:00+00:00");
        assert_eq!(claimed(days, berlin, "a-2026-06-07").unwrap(), "2026-06-06T22:00:00+00:00");
        // 02:30 on 25 October 2026 occurs twice in Berlin, at 00:30 and at 01:30 UTC: the first
        // counts.
        assert_eq!(claimed(hours, berlin, "a-2026-10-25_0230").unwrap(), "2026-10-25T00:30:00+00:00");
        // On 29 March it does not occur.
        assert_eq!(claimed(hours, berlin, "a-2026-03-29_0230"), Err(Refusal::NonexistentTime));
        assert_eq!(claimed(hours, Tz::UTC, "a-2026-03-29_0230").unwrap(), "2026-03-29T02:30:00+00:00");
        // A day without midnight is a valid day: in Beirut, 26 March 2028 begins at one o'clock.
        // Samoa had no 30 December 2011.
        assert_eq!(claimed(days, Tz::Asia__Beirut, "a-2028-03-26").unwrap(), "2028-03-25T22:00:00+00:00");
        assert_eq!(claimed(days, Tz::Pacific__Apia, "a-2011-12-30"), Err(Refusal::NonexistentTime));
    }

    #[test]
    fn checksums_belong_to_their_file() {
        let mut catalog = catalog(&[
            "app-2026-06-07_091500.dump",
            "app-2026-06-07_091500.dump.md5",
            "app-2026-06-07_091500.dump.sha256",
            "app-2026-06-08_091500.dump.sha256",
        ]);
        catalog.adopt([adopt("old", PATTERN, Tz::UTC)].iter());
        let file = &catalog.adopted.values().next().unwrap()[0];
        assert_eq!(file.checksums, ["app-2026-06-07_091500.dump.md5", "app-2026-06-07_091500.dump.sha256"].map(key));
        assert_eq!(catalog.not_adopted, [(key("app-2026-06-08_091500.dump.sha256"), Refusal::NoMatch)]);
        assert_eq!(catalog.orphans.len(), 1);
    }

    #[test]
    fn a_stated_offset_replaces_the_time_zone() {
        let pattern = "{database}_%FT%T%:z.dump";
        let berlin = Tz::Europe__Berlin;
        assert_eq!(claimed(pattern, berlin, "a_2026-06-07T03:00:01+09:00.dump").unwrap(), "2026-06-06T18:00:01+00:00");
        assert_eq!(claimed(pattern, berlin, "a_2026-06-07T03:00:01Z.dump").unwrap(), "2026-06-07T03:00:01+00:00");
    }

    #[test]
    fn own_files_are_never_adopted() {
        let ours = "main/a/a-2026-06-07_091500";
        for (pattern, text) in [
            ("main/a/{database}-%Y-%m-%d_%H%M%S.dump.zst.age", format!("{ours}.dump.zst.age")),
            ("main/a/{database}-%Y-%m-%d_%H%M%S.json", format!("{ours}.json")),
            ("main/a/{database}-%Y-%m-%d_%H%M%S", ours.to_owned()),
            ("main/a/{database}.hold.%Y-%m-%d_%H%M%S.json", format!("{ours}.hold.2026-07-01_120000.json")),
        ] {
            assert_eq!(claimed(pattern, Tz::UTC, &text), Err(Refusal::Reserved), "{text}");
            let mut catalog = catalog(&[&text]);
            catalog.adopt([adopt("old", pattern, Tz::UTC)].iter());
            assert!(catalog.adopted.is_empty() && catalog.not_adopted.is_empty() && catalog.orphans.len() == 1);
        }
        assert!(claimed("main/b/{database}-%F.dump", Tz::UTC, "main/b/a-2026-06-07.dump").is_ok());
    }

    #[test]
    fn adopts_by_database_and_reports_the_rest() {
        let mut catalog = catalog(&[
            "app-2026-06-07_091500.dump",
            "app-2026-06-06_091500.dump",
            "app-prod-2026-06-07_091500.dump",
            "app-2026-02-30_091500.dump",
            "notes.txt",
        ]);
        catalog.adopt([adopt("old", PATTERN, Tz::UTC)].iter());
        let series: Vec<_> = catalog.adopted.keys().map(|series| series.subject.segment()).collect();
        assert_eq!(series, ["app", "app-prod"]);
        let app: Vec<_> = catalog.adopted.values().next().unwrap().iter().map(|file| file.name.as_str()).collect();
        assert_eq!(app, ["app-2026-06-06_091500.dump", "app-2026-06-07_091500.dump"], "oldest first");
        let left: Vec<_> = catalog.not_adopted.iter().map(|(key, why)| (key.as_str(), why.clone())).collect();
        assert_eq!(left, [("app-2026-02-30_091500.dump", Refusal::InvalidDate), ("notes.txt", Refusal::NoMatch)]);
        assert_eq!(catalog.orphans.len(), 2);
    }

    #[test]
    fn ambiguous_files_are_not_adopted() {
        let mut catalog = catalog(&["app-2026-06-07.dump", "x-app-2026-06-07.dump"]);
        let rules = [adopt("all", "{database}-%F.dump", Tz::UTC), adopt("x", "x-{database}-%F.dump", Tz::UTC)];
        catalog.adopt(rules.iter());
        assert_eq!(catalog.adopted.len(), 1);
        let both = Refusal::Ambiguous(vec!["all".to_owned(), "x".to_owned()]);
        assert_eq!(catalog.not_adopted, [(key("x-app-2026-06-07.dump"), both)]);
    }

    #[test]
    fn an_empty_file_is_not_good() {
        let adopt = adopt("old", PATTERN, Tz::UTC);
        let file = |bytes| adopt.try_adopt(&Entry::new(key("a-2026-06-07_091500.dump"), bytes)).unwrap().candidate();
        assert_eq!((file(0).good, file(1).good, file(1).verified), (false, true, false));
    }
}
