//! The shell that runs the demo's commands.

use std::env;
use std::io::{self, Write};
use std::process::Command;

use longshore_testkit::cluster::Installation;
use tempfile::TempDir;

use crate::Result;

/// A shell in a temporary folder, which is removed with it.
pub(super) struct Shell {
    folder: TempDir,
    path: std::ffi::OsString,
}

impl Shell {
    /// Creates the folder, and finds `longshore` in cargo's target folder, beside this program.
    pub(super) fn new(installation: &Installation) -> Result<Self> {
        let failed = |error: io::Error| format!("cannot create a folder for the demo: {error}");
        let mut folders = vec![installation.bin_dir.clone()];
        folders.extend(env::current_exe().map_err(failed)?.parent().map(ToOwned::to_owned));
        folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        Ok(Self {
            folder: tempfile::Builder::new().prefix("longshore-demo-").tempdir().map_err(failed)?,
            path: env::join_paths(folders).map_err(|error| error.to_string())?,
        })
    }

    /// Prints an explanation of the next command.
    pub(super) fn say(&self, text: &str) {
        println!("\n# {text}");
    }

    /// Prints a command and runs it. Its standard error is merged into its output.
    pub(super) fn run(&self, line: &str) -> Result<()> {
        println!("\n$ {line}");
        io::stdout().flush().map_err(|error| error.to_string())?;
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("exec 2>&1; {line}")]);
        let status = bash.current_dir(self.folder.path()).env("PATH", &self.path).status();
        match status.map_err(|error| format!("cannot run bash: {error}"))? {
            status if status.success() => Ok(()),
            status => Err(format!("the demo's command failed ({status}): {line}")),
        }
    }
}
