//! The directory that a destination is, and why one is refused: in the same words wherever it lies.

use std::fmt::Display;

use crate::error::{Error, Kind, Stage};

/// What is wrong with a directory that backups are to lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It does not exist.
    Missing,
    /// It is something else.
    NoDirectory,
    /// Everybody may write to it.
    Exposed,
}

impl Unfit {
    /// The error. `name` is what errors call the directory, such as `host:/path`, and `path` is where it lies on its host.
    pub fn error(self, name: &str, path: impl Display) -> Error {
        let (message, hint) = match self {
            Self::Missing => (
                "the directory does not exist, and is not made: its disk may not be mounted",
                format!("mount its disk there; if it is new, make it: mkdir -p -m 700 '{path}'"),
            ),
            Self::NoDirectory => ("not a directory", "set path to a directory".to_owned()),
            Self::Exposed => (
                "everybody may write to the directory, so anybody could remove or replace backups",
                "take that away (chmod o-w), or set path to a folder in it with mode 700".to_owned(),
            ),
        };
        Error::new(Stage::Ship, Kind::Refused, name, message).hint(hint)
    }
}
