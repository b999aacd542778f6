//! The identities that decrypt backups, unless the command line names some: files, or the output of
//! a command, which is kept in memory only.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use longshore_config::{Config, DrillSettings, IdentityCommand, IdentitySource};
use longshore_core::plugin::{Identities, IdentityText};
use longshore_core::{Error, Kind, Result, Stage};
use secrecy::SecretString;
use tokio::process::Command;

/// The maximum size of an identity, in bytes.
const MAX_IDENTITY_BYTES: usize = 1 << 20;

/// The name that `init` gives an identity file, beside the configuration.
const DEFAULT_FILE: &str = "identity.txt";

/// Returns the given identities, or those of `[identity]` in the configuration, and the programs of
/// `[decrypt.NAME]`.
///
/// # Errors
///
/// Fails if the command that prints the identity fails.
pub async fn identities(given: &Identities, config: &Config) -> Result<Identities> {
    load(given, &config.identity, config).await
}

/// Returns the given identities, or those of the job's drill settings, or those of `[identity]` in
/// the configuration, and the programs of `[decrypt.NAME]`.
pub(crate) async fn drill_identities(
    given: &Identities,
    drilling: &DrillSettings,
    config: &Config,
) -> Result<Identities> {
    let own = IdentitySource {
        file: drilling.identity.clone().into_iter().collect(),
        command: drilling.identity_command.clone().map(IdentityCommand::Shell),
        name: "identity_command",
    };
    load(given, if own.is_empty() { &config.identity } else { &own }, config).await
}

/// Returns the identity file beside the configuration, if one is there.
pub fn default_file(config: &Config) -> Option<PathBuf> {
    let folder = config.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(folder.join(DEFAULT_FILE)).filter(|file| file.is_file())
}

async fn load(given: &Identities, source: &IdentitySource, config: &Config) -> Result<Identities> {
    let mut all = given.clone();
    all.programs.extend(config.decrypt.iter().map(|(name, program)| (name.clone(), program.clone())));
    if all.is_empty() {
        all.files.extend(source.file.iter().cloned());
        if let Some(command) = &source.command {
            all.texts.push(command_output(command, source.name).await?);
        }
    }
    Ok(all)
}

/// Returns the output of a command. The command inherits standard input and error, since it may ask
/// for a passphrase.
async fn command_output(command: &IdentityCommand, name: &str) -> Result<IdentityText> {
    let failed = |message: String| {
        Error::new(Stage::Decrypt, Kind::Denied, name, message)
            .hint("try it in a shell: it must print the identity, such as AGE-SECRET-KEY-1…, and exit with 0")
    };
    let mut child = match command {
        IdentityCommand::Shell(script) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]);
            shell
        }
        IdentityCommand::Argv(words) => {
            let mut child = Command::new(words.first().map_or("", String::as_str));
            child.args(words.iter().skip(1));
            child
        }
    };
    child.stdout(Stdio::piped()).kill_on_drop(true);
    let child = child.spawn().map_err(|error| Error::io(Stage::Decrypt, name, "cannot run the command", error))?;
    let output = child.wait_with_output().await;
    let output =
        output.map_err(|error| Error::io(Stage::Decrypt, name, "cannot read the output of the command", error))?;
    if !output.status.success() {
        return Err(failed(format!("ended with {}", output.status)));
    }
    if output.stdout.len() > MAX_IDENTITY_BYTES {
        return Err(failed("prints too much for an identity".to_owned()));
    }
    let text =
        String::from_utf8(output.stdout).map_err(|_| failed("prints bytes that are not UTF-8 text".to_owned()))?;
    Ok(IdentityText { name: name.to_owned(), text: SecretString::from(text) })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[tokio::test]
    async fn failed_command_error_omits_its_output() {
        let shell = |script: &str| IdentityCommand::Shell(script.to_owned());
        let words = |words: &[&str]| IdentityCommand::Argv(words.iter().map(|word| (*word).to_owned()).collect());
        let text = async |command| command_output(&command, "command").await.unwrap().text.expose_secret().to_owned();
        assert_eq!(text(shell("printf AGE-SECRET")).await, "AGE-SECRET");
        assert_eq!(text(words(&["printf", "%s", "AGE $HOME"])).await, "AGE $HOME", "no shell expands the words");
        let error = command_output(&shell("echo AGE-SECRET; exit 3"), "command").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(!error.chain().contains("AGE-SECRET") && error.chain().contains('3'), "{error}");
    }
}
