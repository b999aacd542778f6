//! Secrets from a terminal, or from the environment where there is none. They never stand in argv.

use std::io::IsTerminal;

use longshore_core::plugin::Ask;
use longshore_core::{Error, Kind, Result, Stage};
use secrecy::SecretString;

/// The environment variable that answers for the passphrase of an identity.
const PASSPHRASE: &str = "LONGSHORE_IDENTITY_PASSPHRASE";

/// Whoever sits at the terminal.
pub(crate) struct Person;

impl Ask for Person {
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

/// Whether somebody at the terminal types these words.
pub(crate) fn types(question: &str, words: &str) -> bool {
    let mut answer = String::new();
    std::io::stdin().is_terminal()
        && crate::output::ask(question)
        && std::io::stdin().read_line(&mut answer).is_ok()
        && answer.trim_end_matches(['\r', '\n']) == words
}

/// The password of a server, asked for on the terminal.
pub(crate) fn password() -> Result<SecretString> {
    let answer = rpassword::prompt_password("password of the server: ");
    answer.map(Into::into).map_err(|error| {
        Error::new(Stage::Config, Kind::Usage, "--ask-password", "there is no terminal to ask on")
            .because(error)
            .hint("put the password into ~/.pgpass (mode 600) or PGPASSWORD")
    })
}

/// The number from 1 to `most` that a person types at the terminal.
pub(crate) fn number(question: &str, most: usize) -> Option<usize> {
    let mut answer = String::new();
    let is_read =
        crate::output::ask(&format!("{question} (1 to {most})")) && std::io::stdin().read_line(&mut answer).is_ok();
    answer.trim().parse().ok().filter(|number| is_read && (1..=most).contains(number))
}
