//! The notices of a connection, such as the warnings that name pages with wrong checksums.

use crate::server_error::{ServerError, Severity};

/// The most notices that are kept.
const KEPT: usize = 200;

/// The notices of a connection. The first 200 are kept, and the rest is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notices {
    kept: Vec<ServerError>,
    dropped_notices: u64,
}

impl Notices {
    /// Adds a notice. Messages below [`Severity::Notice`] are ignored.
    pub(crate) fn add(&mut self, notice: ServerError) {
        if matches!(notice.severity, Severity::Debug | Severity::Log) {
            return;
        }
        if self.kept.len() < KEPT {
            self.kept.push(notice);
        } else {
            self.dropped_notices = self.dropped_notices.saturating_add(1);
        }
    }

    /// Returns the kept notices, in the server's order.
    pub fn kept(&self) -> &[ServerError] {
        &self.kept
    }

    /// Returns the number of notices that were not kept.
    pub fn dropped_notices(&self) -> u64 {
        self.dropped_notices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(severity: Severity) -> ServerError {
        let message = String::new();
        ServerError { severity, sqlstate: String::new(), message, detail: None, hint: None, routine: None }
    }

    #[test]
    fn notices_are_bounded() {
        let mut notices = Notices::default();
        notices.add(notice(Severity::Debug));
        for _ in 0..KEPT + 3 {
            notices.add(notice(Severity::Warning));
        }
        assert_eq!((notices.kept().len(), notices.dropped_notices()), (KEPT, 3));
    }
}
