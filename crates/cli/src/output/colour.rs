//! Colours. Text never relies on colour alone.

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set; anywhere if CLICOLOR_FORCE is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Colour {
    /// Applies to all later output.
    pub(crate) fn apply(self) {
        let choice = match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
    }
}

/// The style of table headings.
pub(super) const HEADING: Style = Style::new().bold();
/// The style of failures and damage.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// The style of warnings.
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default();
/// The style of good states.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// The style of hints.
pub(super) const HINT: Style = AnsiColor::Cyan.on_default();

/// The headings of columns with states.
const STATES: [&str; 4] = ["STATE", "DECISION", "RESULT", "DAMAGED"];

/// Returns the style of a state, by the heading of its column and its words.
pub(super) fn state_style(heading: &str, cell: &str) -> Option<Style> {
    let begins = |words: &[&str]| words.iter().any(|word| cell.starts_with(word));
    let ends = |words: &[&str]| words.iter().any(|word| cell.ends_with(word));
    if ends(&[" DAMAGED", "CANNOT BE READ"]) {
        return Some(BAD);
    }
    if ends(&[" STALE"]) {
        return Some(WARNING);
    }
    if !STATES.contains(&heading) {
        return None;
    }
    if heading == "DAMAGED" {
        return (!cell.is_empty() && cell != "-").then_some(BAD);
    }
    if begins(&["CRITICAL", "DAMAGED", "FAILED", "REMOVAL FAILED", "damaged", "failed", "lost"]) {
        Some(BAD)
    } else if begins(&["warning", "unknown", "would remove", "partial", "refused", "not drilled"]) {
        Some(WARNING)
    } else if begins(&["good", "verified", "digest matches", "kept", "done", "ok"]) {
        Some(GOOD)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_states_only() {
        assert_eq!(state_style("STATE", "CRITICAL"), Some(BAD));
        assert_eq!(state_style("STATE", "warning"), Some(WARNING));
        assert_eq!(state_style("STATE", "good"), Some(GOOD));
        assert_eq!(state_style("local", "3 h STALE"), Some(WARNING));
        assert_eq!(state_style("BACKUP", "main/good/good-2026-06-07_091500"), None);
        assert_eq!(state_style("DAMAGED", "-"), None);
        assert_eq!(state_style("DAMAGED", "2"), Some(BAD));
    }
}
