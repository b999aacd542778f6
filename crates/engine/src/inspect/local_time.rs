//! Conversion of another host's local time to the local time of this host.

use chrono::{DateTime, NaiveDateTime};
use tz::{LocalTimeType, TimeZone};

const FORM: &str = "%Y-%m-%d %H:%M:%S";
const HOUR_SECONDS: i64 = 60 * 60;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;

/// Converts a time such as `2026-06-07 09:15:00`, whose time zone is unknown except for
/// `summer_time`, and appends the name of this host's zone. Works like C's mktime, as used
/// by pg_restore.
pub fn to_local_time(time: &str, summer_time: Option<bool>) -> String {
    let zone = match std::env::var("TZ") {
        Ok(zone) => TimeZone::from_posix_tz(&zone),
        Err(_) => TimeZone::local(),
    };
    convert(&zone.unwrap_or_else(|_| TimeZone::utc()), time, summer_time).unwrap_or_else(|| time.to_owned())
}

fn convert(zone: &TimeZone, time: &str, summer_time: Option<bool>) -> Option<String> {
    let shown = NaiveDateTime::parse_from_str(time, FORM).ok()?.and_utc().timestamp();
    let kind_at = |time: i64| zone.find_local_time_type(time).ok().copied();
    let near: Vec<_> =
        [0, -1, 1, -91, 91, -182, 182].iter().filter_map(|days| kind_at(shown + days * DAY_SECONDS)).collect();
    let is_shown = |kind: &&LocalTimeType| kind_at(shown - i64::from(kind.ut_offset())).as_ref() == Some(*kind);
    let is_requested = |kind: &&LocalTimeType| summer_time.is_none_or(|summer_time| summer_time == kind.is_dst());
    // A local time that does not exist with the requested summer time uses the nearest offset of
    // that kind; a zone without summer time counts it as an hour ahead.
    let best = near.iter().filter(is_requested).find(is_shown).or_else(|| near.iter().find(is_requested));
    let (kind, ahead) = match best {
        Some(kind) => (kind, 0),
        None => (near.iter().find(is_shown)?, HOUR_SECONDS),
    };
    let time = shown - i64::from(kind.ut_offset()) - ahead;
    let kind = kind_at(time)?;
    let shown = DateTime::from_timestamp(time + i64::from(kind.ut_offset()), 0)?.format(FORM);
    let name = Some(kind.time_zone_designation()).filter(|name| !name.is_empty()).unwrap_or("UTC");
    Some(format!("{shown} {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_times_to_the_local_zone() {
        let berlin = TimeZone::from_posix_tz("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (time, summer_time, expected) in [
            ("2026-06-07 09:15:00", Some(true), "2026-06-07 09:15:00 CEST"),
            ("2026-01-07 09:15:00", Some(false), "2026-01-07 09:15:00 CET"),
            ("2026-06-07 09:15:00", None, "2026-06-07 09:15:00 CEST"),
            // The hour that occurs twice.
            ("2026-10-25 02:30:00", Some(true), "2026-10-25 02:30:00 CEST"),
            ("2026-10-25 02:30:00", Some(false), "2026-10-25 02:30:00 CET"),
            // From a host without summer time, or in the other hemisphere.
            ("2026-06-07 09:15:00", Some(false), "2026-06-07 10:15:00 CEST"),
            ("2026-10-01 09:15:00", Some(false), "2026-10-01 10:15:00 CEST"),
            ("2026-01-07 09:15:00", Some(true), "2026-01-07 08:15:00 CET"),
        ] {
            assert_eq!(convert(&berlin, time, summer_time).as_deref(), Some(expected), "{time}");
        }
        for (summer_time, hour) in [(Some(true), "08"), (Some(false), "09"), (None, "09")] {
            let converted = convert(&TimeZone::utc(), "2026-06-07 09:15:00", summer_time);
            assert_eq!(converted, Some(format!("2026-06-07 {hour}:15:00 UTC")));
        }
        assert_eq!(convert(&berlin, "2026-02-31 00:00:00", None), None);
    }
}
