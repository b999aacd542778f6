//! Decryption.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use age::armor::ArmoredReader;
use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::plugin::{Identities, Plugin};
use longshore_core::stage::{Decrypt, FileKey, OpenHeader};
use longshore_core::stream::{ByteStream, StreamReader, StreamWriter, transform};
use longshore_core::{Error, Kind, Result, Stage};
use serde::Deserialize;

use crate::header;
use crate::identity::{self, Identity};
use crate::passphrase::{Prompt, Prompted};
use crate::payload::{self, CapturedKey, CapturingIdentity, NONCE_BYTES, Source};

/// The settings for decryption: `type = "age"` only, for the caller supplies the identities.
#[derive(Clone, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgeDecrypt {}

impl Plugin<dyn Decrypt> for AgeDecrypt {
    const TYPE: &'static str = "age";

    fn build(self, context: &Identities) -> Result<Box<dyn Decrypt>> {
        let mut identities = Vec::new();
        for file in &context.files {
            identities.extend(identity::read_file(file, &context.ask)?);
        }
        for text in &context.texts {
            identities.extend(identity::read_text(text, &context.ask)?);
        }
        // Plugins are tried last: a plugin may fail or require a touch of a hardware key, in vain
        // if another identity decrypts the file.
        identities.sort_by_key(|identity| identity.worker);
        let prompt = Prompt::new(Arc::clone(&context.ask));
        Ok(Box::new(Decrypter(Arc::new(KeyRing { identities, prompt }))))
    }
}

/// Decrypts any number of streams, also concurrently.
struct Decrypter(Arc<KeyRing>);

#[async_trait]
impl Decrypt for Decrypter {
    async fn decrypt(&self, ciphertext: ByteStream, subject: &str) -> Result<ByteStream> {
        self.decrypt_with(Vec::new(), ciphertext, subject).await
    }

    fn headers(&self) -> Option<&dyn OpenHeader> {
        Some(self)
    }
}

#[async_trait]
impl OpenHeader for Decrypter {
    fn recipients(&self) -> Vec<String> {
        self.0.identities.iter().filter_map(|identity| identity.fingerprint.clone()).collect()
    }

    fn missing_bytes(&self, begin: &[u8], subject: &str) -> Result<usize> {
        header::missing_bytes(begin).map_err(|error| damaged(subject).because(error))
    }

    async fn file_key(&self, own: Bytes, others: Vec<Bytes>, subject: &str) -> Result<FileKey> {
        let key_ring = Arc::clone(&self.0);
        let name = subject.to_owned();
        // A plugin's program may take time, and so does a passphrase.
        let found = tokio::task::spawn_blocking(move || {
            key_ring.file_key(&own, &others, &name).map(|key| header::to_stage(&key))
        });
        found.await.unwrap_or_else(|error| {
            Err(Error::new(Stage::Decrypt, Kind::Failed, subject, "cannot read the header").because(error))
        })
    }

    fn is_authentic(&self, header: &[u8], key: &FileKey) -> bool {
        header::from_stage(key).is_ok_and(|key| header::is_authenticated_by(header, &key))
    }

    async fn decrypt_with(&self, headers: Vec<Bytes>, ciphertext: ByteStream, subject: &str) -> Result<ByteStream> {
        let key_ring = Arc::clone(&self.0);
        let subject = subject.to_owned();
        let wrap = {
            let subject = subject.clone();
            move |error| damaged(&subject).because(error)
        };
        Ok(transform(ciphertext, wrap, move |reader, writer| key_ring.open(&headers, reader, writer, &subject)))
    }
}

struct KeyRing {
    identities: Vec<Identity>,
    prompt: Prompt,
}

/// The maximum size of a header in bytes, enough for many thousands of recipients. Limits the
/// memory that an endless header takes.
const HEADER_LIMIT_BYTES: u64 = 16 << 20;

impl KeyRing {
    /// Decrypts a stream. An [`Error`] names its cause; any other failure means damage.
    fn open(
        &self,
        headers: &[Bytes],
        ciphertext: &mut StreamReader,
        plaintext: &mut StreamWriter,
        subject: &str,
    ) -> io::Result<()> {
        let is_armored = ciphertext.fill_buf()?.first() == Some(&b'-');
        let mut armored;
        let ciphertext: &mut (dyn Source + Send) = if is_armored {
            // Only for armored files: the armor reader passes binary files through, but in very
            // small pieces.
            armored = ArmoredReader::new(ciphertext);
            &mut armored
        } else {
            ciphertext
        };
        let head = read_head(ciphertext)?;
        let (own, nonce) = head.split_at(head.len().saturating_sub(NONCE_BYTES));
        let key = self.file_key(own, headers, subject)?;
        payload::open(&key, nonce, ciphertext, plaintext)
    }

    /// Returns the key of a file from the first header that an identity opens: one of `others`, or
    /// the file's own. A key from another header must authenticate the file's own header: anyone
    /// who can write to a destination can store a header with another key.
    fn file_key(&self, own: &[u8], others: &[Bytes], subject: &str) -> Result<age_core::format::FileKey> {
        let mut failed = None;
        for other in others {
            match self.key_in(other, subject) {
                Ok(key) if header::is_authenticated_by(own, &key) => return Ok(key),
                // The header of another file, a forged one, or a damaged one.
                Ok(_) => {}
                Err(error) if matches!(error.kind(), Kind::Denied | Kind::Corrupt) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        self.key_in(own, subject).map_err(|error| match failed {
            Some(failed) if error.kind() == Kind::Denied => failed,
            _ => error,
        })
    }

    /// Returns the key in a header, which the key authenticates.
    fn key_in(&self, header: &[u8], subject: &str) -> Result<age_core::format::FileKey> {
        let decryptor = header::parse(header).map_err(|error| match error {
            age::DecryptError::UnknownFormat => damaged(subject).hint("its header names an unsupported version of age"),
            error => damaged(subject).because(error),
        })?;
        let is_scrypt = decryptor.is_scrypt();
        let prompted = Prompted { prompt: &self.prompt, subject };
        let captured = CapturedKey::default();
        let keys = self.identities.iter().map(|identity| &*identity.key as &dyn age::Identity);
        let keys = keys.chain([&prompted as &dyn age::Identity]);
        let keys: Vec<_> = keys.map(|identity| CapturingIdentity { identity, captured: &captured }).collect();
        decryptor
            .decrypt(keys.iter().map(|key| key as &dyn age::Identity))
            .map_err(|error| self.decrypt_error(error, is_scrypt, subject))?;
        captured.key().ok_or_else(|| Error::new(Stage::Decrypt, Kind::Failed, subject, "no identity returned the key"))
    }

    fn decrypt_error(&self, error: age::DecryptError, is_scrypt: bool, subject: &str) -> Error {
        use age::DecryptError as Reason;
        let error_of = |kind, message: &str| Error::new(Stage::Decrypt, kind, subject, message);
        match error {
            Reason::NoMatchingKeys if self.identities.is_empty() => error_of(Kind::Denied, "no identity was given")
                .hint("give the identity file of one of the recipients in its manifest"),
            Reason::NoMatchingKeys => {
                error_of(Kind::Denied, "none of the identities given decrypts it").hint(self.fingerprint_hint())
            }
            Reason::DecryptionFailed if is_scrypt => error_of(Kind::Denied, "wrong passphrase"),
            Reason::ExcessiveWork { .. } => {
                error_of(Kind::Refused, "its passphrase needs more work and memory than is safe")
            }
            Reason::Io(error) => match Error::carried_by(&error) {
                // No passphrase was given.
                Some(unanswered) => unanswered.clone(),
                None => error_of(Kind::Failed, PLUGIN_FAILED).because(error),
            },
            error @ (Reason::Plugin(_) | Reason::PluginResolve(_)) => {
                error_of(Kind::Failed, PLUGIN_FAILED).because(error)
            }
            error => damaged(subject).because(error),
        }
    }

    /// Returns a hint for finding the required identity.
    fn fingerprint_hint(&self) -> String {
        let fingerprints = self.identities.iter().filter_map(|identity| identity.fingerprint.as_deref());
        let fingerprints: Vec<_> = fingerprints.collect();
        let wanted = "its manifest lists the fingerprints of its recipients";
        if fingerprints.is_empty() {
            return wanted.to_owned();
        }
        format!("{wanted}; the identities given are those of {}", fingerprints.join(", "))
    }
}

const PLUGIN_FAILED: &str = "the plugin of an identity failed";

/// Reads the header and the nonce, which suffice to find the file's key.
fn read_head(ciphertext: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut bounded = ciphertext.take(HEADER_LIMIT_BYTES);
    loop {
        let line_start = head.len();
        if bounded.read_until(b'\n', &mut head)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the header has no end"));
        }
        if !head.starts_with(b"age-encryption.org/") {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not an age file"));
        }
        if head[line_start..].starts_with(b"---") {
            break;
        }
    }
    ciphertext.take(NONCE_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn damaged(subject: &str) -> Error {
    Error::new(Stage::Decrypt, Kind::Corrupt, subject, "truncated or modified: not a complete age file")
}
