//! Sizes and durations in the configuration: a whole number and a unit.

use std::fmt;
use std::time::Duration;

use chrono::TimeDelta;
use serde::Deserialize;

/// A number of bytes, such as `"256MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = r"^[0-9]+\s*(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)?$"))]
pub struct ByteSize(u64);

impl ByteSize {
    /// Creates a size in bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns the number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// The units of a [`ByteSize`], each in bytes.
const SIZES: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_number(&text, &SIZES).map(Self).ok_or_else(|| {
            format!("\"{text}\" is not a size: use a whole number and a unit, such as \"256MiB\" or \"1GB\"")
        })
    }
}

/// A duration, such as `"90s"` or `"30d"`; a day has 24 hours, a year 365 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = r"^[0-9]+\s*[smhdwy]$"))]
pub struct TimeSpan(Duration);

impl TimeSpan {
    /// Creates a span.
    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }

    /// Returns the duration.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

/// The units of a [`TimeSpan`], each in seconds.
const SPANS: [(&str, u64); 6] =
    [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 7 * 86_400), ("y", 365 * 86_400)];

impl TryFrom<String> for TimeSpan {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_number(&text, &SPANS).map(Duration::from_secs).map(Self).ok_or_else(|| {
            format!("\"{text}\" is not a length of time: use a whole number and s, m, h, d, w or y, such as \"90s\" or \"30d\"")
        })
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let fits = |(_, scale): &&(&str, u64)| seconds >= *scale && seconds.is_multiple_of(*scale);
        let (unit, scale) = SPANS.iter().rev().find(fits).unwrap_or(&SPANS[0]);
        write!(f, "{}{unit}", seconds / scale)
    }
}

/// Returns an age in the largest unit that gives at least 2.
pub fn format_age(age: TimeDelta) -> String {
    match (age.num_days(), age.num_hours(), age.num_minutes(), age.num_seconds()) {
        (_, _, _, ..0) => "in future".to_owned(),
        (2.., ..) => format!("{} d", age.num_days()),
        (_, 2.., ..) => format!("{} h", age.num_hours()),
        (_, _, 2.., _) => format!("{} min", age.num_minutes()),
        (_, _, _, seconds) => format!("{seconds} s"),
    }
}

/// Parses a whole number with one of these units. Returns `None` on overflow.
fn parse_number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    scale.checked_mul(number.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_requires_a_whole_number() {
        for (text, bytes) in [("0", 0), ("17", 17), ("1kB", 1000), ("256MiB", 256 << 20), ("2 TiB", 2 << 40)] {
            assert_eq!(ByteSize::try_from(text.to_owned()).unwrap().bytes(), bytes, "{text}");
        }
        for bad in ["", "MiB", "-1", "1.5GiB", "1 mib", "1PiB", "99999999999TiB", "0x10", "1 MiB "] {
            assert!(ByteSize::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn span_prints_in_its_largest_exact_unit() {
        for (text, seconds, expected) in [
            ("90s", 90, "90s"),
            ("120s", 120, "2m"),
            ("36h", 129_600, "36h"),
            ("30d", 2_592_000, "30d"),
            ("0s", 0, "0s"),
        ] {
            let span = TimeSpan::try_from(text.to_owned()).unwrap();
            assert_eq!((span.duration().as_secs(), span.to_string().as_str()), (seconds, expected));
        }
        for bad in ["", "5", "m", "-1s", "1.5h", "1 year", "99999999999999999999d"] {
            assert!(TimeSpan::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
