//! Problems of the root directory of a destination, with the same messages for local and remote
//! directories.

use std::fmt::Display;

use crate::check::Finding;
use crate::error::{Error, Kind, Stage, printable};

/// A problem of a root directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootError {
    /// The directory does not exist.
    Missing,
    /// The path is not a directory.
    NotADirectory,
    /// The directory is world-writable.
    WorldWritable,
}

impl RootError {
    /// Returns the error. `name` is the directory's name in errors, such as `host:/path`, and
    /// `path` is its path on the host.
    pub fn error(self, name: &str, path: impl Display) -> Error {
        let (message, hint) = match self {
            Self::Missing => (
                "the directory does not exist: its disk may not be mounted",
                format!("mount the disk, or create a new directory: mkdir -p -m 700 '{path}'"),
            ),
            Self::NotADirectory => ("not a directory", "set path to a directory".to_owned()),
            Self::WorldWritable => (
                "the directory is world-writable: any user could delete or replace backups",
                "run `chmod o-w`, or set path to a subfolder with mode 700".to_owned(),
            ),
        };
        Error::new(Stage::Ship, Kind::Refused, name, message).hint(hint)
    }
}

/// The maximum number of folders in a finding.
const MAX_NAMED: usize = 5;

/// Returns a finding that names the world-writable folders within the directory `name`, if there
/// are any.
pub fn world_writable_folders(name: &str, mut folders: Vec<String>) -> Option<Finding> {
    folders.sort();
    let named = folders.iter().take(MAX_NAMED).map(|folder| printable(folder.trim_end_matches('/')));
    let mut named = named.collect::<Vec<_>>().join(", ");
    if folders.len() > MAX_NAMED {
        named += &format!(" and {} more", folders.len() - MAX_NAMED);
    }
    let message = format!("world-writable folders, in which any user could delete or replace backups: {named}");
    let error = Error::new(Stage::Ship, Kind::Refused, name, message).hint("run `chmod o-w` on these folders");
    (!folders.is_empty()).then(|| Finding::failed(name, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finding_names_only_some_folders() {
        assert_eq!(world_writable_folders("/srv", Vec::new()), None);
        let finding = world_writable_folders("/srv", (0..7).map(|n| format!("main/{n}/")).collect()).unwrap();
        assert!(finding.message.contains("main/0, main/1, main/2, main/3, main/4 and 2 more"), "{}", finding.message);
    }
}
