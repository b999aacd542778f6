//! Drawings as SVG: calendars and curves.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};

use crate::text::minute;

/// The width and height of a day in a calendar.
const CELL: i32 = 18;
/// The width of the names of months.
const LABEL: i32 = 64;
/// The height of the ruler above the days.
const RULER: i32 = 18;
/// The maximum number of months of a calendar.
const MAX_MONTHS: usize = 24;

/// The state of a day. A day with several backups shows the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DayState {
    /// All backups of the day will be removed.
    Removed,
    /// A backup of the day is kept.
    Kept,
    /// A backup of the day is held.
    Held,
    /// A backup of the day is damaged.
    Damaged,
}

/// A day of a calendar.
#[derive(Debug, Clone)]
pub(crate) struct Day {
    pub(crate) state: DayState,
    /// True if a drill restored a backup of the day.
    pub(crate) is_drilled: bool,
    /// The backups and reasons, for the tooltip.
    pub(crate) title: String,
}

impl DayState {
    fn class(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Kept => "kept",
            Self::Held => "held",
            Self::Damaged => "damaged",
        }
    }

    /// Returns the word for a cell of a table.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Removed => "to be removed",
            Self::Kept => "kept",
            Self::Held => "held",
            Self::Damaged => "damaged",
        }
    }
}

/// Draws the newest months up to the last day, oldest first: a row for each month, a sign for each
/// day. The signs differ in form as well as in colour.
pub(crate) fn calendar(days: &BTreeMap<NaiveDate, Day>, label: &str) -> String {
    let (Some((first, _)), Some((last, _))) = (days.first_key_value(), days.last_key_value()) else {
        return String::new();
    };
    let mut months = Vec::new();
    let mut month = last.with_day(1);
    while let Some(begin) = month.filter(|_| months.len() < MAX_MONTHS) {
        months.push(begin);
        month = if begin <= *first { None } else { begin.checked_sub_months(Months::new(1)) };
    }
    months.reverse();
    let (width, height) = (LABEL + 31 * CELL, RULER + CELL * months.len() as i32 + 28);
    let mut svg = open(width, height, label);
    for day in [1, 5, 10, 15, 20, 25, 30] {
        text(&mut svg, LABEL + (day - 1) * CELL + 3, RULER - 5, "axis", &day.to_string());
    }
    for (row, begin) in months.iter().enumerate() {
        let y = RULER + CELL * row as i32;
        text(&mut svg, 0, y + 13, "axis", &begin.format("%Y-%m").to_string());
        let next = begin.checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX);
        for date in begin.iter_days().take_while(|date| *date < next) {
            let x = LABEL + (date.day0() as i32) * CELL;
            match days.get(&date) {
                None => {
                    write_to(&mut svg, format_args!(r#"<circle class="none" cx="{}" cy="{}" r="2"/>"#, x + 8, y + 8))
                }
                Some(day) => sign(&mut svg, x, y, day),
            }
        }
    }
    legend(&mut svg, height - 20);
    svg.push_str("</svg>");
    svg
}

/// Draws the sign of a day: a filled square, an empty circle, a diamond, a cross; a frame if
/// drilled.
fn sign(svg: &mut String, x: i32, y: i32, day: &Day) {
    write_to(svg, format_args!("<g><title>{}</title>", escaped(&day.title)));
    shape(svg, x, y, day.state);
    if day.is_drilled {
        frame(svg, x, y);
    }
    svg.push_str("</g>");
}

fn shape(svg: &mut String, x: i32, y: i32, state: DayState) {
    let class = state.class();
    match state {
        DayState::Kept => {
            write_to(svg, format_args!(r#"<rect class="{class}" x="{}" y="{}" width="10" height="10"/>"#, x + 3, y + 3))
        }
        DayState::Removed => {
            write_to(svg, format_args!(r#"<circle class="{class}" cx="{}" cy="{}" r="4"/>"#, x + 8, y + 8))
        }
        DayState::Held => {
            write_to(svg, format_args!(r#"<path class="{class}" d="M{} {}l6 6l-6 6l-6 -6z"/>"#, x + 8, y + 2))
        }
        DayState::Damaged => write_to(
            svg,
            format_args!(r#"<path class="{class}" d="M{} {}l10 10m0 -10l-10 10" stroke-width="3"/>"#, x + 3, y + 3),
        ),
    }
}

fn frame(svg: &mut String, x: i32, y: i32) {
    write_to(svg, format_args!(r#"<rect class="drilled" x="{}" y="{}" width="15" height="15"/>"#, x + 1, y + 1));
}

fn legend(svg: &mut String, y: i32) {
    let states = [DayState::Kept, DayState::Removed, DayState::Held, DayState::Damaged];
    let mut x = LABEL;
    for state in states {
        shape(svg, x, y, state);
        text(svg, x + 20, y + 12, "", state.word());
        x += 110;
    }
    frame(svg, x, y);
    text(svg, x + 20, y + 12, "", "drilled");
}

/// Draws a curve of values over time, with the largest value and the first and last time.
pub(crate) fn curve(points: &[(DateTime<Utc>, u64)], label: &str, unit: impl Fn(u64) -> String) -> String {
    let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else { return String::new() };
    if points.len() < 2 || first == last {
        return String::new();
    }
    let (width, height, left, bottom) = (640, 150, 70, 126);
    let most = points.iter().map(|(_, value)| *value).max().unwrap_or_default().max(1);
    let span = (*last - *first).num_seconds().max(1) as f64;
    let mut svg = open(width, height, label);
    for (y, value) in [(10, most), (bottom, 0)] {
        write_to(&mut svg, format_args!(r#"<line class="grid" x1="{left}" y1="{y}" x2="{width}" y2="{y}"/>"#));
        text(&mut svg, 0, y + 4, "axis", &unit(value));
    }
    let place = |(time, value): &(DateTime<Utc>, u64)| {
        let x = f64::from(left) + (*time - *first).num_seconds() as f64 / span * f64::from(width - left);
        let y = f64::from(bottom) - *value as f64 / most as f64 * f64::from(bottom - 10);
        format!("{x:.1},{y:.1}")
    };
    let line: Vec<String> = points.iter().map(place).collect();
    write_to(&mut svg, format_args!(r#"<polyline class="series-line" points="{}"/>"#, line.join(" ")));
    text(&mut svg, left, height - 6, "axis", &minute(*first));
    write_to(
        &mut svg,
        format_args!(
            r#"<text x="{}" y="{}" class="axis" text-anchor="end">{}</text>"#,
            width - 2,
            height - 6,
            escaped(&minute(*last))
        ),
    );
    svg.push_str("</svg>");
    svg
}

fn open(width: i32, height: i32, label: &str) -> String {
    let label = escaped(label);
    format!(r#"<svg class="drawing" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">"#)
}

fn text(svg: &mut String, x: i32, y: i32, class: &str, words: &str) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    write_to(svg, format_args!(r#"<text x="{x}" y="{y}"{class}>{}</text>"#, escaped(words)));
}

fn write_to(svg: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    svg.write_fmt(text).ok();
}

/// Escapes text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_has_a_sign_for_each_day_with_a_backup() {
        let day = |state, is_drilled| Day { state, is_drilled, title: "<x>".to_owned() };
        let days: BTreeMap<NaiveDate, Day> = [
            ("2026-02-03", day(DayState::Removed, false)),
            ("2026-03-05", day(DayState::Damaged, false)),
            ("2026-03-06", day(DayState::Held, true)),
        ]
        .map(|(date, day)| (date.parse().unwrap(), day))
        .into();
        let svg = calendar(&days, "a \"calendar\"");
        assert_eq!(svg.matches("<title>&lt;x&gt;</title>").count(), 3);
        assert_eq!(svg.matches("class=\"none\"").count(), 28 + 31 - 3);
        assert!(svg.contains("2026-02") && svg.contains("aria-label=\"a &quot;calendar&quot;\""), "{svg}");
        assert_eq!(calendar(&BTreeMap::new(), ""), "");
    }
}
