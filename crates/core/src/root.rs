//! The directory that a destination is, and why one is refused: in the same words wherever it lies.

use std::fmt::Display;

use crate::check::Finding;
use crate::error::{Error, Kind, Stage, printable};

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

/// The most folders that a finding names.
const MAX_NAMED: usize = 5;

/// Returns the finding that everybody may write to these folders within the directory `name`, if there are any.
pub fn exposed_folders(name: &str, mut folders: Vec<String>) -> Option<Finding> {
    folders.sort();
    let named = folders.iter().take(MAX_NAMED).map(|folder| printable(folder.trim_end_matches('/')));
    let mut named = named.collect::<Vec<_>>().join(", ");
    if folders.len() > MAX_NAMED {
        named += &format!(" and {} more", folders.len() - MAX_NAMED);
    }
    let message = format!("everybody may write to folders in it, so anybody could remove or replace backups: {named}");
    let error = Error::new(Stage::Ship, Kind::Refused, name, message).hint("take that away: chmod o-w");
    (!folders.is_empty()).then(|| Finding::failed(name, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_few_of_many_exposed_folders() {
        assert_eq!(exposed_folders("/srv", Vec::new()), None);
        let finding = exposed_folders("/srv", (0..7).map(|n| format!("main/{n}/")).collect()).unwrap();
        assert!(finding.message.contains("main/0, main/1, main/2, main/3, main/4 and 2 more"), "{}", finding.message);
    }
}
