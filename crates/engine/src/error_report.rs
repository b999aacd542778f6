//! An error in a report.

use longshore_core::Error;
use serde::Serialize;

/// An error in a report.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorReport {
    /// The error with its causes.
    pub message: String,
    /// The remedy, if one is known.
    pub hint: Option<String>,
}

impl From<&Error> for ErrorReport {
    fn from(error: &Error) -> Self {
        Self { message: error.chain(), hint: error.remedy().map(str::to_owned) }
    }
}
