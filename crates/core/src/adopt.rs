//! Dated files that another program left in a destination, taken for backups by their names alone.
//!
//! A pattern says how such a name is made, such as `{database}-%Y-%m-%d_%H%M%S.dump`. All that it holds but the database's name has one
//! width, so a key is read in one way or in none; and what was read must make the very key again. Whatever else lies there is told, and
//! left alone.

use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::catalog::{Catalog, Series};
use crate::key::{BackupName, Key};
use crate::retention::Candidate;
use crate::stage::Entry;
use crate::subject::Subject;

/// Where the name of a database stands in a pattern.
const DATABASE: &str = "{database}";

/// The months, as `%b` writes them.
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// How the keys of files are made of a database's name and a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    before: Vec<Part>,
    after: Vec<Part>,
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(char),
    Field(Field),
}

/// A part of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    MonthName,
    Day,
    Hour,
    Minute,
    Second,
}

/// What a key says by a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated {
    /// The database's name, as it stands in the key.
    pub database: String,
    /// The time, by the clock of whoever named the file. Midnight, where the pattern has no time of day.
    pub time: NaiveDateTime,
}

/// Why a file is left alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Its name is not made by the pattern.
    Unlike,
    /// Its name is, but for a date that there is not, or two that differ.
    NoDate,
    /// The clock of the time zone never showed that time: the zone is another, or the name is wrong.
    NeverShown,
    /// It bears the name of a file of a backup of ours.
    Ours,
    /// More than one pattern makes its name.
    ClaimedByAll(Vec<String>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlike => f.write_str("no pattern makes such a name"),
            Self::NoDate => f.write_str("there is no such date, or it has two"),
            Self::NeverShown => f.write_str("the clock of its time zone never showed that time"),
            Self::Ours => f.write_str("it is named as the files of Longshore's own backups are"),
            Self::ClaimedByAll(names) => {
                write!(f, "more than one pattern makes its name: those of {}", names.join(", "))
            }
        }
    }
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("the pattern {text:?} {why}");
        let [before, after] = <[&str; 2]>::try_from(text.split(DATABASE).collect::<Vec<_>>())
            .map_err(|_| wrong("must contain {database} once"))?;
        let pattern = Self {
            text: text.to_owned(),
            before: parts(before).map_err(|why| wrong(&why))?,
            after: parts(after).map_err(|why| wrong(&why))?,
        };
        let has = |field: Field| pattern.parts().any(|part| *part == Part::Field(field));
        if !(has(Field::Year) && (has(Field::Month) || has(Field::MonthName)) && has(Field::Day)) {
            return Err(wrong("must contain a year, a month and a day: %Y, %m (or %b) and %d"));
        }
        if has(Field::Minute) && !has(Field::Hour) || has(Field::Second) && !has(Field::Minute) {
            return Err(wrong("has a part of a time of day without the greater one: %H, %M, %S"));
        }
        let example = Dated { database: "d".to_owned(), time: NaiveDateTime::default() };
        Key::parse(&pattern.write(&example)).map_err(|_| {
            wrong("makes no names that a destination can have: A-Z a-z 0-9 . _ % - and slashes between")
        })?;
        Ok(pattern)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.before.iter().chain(&self.after)
    }

    /// What a key says, if what it says makes this key.
    pub fn read(&self, key: &Key) -> Result<Dated, Refusal> {
        let text = key.as_str();
        let (before, after) = (width(&self.before), width(&self.after));
        let end = text.len().checked_sub(after).filter(|end| *end > before).ok_or(Refusal::Unlike)?;
        let database = &text[before..end];
        if database.contains('/') {
            return Err(Refusal::Unlike);
        }
        let mut found = Found::default();
        found.read(&self.before, &text[..before])?;
        found.read(&self.after, &text[end..])?;
        let dated = Dated { database: database.to_owned(), time: found.time().ok_or(Refusal::NoDate)? };
        // A second field of one kind may say something else.
        if self.write(&dated) == text { Ok(dated) } else { Err(Refusal::NoDate) }
    }

    /// The key that is made of this.
    fn write(&self, dated: &Dated) -> String {
        let write = |parts: &[Part]| -> String { parts.iter().map(|part| part.write(dated.time)).collect() };
        write(&self.before) + &dated.database + &write(&self.after)
    }
}

/// The parts of what stands before or behind the database's name.
fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let fields = match letter {
            '%' => match letters.next() {
                Some('Y') => vec![Part::Field(Field::Year)],
                Some('m') => vec![Part::Field(Field::Month)],
                Some('b') => vec![Part::Field(Field::MonthName)],
                Some('d') => vec![Part::Field(Field::Day)],
                Some('H') => vec![Part::Field(Field::Hour)],
                Some('M') => vec![Part::Field(Field::Minute)],
                Some('S') => vec![Part::Field(Field::Second)],
                Some('F') => self::parts("%Y-%m-%d")?,
                Some('%') => vec![Part::Literal('%')],
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!("has %{other}; what is known is %Y %m %b %d %F %H %M %S %%"));
                }
            },
            '{' | '}' => return Err("has a brace that is not of {database}".to_owned()),
            letter if !letter.is_ascii() => return Err("has letters that no key has".to_owned()),
            letter => vec![Part::Literal(letter)],
        };
        parts.extend(fields);
    }
    Ok(parts)
}

/// How many bytes parts take, whatever the time.
fn width(parts: &[Part]) -> usize {
    parts.iter().map(Part::width).sum()
}

impl Part {
    fn width(&self) -> usize {
        match self {
            Self::Literal(_) => 1,
            Self::Field(Field::Year) => 4,
            Self::Field(Field::MonthName) => 3,
            Self::Field(_) => 2,
        }
    }

    fn write(&self, time: NaiveDateTime) -> String {
        let format = match self {
            Self::Literal(letter) => return letter.to_string(),
            Self::Field(Field::Year) => "%Y",
            Self::Field(Field::Month) => "%m",
            Self::Field(Field::MonthName) => "%b",
            Self::Field(Field::Day) => "%d",
            Self::Field(Field::Hour) => "%H",
            Self::Field(Field::Minute) => "%M",
            Self::Field(Field::Second) => "%S",
        };
        time.format(format).to_string()
    }
}

/// What was found of a time; of several fields of one kind, the last.
#[derive(Default)]
struct Found {
    date: [u32; 3],
    time_of_day: [u32; 3],
}

impl Found {
    /// Reads parts from a text that has their width.
    fn read(&mut self, parts: &[Part], mut text: &str) -> Result<(), Refusal> {
        for part in parts {
            // Keys are ASCII: every place is between two letters.
            let (here, rest) = text.split_at(part.width());
            text = rest;
            let field = match part {
                Part::Literal(letter) if here.starts_with(*letter) => continue,
                Part::Literal(_) => return Err(Refusal::Unlike),
                Part::Field(field) => field,
            };
            let number = match field {
                Field::MonthName => MONTHS.iter().position(|month| *month == here).map(|place| place as u32 + 1),
                _ if here.bytes().all(|byte| byte.is_ascii_digit()) => here.parse().ok(),
                _ => None,
            };
            let number = number.ok_or(Refusal::Unlike)?;
            match field {
                Field::Year => self.date[0] = number,
                Field::Month | Field::MonthName => self.date[1] = number,
                Field::Day => self.date[2] = number,
                Field::Hour => self.time_of_day[0] = number,
                Field::Minute => self.time_of_day[1] = number,
                Field::Second => self.time_of_day[2] = number,
            }
        }
        Ok(())
    }

    /// The time, if there is such a one. Nothing was dumped before 1970: that is a number of another kind.
    fn time(&self) -> Option<NaiveDateTime> {
        let [year, month, day] = self.date;
        let [hour, minute, second] = self.time_of_day;
        let year = i32::try_from(year).ok().filter(|year| *year >= 1970)?;
        let date = NaiveDate::from_ymd_opt(year, month, day)?;
        Some(date.and_time(NaiveTime::from_hms_opt(hour, minute, second)?))
    }
}

/// Whose files are adopted, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopt {
    /// Its name, which stands for the job that made the files.
    pub name: String,
    /// The cluster that they are taken to be of.
    pub cluster: String,
    /// How they are named.
    pub pattern: Pattern,
    /// The time zone of the clock by which they are named.
    pub timezone: Tz,
}

/// A file that is taken for a backup. Nobody has verified it, and only its name tells what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// Its name: its whole key.
    pub name: BackupName,
    /// The series that it belongs to: all of a database that one pattern makes the names of.
    pub series: Series,
    /// When it was made, as its name says. Where a clock was put back and showed that time twice, the first.
    pub time: DateTime<Utc>,
    /// Its key.
    pub key: Key,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Adopt {
    /// Takes a file for a backup, if the pattern makes its name.
    pub fn claim(&self, entry: &Entry) -> Result<Adopted, Refusal> {
        let dated = self.pattern.read(&entry.key)?;
        if is_ours(&entry.key) {
            return Err(Refusal::Ours);
        }
        let time = self.moment(dated.time).ok_or(Refusal::NeverShown)?;
        let subject = Subject::database(dated.database);
        Ok(Adopted {
            name: BackupName::of_adopted(&entry.key),
            series: Series { cluster: self.cluster.clone(), subject, job: self.name.clone() },
            time,
            key: entry.key.clone(),
            bytes: entry.bytes,
        })
    }
}

impl Adopt {
    /// The first moment at which the clock of the time zone showed this; where the pattern has no time of day, the beginning of the day.
    fn moment(&self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        let has_time = self.pattern.parts().any(|part| *part == Part::Field(Field::Hour));
        // A day may begin at one o'clock, and clocks are put forward by quarters of an hour at the least.
        let quarters = if has_time { 0 } else { 95 };
        (0..=quarters).find_map(|quarter| {
            let shown = local + TimeDelta::minutes(15) * quarter;
            self.timezone.from_local_datetime(&shown).earliest().map(|time| time.to_utc())
        })
    }
}

/// Whether a key is named as those of our own backups are, or as such a backup itself is called.
fn is_ours(key: &Key) -> bool {
    let as_name = Key::parse(&format!("{key}.json"));
    BackupName::of_file(key).is_some()
        || BackupName::of_manifest(key).is_some()
        || as_name.is_ok_and(|key| BackupName::of_manifest(&key).is_some())
}

impl Adopted {
    /// Whether nothing speaks against it that a listing can tell: it is not empty.
    pub fn is_good(&self) -> bool {
        self.bytes > 0
    }

    /// What retention must know of it.
    pub fn candidate(&self) -> Candidate {
        Candidate {
            name: self.name.clone(),
            time: self.time,
            bytes: self.bytes,
            good: self.is_good(),
            verified: false,
            drilled: false,
            held: None,
            locked_until: None,
            restoring_until: None,
            needs: Vec::new(),
        }
    }
}

impl Catalog {
    /// Takes files that belong to no backup for backups, where just one pattern makes their names. Why the others are left alone is told,
    /// of all but those that are named as our own files are.
    pub fn adopt<'a>(&mut self, adopts: impl Iterator<Item = &'a Adopt> + Clone) {
        let mut orphans = Vec::new();
        for entry in std::mem::take(&mut self.orphans) {
            let mut claims: Vec<_> = adopts.clone().map(|adopt| (adopt, adopt.claim(&entry))).collect();
            let claimed_by: Vec<_> =
                claims.iter().filter(|(_, claim)| claim.is_ok()).map(|(adopt, _)| adopt.name.clone()).collect();
            let refusal = match &claimed_by[..] {
                [] if is_ours(&entry.key) => None,
                // Whatever speaks more to the point than that the name is another.
                [] => claims.into_iter().filter_map(|(_, claim)| claim.err()).max(),
                [_] => {
                    claims.retain(|(_, claim)| claim.is_ok());
                    for adopted in claims.into_iter().filter_map(|(_, claim)| claim.ok()) {
                        self.adopted.entry(adopted.series.clone()).or_default().push(adopted);
                    }
                    continue;
                }
                _ => Some(Refusal::ClaimedByAll(claimed_by)),
            };
            self.not_adopted.extend(refusal.map(|refusal| (entry.key.clone(), refusal)));
            orphans.push(entry);
        }
        self.orphans = orphans;
        for files in self.adopted.values_mut() {
            files.sort_by(|one, other| (one.time, &one.name).cmp(&(other.time, &other.name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: &str = "{database}-%Y-%m-%d_%H%M%S.dump";

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    /// What a key says by a pattern: the database and the time.
    fn read(pattern: &str, text: &str) -> Result<(String, String), Refusal> {
        let dated = Pattern::parse(pattern).unwrap().read(&key(text))?;
        Ok((dated.database, dated.time.to_string()))
    }

    fn said(database: &str, time: &str) -> Result<(String, String), Refusal> {
        Ok((database.to_owned(), time.to_owned()))
    }

    fn adopt(name: &str, pattern: &str, timezone: Tz) -> Adopt {
        let pattern = Pattern::parse(pattern).unwrap();
        Adopt { name: name.to_owned(), cluster: "main".to_owned(), pattern, timezone }
    }

    fn claimed(pattern: &str, timezone: Tz, text: &str) -> Result<String, Refusal> {
        let entry = Entry { key: key(text), bytes: 1 };
        adopt("old", pattern, timezone).claim(&entry).map(|adopted| adopted.time.to_rfc3339())
    }

    fn catalog(keys: &[&str]) -> Catalog {
        let orphans = keys.iter().map(|text| Entry { key: key(text), bytes: 1 }).collect();
        Catalog { orphans, ..Catalog::default() }
    }

    #[test]
    fn a_name_tells_a_database_and_a_time() {
        let june = "2026-06-07 09:15:00";
        assert_eq!(read(USUAL, "appdb-2026-06-07_091500.dump"), said("appdb", june));
        assert_eq!(read("{database}-%d-%m-%Y.sql.gz", "appdb-07-06-2026.sql.gz"), said("appdb", "2026-06-07 00:00:00"));
        assert_eq!(read("%Y/%m/{database}_%F_%H%M.tar", "2026/06/appdb_2026-06-07_0915.tar"), said("appdb", june));
        assert_eq!(read("{database}.%d%b%Y", "appdb.07Jun2026"), said("appdb", "2026-06-07 00:00:00"));
        assert_eq!(read("%Y%m%d%H%M%S{database}", "20260607091500appdb"), said("appdb", june));
        assert_eq!(read("100%%-{database}-%F", "100%-appdb-2026-06-07"), said("appdb", "2026-06-07 00:00:00"));
    }

    #[test]
    fn the_whole_of_a_databases_name_is_read_whatever_it_is_made_of() {
        let time = "2026-06-07 09:15:00";
        for database in ["app", "app-prod", "a-b", "app-2026-06-07_091500", "2026", "my%20app", "a.b", "-x", "_", "A"] {
            let text = format!("old/{database}-2026-06-07_091500.dump");
            assert_eq!(read(&format!("old/{USUAL}"), &text), said(database, time));
        }
    }

    #[test]
    fn a_name_that_the_pattern_does_not_make_is_not_read() {
        for text in [
            "appdb.dump",
            "-2026-06-07_091500.dump",
            "appdb-2026-06-07_091500.dump.gz",
            "appdb-2026-06-07_091500.dumpx",
            "appdb-2026-06-07-091500.dump",
            "appdb-2026-6-7_091500.dump",
            "appdb-2026-06-07_09150x.dump",
            "appdb-2026-06-07_-91500.dump",
            "appdb--026-06-07_091500.dump",
            "appdb-2026-06-07_091500.DUMP",
            "old/appdb-2026-06-07_091500.dump",
        ] {
            assert_eq!(read(USUAL, text), Err(Refusal::Unlike), "{text}");
        }
    }

    #[test]
    fn a_date_that_there_is_not_is_none() {
        for text in [
            "a-2026-02-30_000000.dump",
            "a-2027-02-29_000000.dump",
            "a-2026-13-01_000000.dump",
            "a-2026-00-01_000000.dump",
            "a-2026-06-00_000000.dump",
            "a-2026-06-07_240000.dump",
            "a-2026-06-07_006000.dump",
            "a-2026-06-30_235960.dump",
            "a-0000-01-01_000000.dump",
            "a-1234-56-78_000000.dump",
        ] {
            assert_eq!(read(USUAL, text), Err(Refusal::NoDate), "{text}");
        }
        assert!(read(USUAL, "a-2028-02-29_235959.dump").is_ok());
        // Days and months that were mixed up are seen where they can be.
        assert_eq!(read("{database}-%d-%m-%Y", "a-06-13-2026"), Err(Refusal::NoDate));
    }

    #[test]
    fn a_field_that_stands_twice_says_the_same_twice() {
        let pattern = "%Y/{database}-%Y-%m-%d";
        assert!(read(pattern, "2026/a-2026-06-07").is_ok());
        assert_eq!(read(pattern, "2025/a-2026-06-07"), Err(Refusal::NoDate));
        assert_eq!(read("{database}-%b-%Y-%m-%d", "a-May-2026-06-07"), Err(Refusal::NoDate));
    }

    #[test]
    fn what_was_read_makes_the_very_name_and_no_other_split_does() {
        let names = ["a", "a-b", "a-2026-06-07_091500", "1", "a-1"];
        for pattern in [USUAL, "{database}%Y%m%d", "%Y%m%d{database}", "x{database}-%F", "{database}/%F.dump"] {
            let pattern = Pattern::parse(pattern).unwrap();
            for database in names {
                let time = NaiveDate::from_ymd_opt(2026, 6, 7).unwrap().and_time(NaiveTime::MIN);
                let text = pattern.write(&Dated { database: database.to_owned(), time });
                let dated = pattern.read(&key(&text)).unwrap();
                assert_eq!((dated.database.as_str(), pattern.write(&dated)), (database, text.clone()));
                // Every other stretch of the key that could be the database's name makes another key.
                let stretches = (0..text.len()).flat_map(|from| (from + 1..=text.len()).map(move |to| (from, to)));
                let ways = stretches.filter(|(from, to)| {
                    let other = Dated { database: text[*from..*to].to_owned(), time };
                    pattern.write(&other) == text
                });
                assert_eq!(ways.map(|(from, to)| &text[from..to]).collect::<std::collections::BTreeSet<_>>().len(), 1);
            }
        }
    }

    #[test]
    fn a_pattern_that_cannot_tell_is_a_mistake() {
        for (pattern, why) in [
            ("%F.dump", "once"),
            ("{database}-{database}-%F", "once"),
            ("{database}.dump", "a year, a month and a day"),
            ("{database}-%Y-%m", "a year, a month and a day"),
            ("{database}-%F_%M", "a time of day"),
            ("{database}-%F_%H%S", "a time of day"),
            ("{database}-%F-%p", "%p"),
            ("{database}-%F-%", "has %"),
            ("{db}-{database}-%F", "brace"),
            ("{database} %F", "destination"),
            ("/{database}-%F", "destination"),
            ("../{database}-%F", "destination"),
            (".old/{database}-%F", "destination"),
            ("é{database}-%F", "letters"),
        ] {
            let error = Pattern::parse(pattern).unwrap_err();
            assert!(error.contains(why), "{pattern}: {error}");
        }
    }

    #[test]
    fn a_time_is_that_of_the_clock_that_named_the_file() {
        let (hours, days) = ("{database}-%Y-%m-%d_%H%M", "{database}-%F");
        let berlin = Tz::Europe__Berlin;
        assert_eq!(claimed(hours, Tz::UTC, "a-2026-06-07_0915").unwrap(), "2026-06-07T09:15:00+00:00");
        assert_eq!(claimed(hours, berlin, "a-2026-06-07_0915").unwrap(), "2026-06-07T07:15:00+00:00");
        assert_eq!(claimed(days, berlin, "a-2026-06-07").unwrap(), "2026-06-06T22:00:00+00:00");
        // 02:30 on 25 October 2026 is twice in Berlin, at 00:30 and at 01:30 UTC: the first counts.
        assert_eq!(claimed(hours, berlin, "a-2026-10-25_0230").unwrap(), "2026-10-25T00:30:00+00:00");
        // On 29 March it is never.
        assert_eq!(claimed(hours, berlin, "a-2026-03-29_0230"), Err(Refusal::NeverShown));
        assert_eq!(claimed(hours, Tz::UTC, "a-2026-03-29_0230").unwrap(), "2026-03-29T02:30:00+00:00");
        // A day without a midnight was a day: in Beirut, 26 March 2028 begins at one o'clock. Samoa had no 30 December 2011.
        assert_eq!(claimed(days, Tz::Asia__Beirut, "a-2028-03-26").unwrap(), "2028-03-25T22:00:00+00:00");
        assert_eq!(claimed(days, Tz::Pacific__Apia, "a-2011-12-30"), Err(Refusal::NeverShown));
    }

    #[test]
    fn our_own_files_are_never_adopted() {
        let ours = "main/a/a-2026-06-07_091500";
        for (pattern, text) in [
            ("main/a/{database}-%Y-%m-%d_%H%M%S.dump.zst.age", format!("{ours}.dump.zst.age")),
            ("main/a/{database}-%Y-%m-%d_%H%M%S.json", format!("{ours}.json")),
            ("main/a/{database}-%Y-%m-%d_%H%M%S", ours.to_owned()),
            ("main/a/{database}.hold.%Y-%m-%d_%H%M%S.json", format!("{ours}.hold.2026-07-01_120000.json")),
        ] {
            assert_eq!(claimed(pattern, Tz::UTC, &text), Err(Refusal::Ours), "{text}");
            let mut catalog = catalog(&[&text]);
            catalog.adopt([adopt("old", pattern, Tz::UTC)].iter());
            assert!(catalog.adopted.is_empty() && catalog.not_adopted.is_empty() && catalog.orphans.len() == 1);
        }
        assert!(claimed("main/b/{database}-%F.dump", Tz::UTC, "main/b/a-2026-06-07.dump").is_ok());
    }

    #[test]
    fn a_catalog_adopts_by_database_and_tells_what_it_leaves_alone() {
        let mut catalog = catalog(&[
            "app-2026-06-07_091500.dump",
            "app-2026-06-06_091500.dump",
            "app-prod-2026-06-07_091500.dump",
            "app-2026-02-30_091500.dump",
            "notes.txt",
        ]);
        catalog.adopt([adopt("old", USUAL, Tz::UTC)].iter());
        let series: Vec<_> = catalog.adopted.keys().map(|series| series.subject.segment()).collect();
        assert_eq!(series, ["app", "app-prod"]);
        let app: Vec<_> = catalog.adopted.values().next().unwrap().iter().map(|file| file.name.as_str()).collect();
        assert_eq!(app, ["app-2026-06-06_091500.dump", "app-2026-06-07_091500.dump"], "oldest first");
        let left: Vec<_> = catalog.not_adopted.iter().map(|(key, why)| (key.as_str(), why.clone())).collect();
        assert_eq!(left, [("app-2026-02-30_091500.dump", Refusal::NoDate), ("notes.txt", Refusal::Unlike)]);
        assert_eq!(catalog.orphans.len(), 2);
    }

    #[test]
    fn what_two_patterns_claim_is_left_alone() {
        let mut catalog = catalog(&["app-2026-06-07.dump", "x-app-2026-06-07.dump"]);
        let adopts = [adopt("all", "{database}-%F.dump", Tz::UTC), adopt("x", "x-{database}-%F.dump", Tz::UTC)];
        catalog.adopt(adopts.iter());
        assert_eq!(catalog.adopted.len(), 1);
        let both = Refusal::ClaimedByAll(vec!["all".to_owned(), "x".to_owned()]);
        assert_eq!(catalog.not_adopted, [(key("x-app-2026-06-07.dump"), both)]);
    }

    #[test]
    fn an_empty_file_is_not_good() {
        let adopt = adopt("old", USUAL, Tz::UTC);
        let file = |bytes| adopt.claim(&Entry { key: key("a-2026-06-07_091500.dump"), bytes }).unwrap().candidate();
        assert_eq!((file(0).good, file(1).good, file(1).verified), (false, true, false));
    }
}
