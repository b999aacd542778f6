//! Prompts for secrets, on the terminal or from the environment; never from arguments.

use std::io::IsTerminal;

use longshore_core::plugin::Ask;
use longshore_core::{Error, Kind, Result, Stage};
use secrecy::SecretString;

/// The environment variable with the passphrase of an identity.
const PASSPHRASE: &str = "LONGSHORE_IDENTITY_PASSPHRASE";

/// The user at the terminal.
pub(crate) struct TerminalPrompt;

impl Ask for TerminalPrompt {
    fn secret(&self, question: &str) -> Option<SecretString> {
        if let Ok(passphrase) = std::env::var(PASSPHRASE) {
            return Some(passphrase.into());
        }
        if !std::io::stdin().is_terminal() {
            return None;
        }
        rpassword::prompt_password(format!("{question}: ")).ok().map(Into::into)
    }
}

/// Prompts on the terminal. Returns true if the user types `words`.
pub(crate) fn confirm_typed(question: &str, words: &str) -> bool {
    let mut answer = String::new();
    std::io::stdin().is_terminal()
        && crate::output::prompt(question)
        && std::io::stdin().read_line(&mut answer).is_ok()
        && answer.trim_end_matches(['\r', '\n']) == words
}

/// Prompts for the password of a server.
pub(crate) fn password() -> Result<SecretString> {
    let answer = rpassword::prompt_password("password of the server: ");
    answer.map(Into::into).map_err(|error| {
        Error::new(Stage::Config, Kind::Usage, "--ask-password", "there is no terminal to prompt on")
            .because(error)
            .hint("put the password into ~/.pgpass (mode 600) or PGPASSWORD")
    })
}

/// Prompts for a number from 1 to `most`. Returns `None` for any other answer.
pub(crate) fn number(question: &str, most: usize) -> Option<usize> {
    let mut answer = String::new();
    let is_read =
        crate::output::prompt(&format!("{question} (1 to {most})")) && std::io::stdin().read_line(&mut answer).is_ok();
    answer.trim().parse().ok().filter(|number| is_read && (1..=most).contains(number))
}
