//! What is wrong with an archive, and where.

use std::fmt;
use std::io;

/// Why an archive was not read to its end.
#[derive(Debug)]
pub struct Error {
    /// What a caller may decide by.
    pub trouble: Trouble,
    /// How many bytes of the archive stand before the place.
    pub offset: u64,
    /// The part of the archive, such as `data of table public.orders` or `TOC entry 215`.
    pub place: String,
    /// What was expected there, and what was found.
    pub message: String,
    /// What to do about it, where the bytes show it.
    pub remedy: Option<String>,
    source: Option<io::Error>,
}

/// What an [`Error`] says of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is damaged: no program of PostgreSQL wrote it like this.
    Damaged,
    /// It is of a kind that this crate does not know; it may be sound.
    Unsupported,
    /// Its bytes could not be had; nothing is known of them.
    Unread,
    /// What was made of it could not be written.
    Unwritten,
}

/// The result of reading archives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Damage.
    pub(crate) fn damaged(offset: u64, place: impl Into<String>, message: impl Into<String>) -> Self {
        let (place, message) = (abbreviated(place.into(), 200), abbreviated(message.into(), 600));
        Self { trouble: Trouble::Damaged, offset, place, message, remedy: None, source: None }
    }

    /// The same error with what to do about it.
    #[must_use]
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Something that only another version knows.
    pub(crate) fn unsupported(offset: u64, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { trouble: Trouble::Unsupported, ..Self::damaged(offset, place, message) }
    }

    /// A failure of whatever the bytes come from; one that carries an error of ours through somebody's [`io::Read`] is that error.
    pub(crate) fn unread(offset: u64, place: &str, error: io::Error) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<Self>()) {
            let inner = error.into_inner().and_then(|inner| inner.downcast::<Self>().ok());
            return match inner {
                Some(inner) => *inner,
                None => Self::damaged(offset, place, "cannot be read"),
            };
        }
        Self { trouble: Trouble::Unread, source: Some(error), ..Self::damaged(offset, place, "cannot be read") }
    }

    /// A failure of whatever takes the bytes.
    pub(crate) fn unwritten(offset: u64, place: &str, error: io::Error) -> Self {
        Self { trouble: Trouble::Unwritten, source: Some(error), ..Self::damaged(offset, place, "cannot be written") }
    }

    /// The failure of what the bytes come from or go to, where that is why.
    pub fn io(&self) -> Option<&io::Error> {
        self.source.as_ref()
    }
}

/// The beginning of a text that is longer than anybody reads, such as a damaged name.
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
