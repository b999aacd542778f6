//! Short names of backups: `main/shop 2026-06-07 09:15`, as tables show them, and as commands
//! accept them in place of the full name, `main/shop/shop-2026-06-07_091500`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use longshore_config::Config;
use longshore_core::error::printable;
use longshore_core::key::{BackupName, Key, Timestamp, encode_name};
use longshore_core::unit::format_age;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_engine::catalogs::read_available;
use percent_encoding::percent_decode_str;

use crate::output::{Cell, Column, Priority};
use crate::time_zone::TimeZone;

/// A backup as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShortName {
    /// The cluster and the subject: `main/shop`, `main/globals`.
    pub(crate) series: String,
    /// The time of the run, if known.
    pub(super) time: Option<DateTime<Utc>>,
}

impl ShortName {
    /// Creates the short name of a backup of this program.
    pub(crate) fn of(name: &BackupName) -> Self {
        match (name.folder().split_once('/'), name.time()) {
            (Some((cluster, segment)), Some(time)) => {
                Self { series: series_name(&decoded(cluster), segment), time: Some(time.time()) }
            }
            _ => Self { series: name.to_string(), time: None },
        }
    }

    /// Parses the name of a backup, or the key of its manifest. Any other text is kept as it is.
    pub(super) fn parse(text: &str) -> Self {
        let key = if text.ends_with(".json") { text.to_owned() } else { format!("{text}.json") };
        let name = Key::parse(&key).ok().and_then(|key| BackupName::from_manifest_key(&key));
        name.map_or_else(|| Self { series: text.to_owned(), time: None }, |name| Self::of(&name))
    }
}

/// Returns the name of a series, given the segment of its subject: `main/my db` for `my%20db`.
pub(super) fn series_name(cluster: &str, segment: &str) -> String {
    format!("{cluster}/{}", decoded(segment))
}

/// Decodes a segment of a key, unless the decoded name means another subject: a database named
/// `globals` keeps its segment, `%67lobals`.
fn decoded(segment: &str) -> String {
    match percent_decode_str(segment).decode_utf8() {
        Ok(name) if encode_name(&name) == segment => name.into_owned(),
        _ => segment.to_owned(),
    }
}

/// Returns an age in words: `2 h ago`.
pub(super) fn age_ago(age: TimeDelta) -> String {
    if age < TimeDelta::zero() { format_age(age) } else { format!("{} ago", format_age(age)) }
}

/// The format of the times in a table: to the minute, or to the second if two backups of a series
/// were made in one minute.
pub(super) struct Times {
    zone: TimeZone,
    has_seconds: bool,
}

impl Times {
    /// Returns the format for the times of these backups.
    pub(super) fn of<'a>(zone: TimeZone, names: impl IntoIterator<Item = &'a ShortName>) -> Self {
        let mut first: BTreeMap<(&str, String), DateTime<Utc>> = BTreeMap::new();
        let has_seconds = names.into_iter().any(|name| {
            let is_first = |time| *first.entry((name.series.as_str(), zone.minute(time))).or_insert(time) == time;
            !name.time.is_none_or(is_first)
        });
        Self { zone, has_seconds }
    }

    /// Returns the column of times.
    pub(super) fn column(&self) -> Column {
        Column::fixed(format!("TIME ({})", self.zone.name())).unless_blank()
    }

    /// Returns the cell of a backup.
    pub(super) fn cell(&self, name: &ShortName) -> Cell {
        name.time.map_or_else(|| "-".into(), |time| self.format(time).into())
    }

    /// Returns the short name of a backup as printable text.
    pub(super) fn text(&self, name: &ShortName) -> String {
        let time = name.time.map_or_else(String::new, |time| format!(" {}", self.format(time)));
        format!("{}{time}", printable(&name.series))
    }

    fn format(&self, time: DateTime<Utc>) -> String {
        if self.has_seconds { self.zone.second(time) } else { self.zone.minute(time) }
    }
}

/// Returns the column of clusters and subjects.
pub(super) fn backup_column() -> Column {
    Column::text("BACKUP").min(24)
}

/// Returns the column of full names, for wide terminals and pipes.
pub(super) fn name_column() -> Column {
    Column::fixed("NAME").priority(Priority::Lowest)
}

/// Returns the full name of the backup with this short name. Any other words are kept as they are,
/// also those of an unknown backup, which the caller reports.
///
/// # Errors
///
/// Fails if several backups have the short name, or if no destination can be read.
pub(super) async fn full_name(config: &Config, words: &str, destination: Option<&str>) -> Result<String> {
    let Some((series, time)) = split(words) else { return Ok(words.to_owned()) };
    let zone = TimeZone::of(false);
    let (catalogs, _) = read_available(config, destination).await?;
    let mut found = BTreeSet::new();
    for at in &catalogs {
        let unreadable = at.catalog.unreadable.iter().filter_map(|(key, _)| BackupName::from_manifest_key(key));
        found.extend(unreadable.filter(|name| is_named(name, segment(name), series, &time, zone)));
        // The name that 0.1.0 gave a backup may differ from that of its series.
        let backups = at.catalog.backups().filter(|backup| {
            is_named(&backup.name, segment(&backup.name), series, &time, zone)
                || is_named(&backup.name, &backup.manifest.subject.segment(), series, &time, zone)
        });
        found.extend(backups.map(|backup| backup.name.clone()));
    }
    match found.first() {
        None => Ok(words.to_owned()),
        Some(name) if found.len() == 1 => Ok(name.to_string()),
        Some(_) => {
            let names: Vec<_> = found.iter().map(BackupName::as_str).collect();
            let message = "matches more than one backup";
            Err(Error::new(Stage::Config, Kind::Usage, words, message)
                .hint(format!("pass the full name: {}", names.join(", "))))
        }
    }
}

/// Splits a short name into the series and the time.
fn split(words: &str) -> Option<(&str, String)> {
    let (rest, clock) = words.trim().rsplit_once(' ')?;
    let (series, day) = rest.rsplit_once(' ')?;
    let text = format!("{day} {clock}");
    ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"].iter().find_map(|format| {
        let time = NaiveDateTime::parse_from_str(&text, format).ok()?;
        Some((series, time.format(format).to_string()))
    })
}

/// Returns the segment of the subject in a backup's name.
fn segment(name: &BackupName) -> &str {
    name.folder().rsplit('/').next().unwrap_or_default()
}

/// Returns true if a backup of the subject with this segment has this series, with or without the
/// cluster, and this time.
fn is_named(name: &BackupName, segment: &str, series: &str, time: &str, zone: TimeZone) -> bool {
    let cluster = name.folder().split('/').next().unwrap_or_default();
    let (short, full) = (series_name(&decoded(cluster), segment), format!("{cluster}/{segment}"));
    let is_of_series = [short.as_str(), full.as_str(), segment, decoded(segment).as_str()].contains(&series);
    let at = name.time().map(Timestamp::time);
    is_of_series && at.is_some_and(|at| [zone.minute(at), zone.second(at)].iter().any(|at| at == time))
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    fn name(segment: &str, timestamp: &str) -> BackupName {
        BackupName::new("main", segment, Timestamp::parse(timestamp).unwrap()).unwrap()
    }

    #[test]
    fn short_name_has_database_and_time() {
        let time = |text| Some(Timestamp::parse(text).unwrap().time());
        for (segment, series) in [
            ("shop", "main/shop"),
            ("globals", "main/globals"),
            ("my%20db", "main/my db"),
            ("%67lobals", "main/%67lobals"),
            ("%E6%97%A5", "main/日"),
        ] {
            let short_name = ShortName::of(&name(segment, "2026-06-07_091500"));
            assert_eq!(short_name, ShortName { series: series.to_owned(), time: time("2026-06-07_091500") });
        }
    }

    #[test]
    fn key_of_a_manifest_has_a_short_name() {
        let full = name("shop", "2026-06-07_091500");
        for text in [full.as_str(), full.manifest().as_str()] {
            assert_eq!(ShortName::parse(text), ShortName::of(&full));
        }
        for other in ["", "old/app.dump", "longshore-old.partial"] {
            assert_eq!(ShortName::parse(other), ShortName { series: other.to_owned(), time: None });
        }
    }

    #[test]
    fn times_have_seconds_if_two_backups_share_a_minute() {
        let utc = TimeZone::Named(Tz::UTC);
        let one = ShortName::of(&name("shop", "2026-06-07_091500"));
        let other = ShortName::of(&name("shop", "2026-06-07_091501"));
        let globals = ShortName::of(&name("globals", "2026-06-07_091501"));
        assert_eq!(Times::of(utc, [&one, &one, &globals]).cell(&one), Cell::from("2026-06-07 09:15"));
        assert_eq!(Times::of(utc, [&one, &other]).cell(&one), Cell::from("2026-06-07 09:15:00"));
        assert_eq!(Times::of(utc, []).cell(&ShortName::parse("x")), Cell::from("-"));
    }

    #[test]
    fn short_name_matches_the_displayed_time() {
        let berlin = TimeZone::Named(Tz::Europe__Berlin);
        let full = name("my%20db", "2026-06-07_091501");
        for words in ["main/my db 2026-06-07 11:15", "my db 2026-06-07 11:15:01", "main/my%20db 2026-06-07 11:15"] {
            let (series, time) = split(words).unwrap();
            assert!(is_named(&full, segment(&full), series, &time, berlin), "{words}");
        }
        for words in ["main/my db 2026-06-07 09:15", "db 2026-06-07 11:15", "my db 2026-06-07 11:15:02"] {
            let (series, time) = split(words).unwrap();
            assert!(!is_named(&full, segment(&full), series, &time, berlin), "{words}");
        }
        for words in ["shop", "main/shop/shop-2026-06-07_091500", "shop 2026-06-07", "2026-06-07 09:15", "a b c"] {
            assert_eq!(split(words), None, "{words}");
        }
    }

    #[test]
    fn listed_name_finds_a_backup_of_0_1_0() {
        let utc = TimeZone::Named(Tz::UTC);
        let old = name("base", "2026-06-07_091501");
        for (words, expected) in [
            ("main/%62ase 2026-06-07 09:15", true),
            ("%62ase 2026-06-07 09:15:01", true),
            ("main/base 2026-06-07 09:15", false),
            ("main/%62ase 2026-06-07 09:16", false),
        ] {
            let (series, time) = split(words).unwrap();
            // The segment of database "base", as in a list.
            assert_eq!(is_named(&old, "%62ase", series, &time, utc), expected, "{words}");
        }
        assert!(is_named(&old, segment(&old), "main/base", "2026-06-07 09:15", utc), "the name of 0.1.0");
    }

    #[test]
    fn future_backup_is_not_ago() {
        assert_eq!(age_ago(TimeDelta::hours(2)), "2 h ago");
        assert_eq!(age_ago(TimeDelta::hours(-2)), "in future");
    }
}
