//! The time zone of printed times: UTC by default, as in names and JSON.

use std::path::Path;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

/// A time zone, with its name if known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeZone {
    /// A zone of the IANA database.
    Named(Tz),
    /// The zone of this host, without a name.
    Host,
}

impl TimeZone {
    /// Returns the zone of `TZ` if set, else the zone of this host with `--local`, else UTC.
    pub(crate) fn of(local: bool) -> Self {
        let variable = std::env::var("TZ").ok().filter(|name| !name.is_empty());
        Self::choose(local, variable.as_deref(), || host(Path::new("/etc/localtime")))
    }

    fn choose(local: bool, variable: Option<&str>, host: impl Fn() -> Option<Tz>) -> Self {
        match variable {
            // `TZ` is a name, the path of a file, or a POSIX rule, which only chrono parses.
            Some(name) => named(name).map_or(Self::Host, Self::Named),
            None if local => host().map_or(Self::Host, Self::Named),
            None => Self::Named(Tz::UTC),
        }
    }

    /// Returns the name of the zone.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Named(zone) => zone.name(),
            Self::Host => "local time",
        }
    }

    /// Formats a time to the minute, in this zone.
    pub(crate) fn minute(self, time: DateTime<Utc>) -> String {
        self.format(time, "%Y-%m-%d %H:%M")
    }

    /// Formats a time to the second, in this zone.
    pub(crate) fn second(self, time: DateTime<Utc>) -> String {
        self.format(time, "%Y-%m-%d %H:%M:%S")
    }

    /// Formats a time exactly, with its offset from UTC.
    pub(crate) fn exact(self, time: DateTime<Utc>) -> String {
        self.format(time, "%Y-%m-%d %H:%M:%S%.f%:z")
    }

    fn format(self, time: DateTime<Utc>, format: &str) -> String {
        match self {
            Self::Named(zone) => time.with_timezone(&zone).format(format).to_string(),
            Self::Host => time.with_timezone(&chrono::Local).format(format).to_string(),
        }
    }
}

/// Returns the zone of this name or path of a zone file.
fn named(name: &str) -> Option<Tz> {
    let name = name.strip_prefix(':').unwrap_or(name);
    let name = name.split_once("zoneinfo/").map_or(name, |(_, name)| name);
    name.parse().ok()
}

/// Returns the zone of a symbolic link to a zone file.
fn host(link: &Path) -> Option<Tz> {
    named(std::fs::read_link(link).ok()?.to_str()?)
}

#[cfg(test)]
mod tests {
    use longshore_core::key::Timestamp;

    use super::*;

    #[test]
    fn zone_is_utc_unless_another_is_requested() {
        let berlin = TimeZone::Named(Tz::Europe__Berlin);
        let choose = |local, variable| TimeZone::choose(local, variable, || Some(Tz::Europe__Berlin));
        assert_eq!(choose(false, None).name(), "UTC");
        assert_eq!(choose(true, None), berlin);
        assert_eq!(choose(false, Some("Europe/Berlin")), berlin);
        assert_eq!(choose(true, Some(":/usr/share/zoneinfo/Asia/Tokyo")).name(), "Asia/Tokyo");
        assert_eq!(choose(true, Some("CET-1CEST")).name(), "local time");
        assert_eq!(TimeZone::choose(true, None, || None), TimeZone::Host);
        let time = Timestamp::parse("2026-06-07_223000").unwrap().time();
        assert_eq!(berlin.minute(time), "2026-06-08 00:30");
        assert_eq!(choose(false, None).second(time), "2026-06-07 22:30:00");
        assert_eq!(berlin.exact(time), "2026-06-08 00:30:00+02:00");
    }
}
