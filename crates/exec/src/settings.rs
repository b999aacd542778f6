//! The settings that all stages by programs have in common.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_core::check::Finding;
use longshore_core::plugin::ProgramTarget;
use longshore_core::secret_file::read_secret;
use longshore_core::{Error, Kind, Result, Stage, digest};
use longshore_program::Program;
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The default time without progress after which a program is ended.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(600);

/// The default time in which a program of the protocol sends its first message.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(30);

/// The protocol of a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// A plain command: bytes on standard input or output, and success by exit status 0.
    #[default]
    #[serde(rename = "none")]
    None,
    /// The protocol of longshore-exec(7), with messages on descriptor 3.
    #[serde(rename = "longshore-exec/1")]
    V1,
}

/// A program of the operator that is a stage.
#[derive(Debug, Clone, Default)]
pub struct ExecProgram {
    /// The program's absolute path, and its arguments.
    pub argv: Vec<String>,
    /// The protocol.
    pub protocol: Protocol,
    /// The expected SHA-256 of the program's file, in hexadecimal.
    pub sha256: Option<String>,
    /// The working directory; `/` without one.
    pub dir: Option<PathBuf>,
    /// Variables that are added to the environment.
    pub env: BTreeMap<String, String>,
    /// Settings that a program of the protocol receives.
    pub settings: Map<String, Value>,
    /// Files of secrets that a program of the protocol receives, by the names of the secrets.
    pub secrets: BTreeMap<String, PathBuf>,
    /// The longest time without progress.
    pub stall_timeout: Duration,
    /// The time in which a program of the protocol sends its first message, if not
    /// [`HELLO_TIMEOUT`].
    pub hello_timeout: Option<Duration>,
}

/// Finds a program that is named without a slash in the folder of such programs.
pub fn locate(argv: &mut [String], plugin_dir: &Path) {
    if let Some(program) = argv.first_mut().filter(|program| !program.is_empty() && !program.contains('/')) {
        *program = plugin_dir.join(&*program).display().to_string();
    }
}

impl ExecProgram {
    /// Returns the program that restores or drills a backup: a plain command.
    pub fn of_target(target: &ProgramTarget) -> Self {
        Self {
            argv: target.argv.clone(),
            dir: target.dir.clone(),
            env: target.env.clone(),
            stall_timeout: target.stall_timeout,
            ..Self::default()
        }
    }

    /// Returns the program's path.
    pub fn path(&self) -> &Path {
        Path::new(self.argv.first().map_or("", String::as_str))
    }

    /// Returns the name of the program's file, for records.
    pub fn name(&self) -> String {
        self.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Checks the settings, without access to files.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Usage`] for settings that contradict each other.
    pub fn validate(&self) -> Result<()> {
        let usage = |message: &str, hint: &str| {
            let subject = self.path().display().to_string();
            Err(Error::new(Stage::Config, Kind::Usage, subject, message).hint(hint))
        };
        if !self.path().is_absolute() {
            return usage(
                "program must begin with an absolute path, or with the name of a program in plugin_dir",
                "write program = [\"/path/to/program\", \"argument\"], or set plugin_dir to the folder of the program",
            );
        }
        if self.protocol == Protocol::None && !(self.settings.is_empty() && self.secrets.is_empty()) {
            return usage(
                "settings and secrets need a program of the protocol",
                "set protocol = \"longshore-exec/1\", or pass arguments in program and variables in env",
            );
        }
        if self.protocol == Protocol::None && self.hello_timeout.is_some() {
            return usage(
                "hello_timeout needs a program of the protocol",
                "set protocol = \"longshore-exec/1\", or remove hello_timeout",
            );
        }
        let is_digest = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if self.sha256.as_ref().is_some_and(|text| !is_digest(text)) {
            return usage("sha256 must have 64 hexadecimal digits", "copy the output of `sha256sum PROGRAM`");
        }
        if self.stall_timeout.is_zero() {
            return usage("stall_timeout must be longer than zero", "write a duration such as \"10m\"");
        }
        if self.hello_timeout.is_some_and(|timeout| timeout.is_zero()) {
            return usage("hello_timeout must be longer than zero", "write a duration such as \"30s\"");
        }
        Ok(())
    }

    /// Checks that the program exists, that only root and this user can replace it, and that it has
    /// the expected digest.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Refused`] if another user can replace the program, or if its digest is
    /// another one, and with [`Kind::NotFound`] if it is missing.
    pub fn check(&self, stage: Stage) -> Result<()> {
        let program = Program {
            argv: self.argv.clone(),
            dir: self.dir.clone(),
            env: self.env.clone(),
            timeout: self.stall_timeout,
        };
        program.check(stage)?;
        let Some(expected) = &self.sha256 else { return Ok(()) };
        let subject = self.path().display().to_string();
        let mut hasher = Sha256::new();
        File::open(self.path())
            .and_then(|mut file| std::io::copy(&mut file, &mut hasher))
            .map_err(|error| Error::io(stage, &subject, "cannot read the program", error))?;
        if digest::hex(&hasher.finalize()).eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        Err(Error::new(stage, Kind::Refused, subject, "the SHA-256 of the program differs from the setting sha256")
            .hint("if you have changed the program, set sha256 to the output of `sha256sum PROGRAM`"))
    }

    /// Returns the result of [`check`](Self::check) for a check before a run.
    pub fn finding(&self, stage: Stage) -> Finding {
        let subject = self.path().display().to_string();
        match self.check(stage) {
            Ok(()) => Finding::good(subject, "only root and this user can replace the program"),
            Err(error) => Finding::failed(subject, &error),
        }
    }

    /// Reads the secrets.
    ///
    /// # Errors
    ///
    /// Fails if a file is missing, or if other users can read it.
    pub(crate) fn read_secrets(&self) -> Result<BTreeMap<String, String>> {
        let read =
            |(name, path): (&String, &PathBuf)| Ok((name.clone(), read_secret(path)?.expose_secret().to_owned()));
        self.secrets.iter().map(read).collect()
    }
}

/// Defines the settings of a stage by a program: the fields given, and those that all such stages
/// have in common. `program(&self, stall_timeout)` returns the program.
#[macro_export]
macro_rules! program_settings {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, $crate::serde::Deserialize, $crate::schemars::JsonSchema)]
        #[serde(crate = "longshore_exec::serde", deny_unknown_fields)]
        #[schemars(crate = "longshore_exec::schemars")]
        pub struct $name {
            $($(#[$field_meta])* $field: $type,)*
            /// The program's absolute path, or its name in `plugin_dir`, and its arguments. No
            /// shell is used.
            #[schemars(length(min = 1))]
            program: Vec<String>,
            /// The protocol: `"none"` for a plain command, or `"longshore-exec/1"`.
            #[serde(default)]
            protocol: $crate::Protocol,
            /// The SHA-256 of the program's file. Another file is refused.
            #[serde(default)]
            sha256: Option<String>,
            /// The working directory, by default `/`.
            #[serde(default)]
            dir: Option<std::path::PathBuf>,
            /// Variables that are added to the environment, which has little more than `PATH`.
            #[serde(default)]
            env: std::collections::BTreeMap<String, String>,
            /// Settings that a program of the protocol receives.
            #[serde(default)]
            settings: $crate::settings::Settings,
            /// Files of secrets that a program of the protocol receives, by the names of the
            /// secrets.
            #[serde(default)]
            secrets: std::collections::BTreeMap<String, std::path::PathBuf>,
            /// The time in which a program of the protocol sends its first message, by default
            /// `"5s"`.
            #[serde(default)]
            hello_timeout: Option<$crate::longshore_core::unit::TimeSpan>,
        }

        impl $name {
            /// Finds the program in the folder of programs that are named without a slash.
            fn locate(mut self, plugin_dir: &std::path::Path) -> Self {
                $crate::settings::locate(&mut self.program, plugin_dir);
                self
            }

            /// Returns the program, after a check of its settings.
            fn program(
                &self,
                stall_timeout: std::time::Duration,
            ) -> $crate::longshore_core::Result<$crate::ExecProgram> {
                let program = $crate::ExecProgram {
                    argv: self.program.clone(),
                    protocol: self.protocol,
                    sha256: self.sha256.clone(),
                    dir: self.dir.clone(),
                    env: self.env.clone(),
                    settings: self.settings.clone(),
                    secrets: self.secrets.clone(),
                    stall_timeout,
                    hello_timeout: self.hello_timeout.map($crate::longshore_core::unit::TimeSpan::duration),
                };
                program.validate()?;
                Ok(program)
            }
        }
    };
}

/// Settings that a program of the protocol receives.
pub type Settings = Map<String, Value>;

#[cfg(test)]
mod tests {
    use super::*;

    fn program(protocol: Protocol) -> ExecProgram {
        ExecProgram {
            argv: vec!["/bin/true".to_owned()],
            protocol,
            stall_timeout: STALL_TIMEOUT,
            ..ExecProgram::default()
        }
    }

    #[test]
    fn contradicting_settings_are_refused() {
        program(Protocol::None).validate().unwrap();
        let settings = Map::from_iter([("remote".to_owned(), "x:".into())]);
        let secrets = BTreeMap::from([("token".to_owned(), PathBuf::from("/secret"))]);
        program(Protocol::V1).validate().unwrap();
        ExecProgram { settings: settings.clone(), secrets: secrets.clone(), ..program(Protocol::V1) }
            .validate()
            .unwrap();
        for (wrong, word) in [
            (ExecProgram { argv: vec!["true".to_owned()], ..program(Protocol::None) }, "absolute"),
            (ExecProgram { argv: vec![], ..program(Protocol::None) }, "absolute"),
            (ExecProgram { settings, ..program(Protocol::None) }, "protocol"),
            (ExecProgram { secrets, ..program(Protocol::None) }, "protocol"),
            (ExecProgram { sha256: Some("ab".to_owned()), ..program(Protocol::None) }, "64"),
            (ExecProgram { stall_timeout: Duration::ZERO, ..program(Protocol::None) }, "longer than zero"),
            (ExecProgram { hello_timeout: Some(Duration::ZERO), ..program(Protocol::V1) }, "longer than zero"),
            (ExecProgram { hello_timeout: Some(HELLO_TIMEOUT), ..program(Protocol::None) }, "hello_timeout needs"),
        ] {
            let error = wrong.validate().unwrap_err();
            assert!(error.kind() == Kind::Usage && error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn only_names_without_a_slash_are_located() {
        for (program, expected) in
            [("rclone", "/usr/lib/x/rclone"), ("./rclone", "./rclone"), ("/bin/true", "/bin/true"), ("", "")]
        {
            let mut argv = vec![program.to_owned(), "rclone".to_owned()];
            locate(&mut argv, Path::new("/usr/lib/x"));
            assert_eq!(argv, [expected, "rclone"]);
        }
        locate(&mut [], Path::new("/usr/lib/x"));
    }

    #[test]
    fn changed_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let sha256 = longshore_core::digest::Digest::of(b"#!/bin/sh\n").hex().to_uppercase();
        let program =
            ExecProgram { argv: vec![path.display().to_string()], sha256: Some(sha256), ..program(Protocol::None) };
        program.check(Stage::Dump).unwrap();
        std::fs::write(&path, "#!/bin/bash\n").unwrap();
        let error = program.check(Stage::Dump).unwrap_err();
        assert!(error.kind() == Kind::Refused && error.to_string().contains("sha256"), "{error}");
    }
}
