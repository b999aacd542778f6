//! A mistake in the configuration, and its place in the file.

use std::ops::Range;
use std::path::Path;

use longshore_core::{Error, Kind, Stage};

/// A mistake at a place in the file, given in bytes.
#[derive(Debug)]
pub struct Fault {
    span: Option<Range<usize>>,
    message: String,
}

impl Fault {
    /// A mistake at `span`.
    pub(crate) fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span: Some(span), message: message.into() }
    }

    /// What is wrong.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The error for a person: the file, the line and column, and the line itself with a mark beneath.
    pub(crate) fn in_file(&self, path: &Path, source: &str) -> Error {
        let usage = |subject: String, message: String| Error::new(Stage::Config, Kind::Usage, subject, message);
        let Some(span) = &self.span else {
            return usage(path.display().to_string(), self.message.clone());
        };
        let before = &source[..span.start.min(source.len())];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let (number, column) = (before.matches('\n').count() + 1, before[start..].chars().count() + 1);
        let line = source[start..].lines().next().unwrap_or_default();
        let subject = format!("{}:{number}:{column}", path.display());
        let marks = span.len().clamp(1, line.len().saturating_sub(column - 1).max(1));
        let picture = format!("{}\n{}{}", masked(line), " ".repeat(column - 1), "^".repeat(marks));
        usage(subject, self.message.clone()).because(picture)
    }
}

/// A line without what may be a secret: connection strings can hold passwords.
fn masked(line: &str) -> String {
    let lower = line.to_lowercase();
    let suspect = ["pass", "://", "secret"].iter().any(|word| lower.contains(word));
    match line.split_once('=') {
        Some((key, _)) if suspect => format!("{key}= …"),
        None if suspect => "…".to_owned(),
        _ => line.to_owned(),
    }
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        Self { span: error.span(), message: error.message().to_owned() }
    }
}
