//! What opens backups for every verb that reads them: `[identity]`.

use std::path::PathBuf;

use serde::Deserialize;

/// Where an identity comes from, if the command line names none.
#[derive(Debug, Clone, Default)]
pub struct IdentitySource {
    /// The identity files.
    pub file: Vec<PathBuf>,
    /// The command whose output is such a file.
    pub command: Option<IdentityCommand>,
    /// What errors call the command: the setting.
    pub(crate) name: &'static str,
}

/// A command that prints an identity.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "write a command for a shell, or a list of a program and its arguments")]
pub enum IdentityCommand {
    /// One that `sh` reads.
    Shell(String),
    /// A program and its arguments.
    Words(Vec<String>),
}

impl IdentitySource {
    /// Whether nothing is named.
    pub(crate) fn is_empty(&self) -> bool {
        self.file.is_empty() && self.command.is_none()
    }
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    file: Option<Files>,
    command: Option<IdentityCommand>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "write a path or a list of paths")]
enum Files {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

impl Written {
    /// What it comes to; what is wrong with it, if it cannot work.
    pub(super) fn resolve(self) -> Result<IdentitySource, &'static str> {
        let file = match self.file {
            None => Vec::new(),
            Some(Files::One(file)) => vec![file],
            Some(Files::Many(files)) => files,
        };
        let is_nothing = match &self.command {
            None => file.is_empty(),
            Some(IdentityCommand::Shell(script)) => script.trim().is_empty(),
            Some(IdentityCommand::Words(words)) => words.is_empty(),
        };
        match (is_nothing, file.is_empty(), &self.command) {
            (true, ..) => Err("identity: name a file or a command"),
            (false, false, Some(_)) => Err("identity: has both file and command: leave one out"),
            _ => Ok(IdentitySource { file, command: self.command, name: "[identity] command" }),
        }
    }
}
