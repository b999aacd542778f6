//! The patterns of file names, made of a database's name and a time.

use chrono::{FixedOffset, NaiveDateTime, TimeDelta};
use longshore_model::key::Key;

use super::Refusal;
use super::field::{Field, FieldSet, KNOWN, Values};

/// The placeholder of the database's name in a pattern.
const DATABASE: &str = "{database}";
/// The placeholder of a random identifier.
const UUID: &str = "{uuid}";

/// A pattern of keys, made of a database's name and a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
    fields: FieldSet,
}

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Literal(char),
    Database,
    Uuid,
    Field(Field),
}

/// The database and the time in a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedName {
    /// The database's name, as in the key; `None` if the pattern does not contain it.
    pub database: Option<String>,
    /// The local time in the key; midnight if the pattern has no time of day, and the first day of
    /// a week or a month if it has no day.
    pub time: NaiveDateTime,
    /// The offset of the local time from UTC, if the key states it.
    pub offset: Option<FixedOffset>,
}

impl Pattern {
    /// Parses a pattern.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = |why: &str| format!("the pattern {text:?} {why}");
        let parts = parts(text).map_err(|why| invalid(&why))?;
        let fields = parts.iter().filter_map(|part| match part {
            Part::Field(field) => Some(*field),
            _ => None,
        });
        let fields = FieldSet::new(fields).map_err(invalid)?;
        let pattern = Self { text: text.to_owned(), parts, fields };
        Key::parse(&pattern.example()).map_err(|_| {
            invalid("produces names that a destination rejects: use A-Z a-z 0-9 . _ % - : + @ , = and slashes")
        })?;
        Ok(pattern)
    }

    /// Returns the pattern's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns true if the pattern contains the database's name.
    pub fn names_database(&self) -> bool {
        self.parts.contains(&Part::Database)
    }

    /// Returns the length of the period that a name states, unless it states a time of day: a day,
    /// a week, or at most a month.
    pub fn period(&self) -> Option<TimeDelta> {
        self.fields.period()
    }

    /// Returns true if the pattern contains a time of day.
    pub(super) fn has_time_of_day(&self) -> bool {
        self.fields.has_time_of_day()
    }

    /// Parses a key. At the same place in a text, every part has at most one length, except for the
    /// name of the database, which ends where the rest of the text matches the rest of the pattern.
    pub fn read(&self, key: &Key) -> Result<ParsedName, Refusal> {
        let found = read(&self.parts, key.as_str(), None, Values::default()).ok_or(Refusal::NoMatch)?;
        let (time, offset) = found.values.time().ok_or(Refusal::InvalidDate)?;
        Ok(ParsedName { database: found.database.map(str::to_owned), time, offset })
    }

    /// Returns a key that matches the pattern.
    fn example(&self) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Literal(letter) => letter.to_string(),
            Part::Database => "d".to_owned(),
            Part::Uuid => "0".to_owned(),
            Part::Field(field) => field.example().to_owned(),
        });
        parts.collect()
    }
}

/// The parts found in a key.
struct Found<'a> {
    database: Option<&'a str>,
    values: Values,
}

/// Reads the parts in a whole text, given the name of the database if an earlier part contains it.
fn read<'a>(parts: &[Part], mut text: &'a str, database: Option<&'a str>, mut values: Values) -> Option<Found<'a>> {
    for (index, part) in parts.iter().enumerate() {
        let length = match part {
            Part::Literal(letter) => text.starts_with(*letter).then_some(letter.len_utf8()),
            Part::Uuid => is_uuid(text.get(..UUID_BYTES)?).then_some(UUID_BYTES),
            Part::Field(field) => field.read(text).map(|(value, length)| {
                values.add(*field, value);
                length
            }),
            Part::Database => match database {
                Some(name) => text.starts_with(name).then_some(name.len()),
                None => {
                    let end = text.find('/').unwrap_or(text.len());
                    // The text after the name decides where the name ends.
                    return (1..=end).find_map(|end| {
                        let (name, after) = text.split_at_checked(end)?;
                        read(&parts[index + 1..], after, Some(name), values.clone())
                    });
                }
            },
        }?;
        text = &text[length..];
    }
    text.is_empty().then_some(Found { database, values })
}

/// The length of a UUID in bytes.
const UUID_BYTES: usize = 36;

/// Returns true for a UUID in lower case.
fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(index, byte)| match index {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    })
}

/// Parses the text of a pattern.
fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix(DATABASE) {
            parts.push(Part::Database);
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix(UUID) {
            parts.push(Part::Uuid);
            rest = after;
            continue;
        }
        let after = &rest[letter.len_utf8()..];
        rest = after;
        match letter {
            '%' => {
                let (field, length) = field(after)?;
                parts.extend(field);
                rest = &after[length..];
            }
            '{' | '}' => return Err("contains a brace outside {database} and {uuid}".to_owned()),
            letter if !letter.is_ascii() => return Err("contains characters that are not allowed in keys".to_owned()),
            letter => parts.push(Part::Literal(letter)),
        }
    }
    Ok(parts)
}

/// Parses the text after a percent sign. Returns the parts, and the length of their text.
fn field(text: &str) -> Result<(Vec<Part>, usize), String> {
    if text.starts_with(":z") {
        return Ok((vec![Part::Field(Field::OffsetWithColon)], 2));
    }
    let letter = text.chars().next();
    let parts = match letter {
        Some('F') => parts("%Y-%m-%d")?,
        Some('T') => parts("%H:%M:%S")?,
        Some('%') => vec![Part::Literal('%')],
        other => {
            let field = other.and_then(Field::from_letter).ok_or_else(|| {
                let other = other.map(String::from).unwrap_or_default();
                format!("contains the unknown field %{other}; use {KNOWN}")
            })?;
            vec![Part::Field(field)]
        }
    };
    Ok((parts, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERN: &str = "{database}-%Y-%m-%d_%H%M%S.dump";

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    /// Parses a key, and returns the database and the time.
    fn read(pattern: &str, text: &str) -> Result<(String, String), Refusal> {
        let parsed_name = Pattern::parse(pattern).unwrap().read(&key(text))?;
        Ok((parsed_name.database.unwrap_or_default(), parsed_name.time.to_string()))
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
    fn each_name_parses_as_it_was_written() {
        let names = ["a", "a-b", "a-2026-06-07_091500", "1", "a-1", "Z", "a_Z", "a+02:00", "Sunday", "a b"];
        let time = chrono::DateTime::parse_from_rfc3339("2026-06-07T09:15:00+02:00").unwrap();
        for text in [
            PATTERN,
            "{database}%Y%m%d",
            "x%Y%m%d{database}",
            "x{database}-%F",
            "{database}/%F.dump",
            "{database}_%FT%T%:z.dump",
            "{database}_%FT%T%z",
            "daily/{database}/{database}_%F.%A.sql",
            "monthly/{database}/{database}_%F.%B.{database}.sql",
            "{database}%a%b%d%Y",
            "{database}_week.%V.%F.sql",
            "{database}-%Y%j-%I%M%p",
        ] {
            let pattern = Pattern::parse(text).unwrap();
            for database in names {
                // chrono has the same fields.
                let name = time.format(text).to_string().replace(DATABASE, database);
                let found = pattern.read(&key(&name)).unwrap_or_else(|why| panic!("{text}: {name}: {why}"));
                assert_eq!(found.database.as_deref(), Some(database), "{text}");
                assert_eq!(found.time.date(), time.date_naive(), "{text}");
                assert!(found.offset.is_none_or(|offset| offset == *time.offset()), "{text}");
            }
        }
    }

    #[test]
    fn offsets_make_a_time_exact() {
        let pattern = Pattern::parse("{database}_%FT%T%:z.dump").unwrap();
        let utc = |name: &str| {
            let found = pattern.read(&key(name)).unwrap();
            found.time.and_local_timezone(found.offset.unwrap()).unwrap().to_utc().to_rfc3339()
        };
        assert_eq!(utc("a_2026-06-07T03:00:01+02:00.dump"), "2026-06-07T01:00:01+00:00");
        assert_eq!(utc("a_2026-06-07T03:00:01-09:30.dump"), "2026-06-07T12:30:01+00:00");
        assert_eq!(utc("a_2026-06-07T03:00:01Z.dump"), "2026-06-07T03:00:01+00:00");
        for bad in ["+2:00", "+0200", "+24:00", "+02:60", "", "z", "+02:00Z"] {
            assert_eq!(pattern.read(&key(&format!("a_2026-06-07T03:00:01{bad}.dump"))), Err(Refusal::NoMatch), "{bad}");
        }
        let unix = Pattern::parse("{database}.%s").unwrap().read(&key("a.1780815601")).unwrap();
        assert_eq!(
            (unix.time.to_string().as_str(), unix.offset.unwrap().to_string().as_str()),
            ("2026-06-07 07:00:01", "+00:00")
        );
    }

    #[test]
    fn weeks_and_months_begin_with_their_first_day() {
        assert_eq!(read("{database}-%G%V.sql.gz", "a-202653.sql.gz"), parsed("a", "2026-12-28 00:00:00"));
        assert_eq!(read("{database}-%Y%m.sql.gz", "a-202606.sql.gz"), parsed("a", "2026-06-01 00:00:00"));
        assert_eq!(read("{database}-%y%m%d", "a-260607"), parsed("a", "2026-06-07 00:00:00"));
        assert_eq!(read("{database}-%Y-%j", "a-2028-366"), parsed("a", "2028-12-31 00:00:00"));
        assert_eq!(read("{database}-%F_%I%M%p", "a-2026-06-07_1215AM"), parsed("a", "2026-06-07 00:15:00"));
        assert_eq!(read("{database}-%F_%I%M%p", "a-2026-06-07_1215PM"), parsed("a", "2026-06-07 12:15:00"));
        for (pattern, name) in [
            ("{database}-%G%V", "a-202553"),
            ("{database}-%Y%m", "a-202613"),
            ("{database}-%Y-%j", "a-2026-366"),
            ("{database}-%F.%A", "a-2026-06-07.Monday"),
            ("{database}-%F_%I%M%p", "a-2026-06-07_1300PM"),
        ] {
            assert_eq!(read(pattern, name), Err(Refusal::InvalidDate), "{name}");
        }
    }

    #[test]
    fn patterns_may_lack_the_database() {
        let pattern = Pattern::parse("%Y/%m/%d/dump-%Y%m%d-%H%M%S-{uuid}.zip").unwrap();
        assert!(!pattern.names_database());
        let name = "2026/06/07/dump-20260607-030001-0f343b09-3112-4a20-8f6e-5a1b2c3d4e5f.zip";
        assert_eq!(pattern.read(&key(name)).unwrap().database, None);
        for bad in [name.replace("0f34", "0F34"), name.replace("-4a20", "04a20"), name.replace("/07/", "/08/")] {
            assert!(pattern.read(&key(&bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn rejects_ambiguous_patterns() {
        for (pattern, why) in [
            ("{database}.dump", "a year, a month and a day"),
            ("{database}-%Y-%m_%H%M", "a year, a month and a day"),
            ("{database}-%G-%V_%H%M", "a year, a month and a day"),
            ("{database}-%m-%d", "a year, a month and a day"),
            ("{database}-%F_%M", "incomplete time of day"),
            ("{database}-%F_%H%S", "incomplete time of day"),
            ("{database}-%F-%p", "%I requires %p, and %p requires %I"),
            ("{database}-%F-%I%M", "%I requires %p, and %p requires %I"),
            ("{database}-%F-%H%I%p", "both %H and %I"),
            ("{database}-%F%:z", "%z and %:z require %H"),
            ("{database}-%F-%s", "%s, which is a whole time"),
            ("{database}-%F-%Q", "unknown field %Q"),
            ("{database}-%F-%", "unknown field %"),
            ("{db}-{database}-%F", "brace"),
            (" {database} %F", "destination"),
            ("{database};%F", "destination"),
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
