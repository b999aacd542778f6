//! What opens backups for a drill alone: a file, or what a command prints, which is kept in memory and nowhere else.

use std::process::Stdio;

use longshore_core::plugin::{Identities, IdentityText};
use longshore_core::{Error, Kind, Result, Stage};
use secrecy::SecretString;
use tokio::process::Command;

use crate::config::Drilling;

/// The most bytes that an identity may have.
const MAX_IDENTITY_BYTES: usize = 1 << 20;

/// What was given, and what the job names, if nothing was.
pub(super) async fn identities(given: &Identities, drilling: &Drilling) -> Result<Identities> {
    let mut all = given.clone();
    if !all.is_empty() {
        return Ok(all);
    }
    all.files.extend(drilling.identity.clone());
    if let Some(command) = &drilling.identity_command {
        all.texts.push(printed(command).await?);
    }
    Ok(all)
}

/// What a command prints. It may ask a person, so it has our standard input and error.
async fn printed(command: &str) -> Result<IdentityText> {
    const NAME: &str = "identity_command";
    let failed = |message: String| {
        Error::new(Stage::Decrypt, Kind::Denied, NAME, message)
            .hint("try it in a shell: it must print the identity, such as AGE-SECRET-KEY-1…, and exit with 0")
    };
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdout(Stdio::piped()).kill_on_drop(true);
    let child = shell.spawn().map_err(|error| Error::io(Stage::Decrypt, NAME, "cannot be run", error))?;
    let ended = child.wait_with_output().await;
    let ended = ended.map_err(|error| Error::io(Stage::Decrypt, NAME, "its output cannot be read", error))?;
    if !ended.status.success() {
        return Err(failed(format!("ended with {}", ended.status)));
    }
    if ended.stdout.len() > MAX_IDENTITY_BYTES {
        return Err(failed("prints more than any identity is".to_owned()));
    }
    let text = String::from_utf8(ended.stdout).map_err(|_| failed("prints no text".to_owned()))?;
    Ok(IdentityText { name: NAME.to_owned(), text: SecretString::from(text) })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[tokio::test]
    async fn a_command_that_fails_is_said_without_what_it_printed() {
        assert_eq!(printed("printf AGE-SECRET").await.unwrap().text.expose_secret(), "AGE-SECRET");
        let error = printed("echo AGE-SECRET; exit 3").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(!error.chain().contains("AGE-SECRET") && error.chain().contains('3'), "{error}");
    }
}
