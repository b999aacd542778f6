//! Programs of the operator in an environment without a cluster.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::offline_env::OfflineEnv;
use super::{CommandOutput, files};

/// Returns the path of a shipped example.
pub(crate) fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/exec-examples").join(name);
    path.canonicalize().unwrap().display().to_string()
}

/// An environment with programs and the job `wiki`, which one of them dumps.
pub(crate) struct Programs {
    pub(crate) env: OfflineEnv,
}

impl Programs {
    pub(crate) fn new() -> Self {
        Self { env: OfflineEnv::new("") }
    }

    /// Creates an executable script, and returns its path.
    pub(crate) fn script(&self, name: &str, body: &str) -> String {
        let path = self.env.path(name);
        fs::write(&path, format!("#!/bin/bash\n{body}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        path.display().to_string()
    }

    /// Configures the job `wiki` with the fields of its dump, and more lines.
    pub(crate) fn configure(&self, dump: &str, more: &str) {
        self.env.configure(&format!(
            "[cluster.wiki]\n[job.wiki]\ncluster = 'wiki'\nencrypt = {{ type = 'none' }}\nship = ['disk']\nmax_age = '1d'\n\
             dump = [{{ type = 'exec', subject = 'wiki', format = 'test', undo = 'cat', {dump} }}]\n{more}"
        ));
    }

    /// Configures a dump by a script.
    pub(crate) fn configure_script(&self, body: &str, more: &str) {
        let program = self.script("dump", body);
        self.configure(&format!("program = ['{program}'], stall_timeout = '1s'"), more);
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> CommandOutput {
        self.env.longshore(arguments)
    }

    /// Returns the files of backups.
    pub(crate) fn backups(&self) -> Vec<String> {
        files(&self.env.path("disk")).into_iter().filter(|file| file.starts_with("wiki/wiki/")).collect()
    }

    /// Adds lines to the top of the configuration.
    pub(crate) fn configure_top(&self, lines: &str) {
        let path = self.env.path("config.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{lines}\n{text}")).unwrap();
    }
}
