//! The time zone that times are shown in: UTC, as in names and JSON, unless a person wants another.

use std::path::Path;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

/// A time zone, by its name where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// One of the IANA's.
    Named(Tz),
    /// That of this host, whose name nothing tells.
    Host,
}

impl Zone {
    /// The zone of `TZ`, if that is set; else this host's with `--local`, and UTC without.
    pub(crate) fn of(local: bool) -> Self {
        let variable = std::env::var("TZ").ok().filter(|name| !name.is_empty());
        Self::choose(local, variable.as_deref(), || host(Path::new("/etc/localtime")))
    }

    fn choose(local: bool, variable: Option<&str>, host: impl Fn() -> Option<Tz>) -> Self {
        match variable {
            // A name, or the path of a file, or a rule of its own, which chrono knows how to read.
            Some(name) => named(name).map_or(Self::Host, Self::Named),
            None if local => host().map_or(Self::Host, Self::Named),
            None => Self::Named(Tz::UTC),
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Named(zone) => zone.name(),
            Self::Host => "local time",
        }
    }

    /// A time to the minute, by this zone's clock.
    pub(crate) fn minute(self, time: DateTime<Utc>) -> String {
        self.format(time, "%Y-%m-%d %H:%M")
    }

    /// A time to the second, by this zone's clock.
    pub(crate) fn second(self, time: DateTime<Utc>) -> String {
        self.format(time, "%Y-%m-%d %H:%M:%S")
    }

    fn format(self, time: DateTime<Utc>, format: &str) -> String {
        match self {
            Self::Named(zone) => time.with_timezone(&zone).format(format).to_string(),
            Self::Host => time.with_timezone(&chrono::Local).format(format).to_string(),
        }
    }
}

/// The zone of this name, which may be written as the path of its file.
fn named(name: &str) -> Option<Tz> {
    let name = name.strip_prefix(':').unwrap_or(name);
    let name = name.split_once("zoneinfo/").map_or(name, |(_, name)| name);
    name.parse().ok()
}

/// The zone that a link to its file names.
fn host(link: &Path) -> Option<Tz> {
    named(std::fs::read_link(link).ok()?.to_str()?)
}

#[cfg(test)]
mod tests {
    use longshore_core::key::Stamp;

    use super::*;

    #[test]
    fn times_are_utc_unless_another_zone_is_wanted() {
        let berlin = Zone::Named(Tz::Europe__Berlin);
        let choose = |local, variable| Zone::choose(local, variable, || Some(Tz::Europe__Berlin));
        assert_eq!(choose(false, None).name(), "UTC");
        assert_eq!(choose(true, None), berlin);
        assert_eq!(choose(false, Some("Europe/Berlin")), berlin);
        assert_eq!(choose(true, Some(":/usr/share/zoneinfo/Asia/Tokyo")).name(), "Asia/Tokyo");
        assert_eq!(choose(true, Some("CET-1CEST")).name(), "local time");
        assert_eq!(Zone::choose(true, None, || None), Zone::Host);
        let time = Stamp::parse("2026-06-07_223000").unwrap().time();
        assert_eq!(berlin.minute(time), "2026-06-08 00:30");
        assert_eq!(choose(false, None).second(time), "2026-06-07 22:30:00");
    }
}
