//! `[identity]`: the identities that decrypt backups, for every command that reads backups.

use std::path::PathBuf;

use serde::Deserialize;

/// The source of identities, unless the command line names some.
#[derive(Debug, Clone, Default)]
pub struct IdentitySource {
    /// The identity files.
    pub file: Vec<PathBuf>,
    /// The command whose output is an identity file.
    pub command: Option<IdentityCommand>,
    /// The setting that contains the command, for error messages.
    pub name: &'static str,
}

/// A command that prints an identity.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "write a command for a shell, or a list of a program and its arguments")]
pub enum IdentityCommand {
    /// A command line for `sh`.
    Shell(String),
    /// A program and its arguments.
    Argv(Vec<String>),
}

impl IdentitySource {
    /// Returns true if neither a file nor a command is set.
    pub fn is_empty(&self) -> bool {
        self.file.is_empty() && self.command.is_none()
    }
}

/// `[identity]`: the identity that decrypts backups, if the command line names none.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// The identity file, or a list of files.
    file: Option<Files>,
    /// The command that prints an identity: a list of a program and its arguments, or a command
    /// line for a shell.
    command: Option<IdentityCommand>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "write a path or a list of paths")]
enum Files {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

impl Written {
    /// Resolves the table, or returns the error message.
    pub(crate) fn resolve(self) -> Result<IdentitySource, &'static str> {
        let file = match self.file {
            None => Vec::new(),
            Some(Files::One(file)) => vec![file],
            Some(Files::Many(files)) => files,
        };
        let is_unset = match &self.command {
            None => file.is_empty(),
            Some(IdentityCommand::Shell(script)) => script.trim().is_empty(),
            Some(IdentityCommand::Argv(words)) => words.is_empty(),
        };
        match (is_unset, file.is_empty(), &self.command) {
            (true, ..) => Err("identity: name a file or a command"),
            (false, false, Some(_)) => Err("identity: has both file and command: remove one"),
            _ => Ok(IdentitySource { file, command: self.command, name: "[identity] command" }),
        }
    }
}
