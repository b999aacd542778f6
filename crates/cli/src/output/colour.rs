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
/// The style of skipped parts.
pub(super) const SKIPPED: Style = Style::new().dimmed();
/// The style of hints.
pub(super) const HINT: Style = AnsiColor::Cyan.on_default();
