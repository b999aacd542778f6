//! An error, as reports carry it.

use longshore_core::Error;
use serde::Serialize;

/// An error as a report carries it.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// What went wrong, with its causes.
    pub message: String,
    /// The way out, where one is known.
    pub hint: Option<String>,
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        Self { message: error.chain(), hint: error.remedy().map(str::to_owned) }
    }
}
