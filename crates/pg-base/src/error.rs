//! The errors of a base backup, each with its place.

use std::fmt;
use std::io;

/// The reason why a base backup was not merged or read to its end.
#[derive(Debug)]
pub struct Error {
    /// The kind of error, by which callers decide.
    pub kind: ErrorKind,
    /// The part of the backup: the path of a member, or an archive such as `16398.tar`.
    pub place: String,
    /// The number of bytes of that part before the fault.
    pub offset: u64,
    /// The expected content, and the content that was found.
    pub message: String,
    source: Option<io::Error>,
}

/// The kind of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The backup is damaged: no PostgreSQL server sent these bytes.
    Damaged,
    /// The backup is of a form that this crate does not support; it may be intact.
    Unsupported,
    /// The backup's bytes could not be read, so its state is unknown.
    Io,
}

/// The result of reading base backups.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns an error of damage.
    pub(crate) fn damaged(place: impl Into<String>, offset: u64, message: impl Into<String>) -> Self {
        let (place, message) = (abbreviated(place.into(), 400), abbreviated(message.into(), 600));
        Self { kind: ErrorKind::Damaged, place, offset, message, source: None }
    }

    /// Returns an error of content that this crate does not support.
    pub(crate) fn unsupported(place: impl Into<String>, offset: u64, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unsupported, ..Self::damaged(place, offset, message) }
    }

    /// Returns an error of the input. If `error` wraps an error of this crate that passed through
    /// an [`io::Read`], returns the wrapped error.
    pub(crate) fn io(place: impl Into<String>, offset: u64, error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(error) => {
                Self { kind: ErrorKind::Io, source: Some(error), ..Self::damaged(place, offset, "cannot be read") }
            }
        }
    }

    /// Returns the error with its place within a larger part: `offset` bytes of `place` come first.
    #[must_use]
    pub(crate) fn within(self, place: impl Into<String>, offset: u64) -> Self {
        Self { place: abbreviated(place.into(), 400), offset: offset.saturating_add(self.offset), ..self }
    }
}

/// Shortens an overlong text, such as a damaged name.
fn abbreviated(mut text: String, most_bytes: usize) -> String {
    if text.len() > most_bytes {
        let end = (0..=most_bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.place, self.offset, self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_error_returns_the_wrapped_error() {
        let inner = Error::damaged("base.tar", 512, "header checksum: 5 instead of 6");
        let error = Error::io("backup", 7, io::Error::from(inner));
        assert_eq!(error.to_string(), "base.tar at byte 512: header checksum: 5 instead of 6");
        let error = Error::io("backup", 7, io::Error::from(io::ErrorKind::UnexpectedEof));
        assert_eq!((error.kind, error.offset), (ErrorKind::Io, 7));
    }

    #[test]
    fn error_shortens_an_overlong_place() {
        let error = Error::damaged("é".repeat(1000), 0, "x");
        assert!(error.place.len() < 410 && error.place.ends_with('…'));
    }
}
