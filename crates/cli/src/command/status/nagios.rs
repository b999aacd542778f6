//! The output of a monitoring plugin: `STATE - text | label=value …`.

use longshore_core::{Error, Result};
use longshore_engine::status::{Issue, Level, Status};

use crate::command::status::table::about;
use crate::exit_code::NagiosState;
use crate::output::Output;

/// The number of problems to print, since the output is one line.
const MAX_ISSUES: usize = 3;

/// Prints the line.
pub(super) fn print_line(output: Output, status_result: &Result<Status>) -> NagiosState {
    let (state, text) = match status_result {
        Err(error) => (NagiosState::Unknown, error_text(error)),
        Ok(status) => (state(status), format!("{} | {}", plain(&text(status)), figures(status))),
    };
    output.line(format_args!("{state} - {text}"));
    state
}

fn state(status: &Status) -> NagiosState {
    if status.destinations.iter().all(|destination| destination.error.is_some()) {
        return NagiosState::Unknown;
    }
    match status.level() {
        Level::Good => NagiosState::Ok,
        Level::Unknown => NagiosState::Unknown,
        Level::Warning => NagiosState::Warning,
        Level::Critical => NagiosState::Critical,
    }
}

fn error_text(error: &Error) -> String {
    plain(&error.chain())
}

/// Describes the problems, the worst first, or the good state.
fn text(status: &Status) -> String {
    let texts: Vec<String> = status.attention.iter().take(MAX_ISSUES).map(one).collect();
    let more = status.attention.len().saturating_sub(MAX_ISSUES);
    if texts.is_empty() {
        let (series, destinations) = (status.series.len(), status.destinations.len());
        let verb = if series == 1 { "is" } else { "are" };
        return format!(
            "{series} series at {destinations} destination{} {verb} good",
            if destinations == 1 { "" } else { "s" }
        );
    }
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    format!("{}{more}", texts.join("; "))
}

fn one(attention: &Issue) -> String {
    match about(attention) {
        about if about.is_empty() => attention.message.clone(),
        about => format!("{about}: {}", attention.message),
    }
}

/// Returns the performance data.
fn figures(status: &Status) -> String {
    let of = |level| status.attention.iter().filter(|attention| attention.level == level).count();
    let growing = || status.series.iter().filter(|series| series.ended.is_none());
    let oldest = growing().filter_map(|series| series.newest.as_ref()).map(|newest| newest.age_seconds.max(0)).max();
    let restores = growing().filter_map(|series| series.restore.as_ref()).map(|restore| restore.seconds);
    let longest = restores.max_by(f64::total_cmp);
    let used = status.destinations.iter().fold(0, |sum: u64, destination| sum.saturating_add(destination.bytes));
    let missing: usize = growing().map(|series| series.copies.missing.len()).sum();
    let figures = [
        Some(format!("series={};;;0", status.series.len())),
        Some(format!("critical={};;0;0", of(Level::Critical))),
        Some(format!("warnings={};0;;0", of(Level::Warning))),
        Some(format!("copies_missing={missing};;;0")),
        oldest.map(|seconds| format!("oldest={seconds}s;;;0")),
        longest.map(|seconds| format!("restore={seconds:.1}s;;;0")),
        Some(format!("used={used}B;;;0")),
    ];
    figures.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Removes line breaks and `|`, which starts the performance data.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/")
}
