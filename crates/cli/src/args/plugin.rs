//! `longshore plugin`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum, ValueHint};
use longshore_core::unit::TimeSpan;

use super::quantity;

#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Test that a program implements the protocol of longshore-exec(7).
    ///
    /// Starts the program for each of its roles, with good and bad input. Exits with 2 if a
    /// behaviour is missing.
    Test(PluginTest),
    /// Write the skeleton of a program to a new file.
    New(PluginNew),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PluginTest {
    /// The program, or its name in plugin_dir, and its arguments.
    #[arg(required = true, value_hint = ValueHint::ExecutablePath)]
    pub(crate) program: Vec<String>,
    /// Pass a setting to the program. Can be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) setting: Vec<(String, String)>,
    /// Pass the content of a file to the program as a secret. Can be repeated.
    #[arg(long, value_name = "NAME=FILE", value_parser = assignment)]
    pub(crate) secret: Vec<(String, String)>,
    /// Add a variable to the environment of the program. Can be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) env: Vec<(String, String)>,
    /// The time in which the program sends its first message.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = quantity::<TimeSpan>)]
    pub(crate) hello_timeout: TimeSpan,
    /// Verify this file as a sound plaintext [default: the output of the role dump].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) sample: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PluginNew {
    /// The language of the program.
    #[arg(long)]
    pub(crate) language: Language,
    /// The new file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) name: PathBuf,
}

/// The language of a skeleton.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Bash and jq.
    Sh,
    /// Python 3.
    Python,
}

/// Parses `NAME=VALUE`.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}
