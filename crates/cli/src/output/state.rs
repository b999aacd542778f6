//! The states of backups, runs and checks: the words and the colours that all verbs share.

use std::fmt;

use anstyle::Style;

use super::colour::{BAD, GOOD, SKIPPED, WARNING};

/// The state of a backup, a run, a check, or a part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    // Good: no action is needed.
    Copied,
    DigestMatches,
    Done,
    Drilled,
    Good,
    Held,
    Kept,
    MarksWithdrawn,
    Ok,
    Released,
    Removed,
    RestoredAndCompared,
    Signed,
    Verified,
    Written,
    // Warnings: something is missing or not certain.
    Interrupted,
    Locked,
    NotDrilled,
    Partial,
    Refused,
    Restored,
    Stale,
    Unknown,
    Warning,
    WouldCopy,
    WouldRemove,
    WouldWrite,
    // Failures and damage.
    CannotBeRead,
    Critical,
    Damaged,
    Failed,
    Lost,
    NotRemoved,
    // Parts that do not count.
    Ended,
    NotVerified,
    Skipped,
}

impl State {
    /// Returns the word for the state.
    pub(crate) fn word(self) -> &'static str {
        self.word_and_style().0
    }

    /// Returns the style of the state.
    pub(super) fn style(self) -> Style {
        self.word_and_style().1
    }

    fn word_and_style(self) -> (&'static str, Style) {
        match self {
            Self::Copied => ("copied", GOOD),
            Self::DigestMatches => ("digest matches", GOOD),
            Self::Done => ("done", GOOD),
            Self::Drilled => ("drilled", GOOD),
            Self::Good => ("good", GOOD),
            Self::Held => ("held", GOOD),
            Self::Kept => ("kept", GOOD),
            Self::MarksWithdrawn => ("marks withdrawn", GOOD),
            Self::Ok => ("ok", GOOD),
            Self::Released => ("released", GOOD),
            Self::Removed => ("removed", GOOD),
            Self::RestoredAndCompared => ("restored and compared", GOOD),
            Self::Signed => ("signed", GOOD),
            Self::Verified => ("verified", GOOD),
            Self::Written => ("written", GOOD),
            Self::Interrupted => ("interrupted", WARNING),
            Self::Locked => ("locked", WARNING),
            Self::NotDrilled => ("not drilled", WARNING),
            Self::Partial => ("partial", WARNING),
            Self::Refused => ("refused", WARNING),
            Self::Restored => ("restored", WARNING),
            Self::Stale => ("stale", WARNING),
            Self::Unknown => ("unknown", WARNING),
            Self::Warning => ("warning", WARNING),
            Self::WouldCopy => ("would copy", WARNING),
            Self::WouldRemove => ("would remove", WARNING),
            Self::WouldWrite => ("would write", WARNING),
            Self::CannotBeRead => ("cannot be read", BAD),
            Self::Critical => ("critical", BAD),
            Self::Damaged => ("damaged", BAD),
            Self::Failed => ("failed", BAD),
            Self::Lost => ("lost", BAD),
            Self::NotRemoved => ("not removed", BAD),
            Self::Ended => ("ended", SKIPPED),
            Self::NotVerified => ("not verified", SKIPPED),
            Self::Skipped => ("skipped", SKIPPED),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_the_colour_of_their_meaning() {
        let verified = [State::Good, State::Verified, State::DigestMatches, State::RestoredAndCompared];
        for state in verified.into_iter().chain([State::Kept, State::Removed, State::Copied, State::Done]) {
            assert_eq!(state.style(), GOOD, "{state}");
        }
        for state in [State::Warning, State::Stale, State::NotDrilled, State::Restored, State::WouldRemove] {
            assert_eq!(state.style(), WARNING, "{state}");
        }
        for state in [State::Damaged, State::Failed, State::Critical, State::CannotBeRead, State::NotRemoved] {
            assert_eq!(state.style(), BAD, "{state}");
        }
        assert_eq!((State::Skipped.style(), State::Ended.style()), (SKIPPED, SKIPPED));
    }

    #[test]
    fn word_is_padded_and_lower_case() {
        assert_eq!(format!("{:8}|", State::Failed), "failed  |");
        assert_eq!(State::NotDrilled.word(), "not drilled");
        assert_eq!(State::Critical.word(), "critical");
    }
}
