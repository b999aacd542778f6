//! Colours: never the only sign of anything, and none where they are not wanted.

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set; CLICOLOR_FORCE wants them anywhere.
    Auto,
    /// Anywhere.
    Always,
    /// Nowhere.
    Never,
}

impl Colour {
    /// Makes it hold for all that is printed from now on.
    pub(crate) fn apply(self) {
        let choice = match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
    }
}

/// Headings of tables.
pub(super) const HEADING: Style = Style::new().bold();
/// What failed or is damaged.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What should be looked at.
pub(super) const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
/// What is as it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// The way out.
pub(super) const HINT: Style = AnsiColor::Cyan.on_default();

/// The headings of columns whose words are states.
const STATES: [&str; 4] = ["STATE", "DECISION", "RESULT", "DAMAGED"];

/// The colour of a state, by its column and by its word in our own output.
pub(super) fn of_state(heading: &str, cell: &str) -> Option<Style> {
    let begins = |words: &[&str]| words.iter().any(|word| cell.starts_with(word));
    let ends = |words: &[&str]| words.iter().any(|word| cell.ends_with(word));
    if ends(&[" DAMAGED", "CANNOT BE READ"]) {
        return Some(BAD);
    }
    if ends(&[" STALE"]) {
        return Some(DOUBTFUL);
    }
    if !STATES.contains(&heading) {
        return None;
    }
    if heading == "DAMAGED" {
        return (!cell.is_empty() && cell != "-").then_some(BAD);
    }
    if begins(&["CRITICAL", "DAMAGED", "FAILED", "REMOVAL FAILED", "damaged", "failed", "lost"]) {
        Some(BAD)
    } else if begins(&["warning", "unknown", "would remove", "partial", "refused", "not drilled", "goes"]) {
        Some(DOUBTFUL)
    } else if begins(&["good", "sound", "sealed bytes", "keep", "stays", "done", "ok"]) {
        Some(GOOD)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_coloured_and_other_words_are_not() {
        assert_eq!(of_state("STATE", "CRITICAL"), Some(BAD));
        assert_eq!(of_state("STATE", "warning"), Some(DOUBTFUL));
        assert_eq!(of_state("STATE", "good"), Some(GOOD));
        assert_eq!(of_state("local", "3 h STALE"), Some(DOUBTFUL));
        assert_eq!(of_state("BACKUP", "main/good/good-2026-06-07_091500"), None);
        assert_eq!(of_state("DAMAGED", "-"), None);
        assert_eq!(of_state("DAMAGED", "2"), Some(BAD));
    }
}
