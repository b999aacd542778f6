//! The log of `--verbose` and `LONGSHORE_LOG`, on stderr.
//!
//! Only Longshore's own events are logged: other libraries may log secrets, such as the headers of
//! requests.

use std::env::VarError;
use std::io::{self, Write};

use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::output::Output;

/// The environment variable with the level or the directives of the log.
const VARIABLE: &str = "LONGSHORE_LOG";
/// The prefix of the targets of Longshore's own events.
const OURS: &str = "longshore";

/// Starts the log if the command line or the environment requests one. Flags override the
/// environment.
pub(crate) fn start(verbose: u8, output: Output) -> Result<()> {
    let targets = match verbose {
        0 if output.is_quiet() => return Ok(()),
        0 => match std::env::var(VARIABLE) {
            Ok(text) => parse(&text)?,
            Err(VarError::NotPresent) => return Ok(()),
            Err(VarError::NotUnicode(_)) => return Err(invalid("is not UTF-8".to_owned())),
        },
        1 => Targets::new().with_target(OURS, LevelFilter::INFO),
        2 => Targets::new().with_target(OURS, LevelFilter::DEBUG),
        _ => Targets::new().with_target(OURS, LevelFilter::TRACE),
    };
    // No colours: the writer can then escape every control character of a logged value.
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).log_internal_errors(false);
    let subscriber = tracing_subscriber::registry().with(targets).with(lines.with_writer(LogWriter(output)));
    subscriber.try_init().map_err(|error| Error::new(Stage::Config, Kind::Failed, "log", "cannot start").because(error))
}

/// Parses a level, or directives like `longshore::child=debug`, separated by commas.
fn parse(text: &str) -> Result<Targets> {
    let mut targets = Targets::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (target, level) = part.split_once('=').unwrap_or((OURS, part));
        if !target.starts_with(OURS) {
            return Err(invalid(format!("the target \"{}\" is not Longshore's", printable(target))));
        }
        let Some(level) = parse_level(level) else {
            return Err(invalid(format!("unknown level \"{}\"", printable(level))));
        };
        targets = targets.with_target(target, level);
    }
    Ok(targets)
}

fn parse_level(level: &str) -> Option<LevelFilter> {
    Some(match level.to_ascii_lowercase().as_str() {
        "off" => LevelFilter::OFF,
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return None,
    })
}

fn invalid(message: String) -> Error {
    Error::new(Stage::Config, Kind::Usage, VARIABLE, message)
        .hint("use off, error, warn, info, debug or trace, or directives such as longshore::child=debug")
}

/// Writes the lines of the log above the progress bars.
#[derive(Debug, Clone, Copy)]
struct LogWriter(Output);

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl Write for LogWriter {
    /// Writes a line, which the log passes as a whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.log_line(&escaped(line)).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Escapes the control characters in a line: values, such as the names in an error, may contain
/// any.
fn escaped(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
    let mut text = String::with_capacity(line.len());
    for character in line.chars() {
        match character.is_control() {
            true => text.extend(character.escape_default()),
            false => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enabled(text: &str) -> Vec<String> {
        let mut all: Vec<_> =
            parse(text).unwrap().into_iter().map(|(target, level)| format!("{target}={level}")).collect();
        all.sort();
        all
    }

    #[test]
    fn level_applies_to_own_events_only() {
        assert_eq!(enabled("debug"), ["longshore=debug"]);
        assert_eq!(enabled(" WARN, longshore::child=trace"), ["longshore::child=trace", "longshore=warn"]);
        assert!(enabled("").is_empty());
    }

    #[test]
    fn invalid_directives_are_usage_errors() {
        for (text, expected) in [
            ("debgu", "unknown level \"debgu\""),
            ("longshore::http", "unknown level"),
            ("hyper=debug", "the target \"hyper\" is not Longshore's"),
            ("info,=debug", "the target \"\" is not"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escaped(b"failed: \x1b[31mred\nsecond\tline\n"), "failed: \\u{1b}[31mred\\nsecond\\tline");
    }
}
