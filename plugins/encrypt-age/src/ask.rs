//! Prompts for passphrases and for the secrets that age plugins request.

use std::sync::Arc;

use longshore_core::plugin::Ask;
use longshore_core::{Error, Kind, Result, Stage};
use secrecy::{ExposeSecret, SecretString};

/// Prompts for the passphrase of `subject`, a file or a backup.
pub(crate) fn passphrase(ask: &dyn Ask, subject: &str) -> Result<SecretString> {
    ask.secret(&format!("passphrase of {subject}")).ok_or_else(|| {
        let message = "needs a passphrase, but no terminal is available to ask for it";
        Error::new(Stage::Decrypt, Kind::Usage, subject, message)
            .hint("run on a terminal, or set LONGSHORE_IDENTITY_PASSPHRASE")
    })
}

/// Answers the prompts of an age plugin.
#[derive(Clone)]
pub(crate) struct PromptCallbacks(pub(crate) Arc<dyn Ask>);

impl age::Callbacks for PromptCallbacks {
    fn display_message(&self, _message: &str) {
        // `Ask` can only ask for secrets; age does not guarantee plugins that messages are
        // displayed.
    }

    fn confirm(&self, _message: &str, _yes: &str, _no: Option<&str>) -> Option<bool> {
        None
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        let answer = self.0.secret(description)?;
        Some(answer.expose_secret().to_owned())
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        self.0.secret(description)
    }
}
