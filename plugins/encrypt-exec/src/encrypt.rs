//! Encryption.

use std::fs;
use std::path::Path;

use async_trait::async_trait;
use longshore_core::check::{Check, Finding};
use longshore_core::encryption_name::EncryptionName;
use longshore_core::meter::Digest;
use longshore_core::plugin::Plugin;
use longshore_core::stage::Encrypt;
use longshore_core::stream::{ByteStream, drain, from_bytes};
use longshore_core::unit::TimeSpan;
use longshore_core::{Error, Kind, Result, Stage, regular_file};
use longshore_exec::settings::STALL_TIMEOUT;
use longshore_exec::{ExecProgram, Request, Role};

use crate::filter::encrypted;

/// The maximum size of a file with keys, in bytes.
const MAX_KEY_FILE_BYTES: u64 = 1 << 20;

/// The plaintext of a check.
const PROBE: &str = "a probe of `longshore check`\n";

longshore_exec::program_settings! {
    /// Settings of `{ type = "exec", … }`: encrypts with a program that reads the plaintext on
    /// standard input, and writes the encrypted bytes to standard output. Exit status 0 means
    /// success.
    pub struct Exec {
        /// The name of the encryption: at most 16 of `a-z` and `0-9`, such as `"gpg"`. Files end
        /// with a dot and the name. Another host decrypts them with the program of
        /// `[decrypt.NAME]`.
        #[schemars(length(min = 1, max = 16))]
        extension: String,
        /// The way to decrypt a file by hand, for the manifest: a command that reads the file on
        /// standard input and writes the plaintext to standard output, such as `"gpg --decrypt"`.
        #[schemars(length(min = 1))]
        undo: String,
        /// The time without progress after which the program is ended, by default `"10m"`.
        #[serde(default)]
        stall_timeout: Option<TimeSpan>,
    }
}

impl Plugin<dyn Encrypt> for Exec {
    const TYPE: &'static str = "exec";

    fn in_plugin_dir(self, plugin_dir: &Path) -> Self {
        self.locate(plugin_dir)
    }

    fn build(self, (): &()) -> Result<Box<dyn Encrypt>> {
        let program = self.program(self.stall_timeout.map_or(STALL_TIMEOUT, TimeSpan::duration))?;
        let name = EncryptionName::new(&self.extension)?;
        if self.undo.trim().is_empty() {
            let message = "undo of an encryption by a program is empty";
            return Err(Error::new(Stage::Config, Kind::Usage, name.as_str(), message)
                .hint("write the command that decrypts a file by hand: undo = \"gpg --decrypt\""));
        }
        Ok(Box::new(ProgramEncrypt { program, extension: format!(".{name}"), name, undo: self.undo }))
    }
}

/// A stage that encrypts by a program.
struct ProgramEncrypt {
    program: ExecProgram,
    name: EncryptionName,
    extension: String,
    undo: String,
}

#[async_trait]
impl Check for ProgramEncrypt {
    async fn check(&self) -> Vec<Finding> {
        let finding = self.program.finding(Stage::Encrypt);
        let subject = self.program.path().display().to_string();
        match drain(self.encrypt(from_bytes(PROBE), "probe")).await {
            Ok(()) => vec![finding, Finding::good(subject, format!("encrypts files that end with {}", self.extension))],
            Err(error) => vec![Finding::failed(subject, &error)],
        }
    }
}

impl Encrypt for ProgramEncrypt {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn extension(&self) -> &str {
        &self.extension
    }

    fn undo(&self) -> Option<&str> {
        Some(&self.undo)
    }

    fn recipients(&self) -> Vec<String> {
        // Only the program knows them.
        Vec::new()
    }

    /// Returns a digest of the command and of the files that it names, such as one with a key.
    fn reader_fingerprints(&self) -> Vec<String> {
        let mut seen = Vec::new();
        for argument in &self.program.argv {
            seen.extend_from_slice(Digest::of(argument.as_bytes()).hex().as_bytes());
        }
        for file in self.program.argv.iter().skip(1).map(Path::new) {
            let is_small = fs::metadata(file).is_ok_and(|metadata| metadata.len() <= MAX_KEY_FILE_BYTES);
            if is_small && let Ok(content) = regular_file::read(file) {
                seen.extend_from_slice(Digest::of(&content).hex().as_bytes());
            }
        }
        vec![Digest::of(&seen).hex().to_owned()]
    }

    fn encrypt(&self, plaintext: ByteStream, subject: &str) -> ByteStream {
        encrypted(self.program.clone(), Request::new(Stage::Encrypt, subject, Role::Encrypt), plaintext)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_key_file_changes_the_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("public.gpg");
        let fingerprints = || {
            let argv = vec!["/bin/false".to_owned(), key.display().to_string()];
            let program = ExecProgram { argv, ..ExecProgram::default() };
            let name = EncryptionName::new("gpg").unwrap();
            let encrypt = ProgramEncrypt { program, name, extension: ".gpg".to_owned(), undo: "gpg".to_owned() };
            assert!(encrypt.recipients().is_empty());
            encrypt.reader_fingerprints()
        };
        let missing = fingerprints();
        fs::write(&key, "a key").unwrap();
        let before = fingerprints();
        assert_eq!(before, fingerprints());
        fs::write(&key, "another").unwrap();
        assert!(before != fingerprints() && before != missing);
    }
}
