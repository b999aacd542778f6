//! The patterns of file names, made of a database's name and a time.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use longshore_model::key::Key;

use super::Refusal;

/// The placeholder of the database's name in a pattern.
const DATABASE: &str = "{database}";

/// The names of the months, as written by `%b`.
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A pattern of keys, made of a database's name and a time.
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

/// The database and the time in a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedName {
    /// The database's name, as in the key.
    pub database: String,
    /// The local time in the key; midnight if the pattern has no time of day.
    pub time: NaiveDateTime,
}

impl Pattern {
    /// Parses a pattern.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = |why: &str| format!("the pattern {text:?} {why}");
        let [before, after] = <[&str; 2]>::try_from(text.split(DATABASE).collect::<Vec<_>>())
            .map_err(|_| invalid("must contain {database} once"))?;
        let pattern = Self {
            text: text.to_owned(),
            before: parts(before).map_err(|why| invalid(&why))?,
            after: parts(after).map_err(|why| invalid(&why))?,
        };
        let has = |field: Field| pattern.parts().any(|part| *part == Part::Field(field));
        if !(has(Field::Year) && (has(Field::Month) || has(Field::MonthName)) && has(Field::Day)) {
            return Err(invalid("must contain a year, a month and a day: %Y, %m (or %b) and %d"));
        }
        if has(Field::Minute) && !has(Field::Hour) || has(Field::Second) && !has(Field::Minute) {
            return Err(invalid("has an incomplete time of day: %S requires %M, and %M requires %H"));
        }
        let example = ParsedName { database: "d".to_owned(), time: NaiveDateTime::default() };
        Key::parse(&pattern.write(&example))
            .map_err(|_| invalid("produces names that a destination rejects: use A-Z a-z 0-9 . _ % - and slashes"))?;
        Ok(pattern)
    }

    /// Returns the pattern's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.before.iter().chain(&self.after)
    }

    /// Returns true if the pattern contains a time of day.
    pub(super) fn has_time_of_day(&self) -> bool {
        self.parts().any(|part| *part == Part::Field(Field::Hour))
    }

    /// Parses a key, and checks that formatting the parsed parts gives the same key.
    pub fn read(&self, key: &Key) -> Result<ParsedName, Refusal> {
        let text = key.as_str();
        let (before, after) = (width(&self.before), width(&self.after));
        let end = text.len().checked_sub(after).filter(|end| *end > before).ok_or(Refusal::NoMatch)?;
        let database = &text[before..end];
        if database.contains('/') {
            return Err(Refusal::NoMatch);
        }
        let mut fields = ParsedFields::default();
        fields.read(&self.before, &text[..before])?;
        fields.read(&self.after, &text[end..])?;
        let parsed_name =
            ParsedName { database: database.to_owned(), time: fields.time().ok_or(Refusal::InvalidDate)? };
        // A repeated field may differ.
        if self.write(&parsed_name) == text { Ok(parsed_name) } else { Err(Refusal::InvalidDate) }
    }

    /// Returns the key for a database and a time.
    fn write(&self, parsed_name: &ParsedName) -> String {
        let write = |parts: &[Part]| -> String { parts.iter().map(|part| part.write(parsed_name.time)).collect() };
        write(&self.before) + &parsed_name.database + &write(&self.after)
    }
}

/// Parses the part of a pattern before or after the database's name.
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
                    return Err(format!("contains the unknown field %{other}; use %Y %m %b %d %F %H %M %S %%"));
                }
            },
            '{' | '}' => return Err("contains a brace outside {database}".to_owned()),
            letter if !letter.is_ascii() => return Err("contains characters that are not allowed in keys".to_owned()),
            letter => vec![Part::Literal(letter)],
        };
        parts.extend(fields);
    }
    Ok(parts)
}

/// Returns the number of bytes of the parts, which does not depend on the time.
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

/// The fields found in a key; the last one of each kind.
#[derive(Default)]
struct ParsedFields {
    date: [u32; 3],
    time_of_day: [u32; 3],
}

impl ParsedFields {
    /// Parses the parts in a text of their width.
    fn read(&mut self, parts: &[Part], mut text: &str) -> Result<(), Refusal> {
        for part in parts {
            // Keys are ASCII, so every offset is a character boundary.
            let (here, rest) = text.split_at(part.width());
            text = rest;
            let field = match part {
                Part::Literal(letter) if here.starts_with(*letter) => continue,
                Part::Literal(_) => return Err(Refusal::NoMatch),
                Part::Field(field) => field,
            };
            let number = match field {
                Field::MonthName => MONTHS.iter().position(|month| *month == here).map(|index| index as u32 + 1),
                _ if here.bytes().all(|byte| byte.is_ascii_digit()) => here.parse().ok(),
                _ => None,
            };
            let number = number.ok_or(Refusal::NoMatch)?;
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

    /// Returns the time, if it is valid. A year before 1970 is not a date of a dump.
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

    const PATTERN: &str = "{database}-%Y-%m-%d_%H%M%S.dump";

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    /// Parses a key, and returns the database and the time.
    fn read(pattern: &str, text: &str) -> Result<(String, String), Refusal> {
        let parsed_name = Pattern::parse(pattern).unwrap().read(&key(text))?;
        Ok((parsed_name.database, parsed_name.time.to_string()))
    }

    fn parsed(database: &str, time: &str) -> Result<(String, String), Refusal> {
        Ok((database.to_owned(), time.to_owned()))
    }

    #[test]
    fn parses_database_and_time() {
        let june = "2026-06-07 09:15:00";
        assert_eq!(read(PATTERN, "appdb-2026-06-07_091500.dump"), parsed("appdb", june));
        assert_eq!(
            read("{database}-%d-%m-%Y.sql.gz", "appdb-07-06-2026.sql.gz"),
            parsed("appdb", "2026-06-07 00:00:00")
        );
        assert_eq!(read("%Y/%m/{database}_%F_%H%M.tar", "2026/06/appdb_2026-06-07_0915.tar"), parsed("appdb", june));
        assert_eq!(read("{database}.%d%b%Y", "appdb.07Jun2026"), parsed("appdb", "2026-06-07 00:00:00"));
        assert_eq!(read("%Y%m%d%H%M%S{database}", "20260607091500appdb"), parsed("appdb", june));
        assert_eq!(read("100%%-{database}-%F", "100%-appdb-2026-06-07"), parsed("appdb", "2026-06-07 00:00:00"));
    }

    #[test]
    fn parses_whole_database_names() {
        let time = "2026-06-07 09:15:00";
        for database in ["app", "app-prod", "a-b", "app-2026-06-07_091500", "2026", "my%20app", "a.b", "-x", "_", "A"] {
            let text = format!("old/{database}-2026-06-07_091500.dump");
            assert_eq!(read(&format!("old/{PATTERN}"), &text), parsed(database, time));
        }
    }

    #[test]
    fn rejects_names_of_another_form() {
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
            assert_eq!(read(PATTERN, text), Err(Refusal::NoMatch), "{text}");
        }
    }

    #[test]
    fn rejects_invalid_dates() {
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
            assert_eq!(read(PATTERN, text), Err(Refusal::InvalidDate), "{text}");
        }
        assert!(read(PATTERN, "a-2028-02-29_235959.dump").is_ok());
        // Swapped days and months are detected if the date is invalid.
        assert_eq!(read("{database}-%d-%m-%Y", "a-06-13-2026"), Err(Refusal::InvalidDate));
    }

    #[test]
    fn repeated_fields_must_agree() {
        let pattern = "%Y/{database}-%Y-%m-%d";
        assert!(read(pattern, "2026/a-2026-06-07").is_ok());
        assert_eq!(read(pattern, "2025/a-2026-06-07"), Err(Refusal::InvalidDate));
        assert_eq!(read("{database}-%b-%Y-%m-%d", "a-May-2026-06-07"), Err(Refusal::InvalidDate));
    }

    #[test]
    fn each_name_parses_in_one_way_only() {
        let names = ["a", "a-b", "a-2026-06-07_091500", "1", "a-1"];
        for pattern in [PATTERN, "{database}%Y%m%d", "%Y%m%d{database}", "x{database}-%F", "{database}/%F.dump"] {
            let pattern = Pattern::parse(pattern).unwrap();
            for database in names {
                let time = NaiveDate::from_ymd_opt(2026, 6, 7).unwrap().and_time(NaiveTime::MIN);
                let text = pattern.write(&ParsedName { database: database.to_owned(), time });
                let parsed_name = pattern.read(&key(&text)).unwrap();
                assert_eq!((parsed_name.database.as_str(), pattern.write(&parsed_name)), (database, text.clone()));
                // No other substring of the key as the database's name gives the same key.
                let ranges = (0..text.len()).flat_map(|from| (from + 1..=text.len()).map(move |to| (from, to)));
                let matches = ranges.filter(|(from, to)| {
                    let other = ParsedName { database: text[*from..*to].to_owned(), time };
                    pattern.write(&other) == text
                });
                assert_eq!(matches.map(|(from, to)| &text[from..to]).collect::<BTreeSet<_>>().len(), 1);
            }
        }
    }

    #[test]
    fn rejects_ambiguous_patterns() {
        for (pattern, why) in [
            ("%F.dump", "once"),
            ("{database}-{database}-%F", "once"),
            ("{database}.dump", "a year, a month and a day"),
            ("{database}-%Y-%m", "a year, a month and a day"),
            ("{database}-%F_%M", "incomplete time of day"),
            ("{database}-%F_%H%S", "incomplete time of day"),
            ("{database}-%F-%p", "%p"),
            ("{database}-%F-%", "unknown field %"),
            ("{db}-{database}-%F", "brace"),
            ("{database} %F", "destination"),
            ("/{database}-%F", "destination"),
            ("../{database}-%F", "destination"),
            (".old/{database}-%F", "destination"),
            ("é{database}-%F", "characters"),
        ] {
            let error = Pattern::parse(pattern).unwrap_err();
            assert!(error.contains(why), "{pattern}: {error}");
        }
    }
}
