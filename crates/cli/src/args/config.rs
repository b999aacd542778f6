//! The flags of `config`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueHint};

use super::Json;

/// The commands about the configuration file.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigFile {
    /// Check a configuration without connecting to servers and destinations.
    ///
    /// Reads no other file, so that a configuration can be checked before it is installed and on
    /// another host, as with `validate=` of Ansible. `longshore check` also tests keys, servers and
    /// destinations.
    Check(Check),
    /// Print the JSON Schema of the configuration, for editors and other programs.
    Schema,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Check {
    /// The file to check [default: the configuration].
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}
