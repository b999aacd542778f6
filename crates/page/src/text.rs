//! Times, sizes and links as text.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use longshore_core::error::printable;
use longshore_core::unit::format_age;
use longshore_engine::status::Level;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters of a path that are escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A time for people and for programs.
pub(crate) struct Stamp {
    pub(crate) iso: String,
    pub(crate) text: String,
}

impl From<DateTime<Utc>> for Stamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self { iso: time.to_rfc3339_opts(SecondsFormat::Secs, true), text: second(time) }
    }
}

pub(crate) fn minute(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}

pub(crate) fn second(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Returns the age of a time.
pub(crate) fn age(now: DateTime<Utc>, time: DateTime<Utc>) -> String {
    format_age(now - time)
}

/// Returns a number of seconds in the largest unit that gives at least 2.
pub(crate) fn seconds(seconds: i64) -> String {
    format_age(TimeDelta::seconds(seconds))
}

/// Returns a duration, with tenths below ten seconds.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.1} s") } else { self::seconds(seconds.round() as i64) }
}

/// Returns the time until a future time.
pub(crate) fn until(now: DateTime<Utc>, time: DateTime<Utc>) -> String {
    if time <= now { "now".to_owned() } else { format!("in {}", format_age(time - now)) }
}

/// Returns a size in the largest unit that gives at least 1.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut size, mut unit) = (bytes as f64 / 1024.0, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if size < 10.0 { format!("{size:.1} {}", UNITS[unit]) } else { format!("{size:.0} {}", UNITS[unit]) }
}

/// Returns text without control characters and without characters that change the direction.
pub(crate) fn shown(text: &str) -> String {
    printable(text)
}

/// Returns a path of these segments, escaped.
pub(crate) fn path(segments: &[&str]) -> String {
    segments.iter().map(|segment| format!("/{}", utf8_percent_encode(segment, ESCAPED))).collect()
}

/// Returns the word for a level and its class.
pub(crate) fn level(level: Level) -> (&'static str, &'static str) {
    match level {
        Level::Good => ("good", "good"),
        Level::Unknown => ("unknown", "unknown"),
        Level::Warning => ("warning", "warning"),
        Level::Critical => ("critical", "critical"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_have_fitting_units() {
        let sizes = [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (52 << 20, "52 MiB"), (u64::MAX, "16384 PiB")];
        for (size, expected) in sizes {
            assert_eq!(bytes(size), expected);
        }
        assert_eq!((duration(0.25), duration(90.0), duration(7200.0)), ("0.2 s".into(), "90 s".into(), "2 h".into()));
    }

    #[test]
    fn segments_of_paths_are_escaped() {
        assert_eq!(path(&["series", "a/b", "\"><x>", ".."]), "/series/a%2Fb/%22%3E%3Cx%3E/..");
    }
}
