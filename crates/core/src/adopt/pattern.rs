//! How names are made of a database and a time, and what a name says by that.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use super::Refusal;
use crate::key::Key;

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

    /// Whether it tells a time of day.
    pub(super) fn has_time_of_day(&self) -> bool {
        self.parts().any(|part| *part == Part::Field(Field::Hour))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
                assert_eq!(ways.map(|(from, to)| &text[from..to]).collect::<BTreeSet<_>>().len(), 1);
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
}
