//! A simulation as a self-contained SVG chart: the number of backups over time, and the remaining
//! backups by age and rule.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::HumanBytes;
use longshore_engine::simulate::{Simulation, Survivor};
use longshore_retention::Reason;

use super::axis::{Axis, age_ticks, count_ticks};

/// The width of the chart, and the left and right ends of the plots.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 870.0;
/// The height of the plot of counts, and of a row of backups of one rule.
const LINE_HEIGHT: f64 = 200.0;
const ROW_HEIGHT: f64 = 24.0;
/// The maximum length of a line of rules, in characters.
const MAX_LINE_CHARS: usize = 120;

/// The style, with colours for light and dark viewers.
const STYLE: &str = "<style>\
text{font-family:system-ui,sans-serif;font-size:12px;fill:#333}.title{font-size:16px;font-weight:600}.end{text-anchor:end}.middle{text-anchor:middle}\
.ground{fill:#fff}.grid{stroke:#ddd}.line{fill:none;stroke:#1f6fb2;stroke-width:1.5}.mark{fill:#1f6fb2}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.ground{fill:#16181d}.grid{stroke:#3a3f47}.line{stroke:#6cb6f5}.mark{fill:#6cb6f5}}\
</style>";

/// Renders the chart as SVG.
pub(super) fn draw(title: &str, rules: &str, simulation: &Simulation) -> String {
    let mut body = String::new();
    text(&mut body, "title", (24.0, 32.0), title);
    let mut y = 34.0;
    for line in lines(rules) {
        y += 18.0;
        text(&mut body, "", (24.0, y), &line);
    }
    let top = y + 40.0;
    counts_over_time(&mut body, top, simulation);
    let bottom = ages_by_rule(&mut body, top + LINE_HEIGHT + 84.0, simulation);
    let height = bottom + 24.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>{}</title>\n{STYLE}\n<rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\n{body}</svg>\n",
        escaped(title)
    )
}

/// Plots the number of backups at the end of each day, and their size.
fn counts_over_time(body: &mut String, top: f64, simulation: &Simulation) {
    let ticks = count_ticks(simulation.days.iter().map(|day| day.backups).max().unwrap_or(0));
    let highest = ticks.last().copied().unwrap_or(1);
    let up = Axis { from: top + LINE_HEIGHT, to: top, least: 0.0, most: number(highest) };
    let seconds = |time: DateTime<Utc>| (time - simulation.start).num_seconds() as f64;
    let across = Axis { from: LEFT, to: RIGHT, least: 0.0, most: seconds(simulation.end) };
    text(body, "end", (LEFT - 8.0, top - 14.0), "backups");
    for tick in &ticks {
        let y = up.position(number(*tick));
        line(body, (LEFT, y), (RIGHT, y));
        text(body, "end", (LEFT - 8.0, y + 4.0), &tick.to_string());
        // With differences, the size does not follow from the number.
        if let Some(bytes) = simulation.backup_bytes.filter(|_| !simulation.has_differences()) {
            let bytes = bytes.saturating_mul(*tick as u64);
            text(body, "", (RIGHT + 8.0, y + 4.0), &HumanBytes(bytes).to_string());
        }
    }
    let span = simulation.end - simulation.start;
    for part in 0..=5 {
        let time = simulation.start + span / 5 * part;
        let x = across.position(seconds(time));
        line(body, (x, top + LINE_HEIGHT), (x, top + LINE_HEIGHT + 5.0));
        let day = time.with_timezone(&simulation.timezone).format("%Y-%m-%d").to_string();
        text(body, "middle", (x, top + LINE_HEIGHT + 20.0), &day);
    }
    let mut path = String::new();
    for (index, day) in simulation.days.iter().enumerate() {
        let (x, y) = (across.position(seconds(day.time)), up.position(number(day.backups)));
        // The number changes with a run, not between runs, so draw steps.
        let step = if index == 0 { format!("M{x:.1} {y:.1}") } else { format!("H{x:.1}V{y:.1}") };
        path += &step;
    }
    append(body, format_args!("<path class=\"line\" d=\"{path}\"/>\n"));
}

/// Plots the remaining backups: a row per rule, with a mark per backup that the rule keeps. Returns
/// the lower end of the plot.
fn ages_by_rule(body: &mut String, top: f64, simulation: &Simulation) -> f64 {
    let mut rows: BTreeMap<String, (&Reason, Vec<&Survivor>)> = BTreeMap::new();
    for survivor in &simulation.survivors {
        for reason in &survivor.reasons {
            rows.entry(name(reason)).or_insert((reason, Vec::new())).1.push(survivor);
        }
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|(_, (reason, _))| (*reason).clone());
    let end = simulation.end.with_timezone(&simulation.timezone).format("%Y-%m-%d %H:%M");
    let heading =
        format!("the {} backups after the run of {end}, by the rules that keep them", simulation.survivors.len());
    text(body, "", (LEFT, top - 14.0), &heading);
    let bottom = top + ROW_HEIGHT * rows.len() as f64;
    let hours = |age: TimeDelta| age.num_seconds() as f64 / 3600.0;
    let oldest = simulation.survivors.last().map_or(TimeDelta::zero(), |oldest| simulation.end - oldest.time);
    let most = hours(oldest).max(24.0);
    // The newest backup has age 0, which a logarithmic scale cannot show: add an hour to all ages.
    let across = Axis { from: LEFT + 10.0, to: RIGHT - 10.0, least: 0.0, most: most.ln_1p() };
    for (hours, name) in [(0.0, "0")].into_iter().chain(age_ticks(1.0, most)) {
        let x = across.position(hours.ln_1p());
        line(body, (x, top), (x, bottom + 5.0));
        text(body, "middle", (x, bottom + 20.0), name);
    }
    for (index, (name, (_, survivors))) in rows.iter().enumerate() {
        let y = top + ROW_HEIGHT * (index as f64 + 0.5);
        text(body, "end", (LEFT - 8.0, y + 4.0), name);
        text(body, "", (RIGHT + 8.0, y + 4.0), &survivors.len().to_string());
        for survivor in survivors {
            let x = across.position(hours(simulation.end - survivor.time).ln_1p());
            append(body, format_args!("<circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>\n"));
        }
    }
    text(body, "end", (LEFT - 8.0, bottom + 20.0), "age");
    bottom + 24.0
}

/// Returns the name of a row. Some reasons differ between backups, so the rule is named instead.
fn name(reason: &Reason) -> String {
    match reason {
        Reason::Young { .. } => "min_age".to_owned(),
        Reason::Later => "max_delete".to_owned(),
        reason => reason.to_string(),
    }
}

/// Wraps text between settings.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in text.split(", ") {
        match lines.last_mut() {
            Some(line) if line.len() + part.len() + 2 <= MAX_LINE_CHARS => *line += &format!(", {part}"),
            Some(line) => {
                line.push(',');
                lines.push(part.to_owned());
            }
            None => lines.push(part.to_owned()),
        }
    }
    lines
}

fn number(count: usize) -> f64 {
    count as f64
}

fn text(body: &mut String, class: &str, (x, y): (f64, f64), words: &str) {
    append(body, format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>\n", escaped(words)));
}

fn line(body: &mut String, (x, y): (f64, f64), (to_x, to_y): (f64, f64)) {
    append(
        body,
        format_args!("<line class=\"grid\" x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{to_x:.1}\" y2=\"{to_y:.1}\"/>\n"),
    );
}

fn append(body: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    body.write_fmt(words).unwrap_or_default();
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use longshore_core::unit::{ByteSize, TimeSpan};
    use longshore_engine::simulate::{Scenario, simulate};
    use longshore_retention::{Count, Policy};

    use super::*;

    fn chart(every: &str, lasting: &str) -> String {
        let policy = Policy { keep_last: Count::AtMost(2), keep_daily: Count::AtMost(5), ..Policy::default() };
        let span = |text: &str| TimeSpan::try_from(text.to_owned()).unwrap();
        let start = DateTime::parse_from_rfc3339("2026-01-01T00:00:00Z").unwrap().to_utc();
        let (every, lasting) = (span(every), span(lasting));
        let size = Some(ByteSize::new(1 << 30));
        let differences = None;
        let scenario = Scenario { policy: &policy, start, every, lasting, size, differences, until: None };
        let simulation = simulate(&scenario).unwrap();
        draw("a < b", &policy.to_string(), &simulation)
    }

    #[test]
    fn backups_are_marked_in_rows_of_their_rules() {
        let chart = chart("6h", "30d");
        // One newest, two by keep_last, five by keep_daily.
        assert_eq!(chart.matches("<circle").count(), 1 + 2 + 5);
        for words in [">newest<", ">last<", ">daily<", ">2026-01-01<", ">6.00 GiB<", ">1 day<", "the 6 backups"] {
            assert!(chart.contains(words), "{words} is not in {chart}");
        }
    }

    #[test]
    fn chart_is_self_contained_and_well_formed() {
        for (every, lasting) in [("6h", "30d"), ("1d", "1d"), ("30d", "30y")] {
            let chart = chart(every, lasting);
            assert!(chart.starts_with("<svg xmlns=") && chart.ends_with("</svg>\n"));
            assert!(chart.contains("a &lt; b") && !chart.contains("NaN") && !chart.contains("inf"));
            assert!(!["href", "@import", "url(", "<script"].iter().any(|word| chart.contains(word)));
            assert_eq!(chart.matches("<text").count(), chart.matches("</text>").count());
        }
    }

    #[test]
    fn long_rules_are_wrapped_between_settings() {
        let rules = vec!["keep_daily 7"; 20].join(", ");
        let broken = lines(&rules);
        assert!(broken.len() > 1 && broken.iter().all(|line| line.len() <= MAX_LINE_CHARS + 1));
        assert_eq!(broken.join(" "), rules);
    }
}
