//! Errors after a decryption by a program of the operator: it may return other bytes than were
//! encrypted, and then nothing is known about the stored bytes.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt};

use crate::error::{Error, Kind, Result, Stage};
use crate::stage::Decrypt;
use crate::stream::ByteStream;

/// The cause of errors in bytes that were decrypted.
#[derive(Debug, Clone)]
pub struct Cause {
    /// The error of the stored bytes, if there is one; absent for an authenticated decryption.
    stored: Option<Arc<Mutex<Option<Error>>>>,
    subject: String,
}

impl Cause {
    /// Returns the cause of an error: that of the stored bytes, if they failed. Without such a
    /// failure, invalid plaintext of a program is no damage.
    pub fn of(&self, error: Error) -> Error {
        let Some(stored) = &self.stored else { return error };
        // No panic can leave the value half updated, so a poisoned lock is safe to use.
        let stored = stored.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match stored {
            Some(stored) => stored,
            None if error.kind() == Kind::Corrupt => unproven(&self.subject, error),
            None => error,
        }
    }
}

/// Returns the error of a program that returned other bytes than were encrypted.
pub fn unproven(subject: &str, error: Error) -> Error {
    let message = "the program that decrypts it returned other bytes than were encrypted";
    Error::new(Stage::Decrypt, Kind::Failed, subject, message)
        .hint("test the program of the [decrypt] table by hand; without the table, `longshore verify` compares the stored bytes")
        .because(error)
}

/// Decrypts the stored bytes of a file. Returns also the cause of later errors.
pub async fn decrypt_stored(decrypt: &dyn Decrypt, sealed: ByteStream, subject: &str) -> Result<(ByteStream, Cause)> {
    if decrypt.is_authenticated() {
        let cause = Cause { stored: None, subject: subject.to_owned() };
        return Ok((decrypt.decrypt(sealed, subject).await?, cause));
    }
    let stored = Arc::new(Mutex::new(None));
    let cause = Cause { stored: Some(Arc::clone(&stored)), subject: subject.to_owned() };
    let record = move |error: &Error| {
        *stored.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
    };
    Ok((decrypt.decrypt(sealed.inspect_err(record).boxed(), subject).await?, cause))
}
