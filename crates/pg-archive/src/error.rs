//! The errors of an archive, each with its place.

use std::fmt;
use std::io;

/// The reason why an archive was not read to its end.
#[derive(Debug)]
pub struct Error {
    /// The kind of error, by which callers decide.
    pub kind: ErrorKind,
    /// The number of bytes of the archive before the place.
    pub offset: u64,
    /// The part of the archive, such as `data of table public.orders` or `TOC entry 215`.
    pub place: String,
    /// The expected content, and the content that was found.
    pub message: String,
    /// The remedy, if the bytes suggest one.
    pub remedy: Option<String>,
    source: Option<io::Error>,
}

/// The kind of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The archive is damaged: no PostgreSQL program wrote these bytes.
    Damaged,
    /// The archive is of a format that this crate does not support; it may be intact.
    Unsupported,
    /// The archive's bytes could not be read, so its state is unknown.
    ReadFailed,
    /// The output could not be written.
    WriteFailed,
}

/// The result of reading archives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns an error of damage.
    pub(crate) fn damaged(offset: u64, place: impl Into<String>, message: impl Into<String>) -> Self {
        let (place, message) = (abbreviated(place.into(), 200), abbreviated(message.into(), 600));
        Self { kind: ErrorKind::Damaged, offset, place, message, remedy: None, source: None }
    }

    /// Adds a remedy to the error.
    #[must_use]
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Returns an error of content that this crate does not support.
    pub(crate) fn unsupported(offset: u64, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unsupported, ..Self::damaged(offset, place, message) }
    }

    /// Returns an error of the input. If `error` wraps an error of this crate that passed through
    /// an [`io::Read`], returns the wrapped error.
    pub(crate) fn read_failed(offset: u64, place: &str, error: io::Error) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<Self>()) {
            let inner = error.into_inner().and_then(|inner| inner.downcast::<Self>().ok());
            return match inner {
                Some(inner) => *inner,
                None => Self::damaged(offset, place, "cannot be read"),
            };
        }
        Self { kind: ErrorKind::ReadFailed, source: Some(error), ..Self::damaged(offset, place, "cannot be read") }
    }

    /// Returns an error of the output.
    pub(crate) fn write_failed(offset: u64, place: &str, error: io::Error) -> Self {
        Self { kind: ErrorKind::WriteFailed, source: Some(error), ..Self::damaged(offset, place, "cannot be written") }
    }

    /// Returns the I/O error of the input or output, if it caused this error.
    pub fn io(&self) -> Option<&io::Error> {
        self.source.as_ref()
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
