//! Encryption.

use std::io::{self, Write};
use std::path::PathBuf;
use std::slice;
use std::sync::Arc;

use age_core::format::FileKey;
use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::check::{Check, Finding};
use longshore_core::plugin::Plugin;
use longshore_core::stage::{self, Encrypt, WriteHeader};
use longshore_core::stream::{ByteStream, transform};
use longshore_core::{Error, Kind, Result, Stage};
use serde::Deserialize;

use crate::header;
use crate::passphrase;
use crate::payload::{self, CapturedKey, CapturingRecipient, NONCE_BYTES};
use crate::recipient::{self, AgeRecipient, EXAMPLES, Implementation, Recipient, config_error};

/// The settings for encryption: `type = "age"`.
#[derive(Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Age {
    /// Recipients: `age1…`, `ssh-ed25519 …`, `ssh-rsa …`, or recipients of a plugin.
    #[serde(default)]
    recipients: Vec<String>,
    /// Files with one recipient per line, as for `age -R`.
    recipients_file: Option<Paths>,
    /// A file whose first line is the passphrase to encrypt with, instead of recipients.
    passphrase_file: Option<PathBuf>,
}

#[derive(Clone, Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "expected a path or a list of paths")]
enum Paths {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

impl Paths {
    fn as_slice(&self) -> &[PathBuf] {
        match self {
            Self::One(path) => slice::from_ref(path),
            Self::Many(paths) => paths,
        }
    }
}

impl Age {
    /// Returns settings that encrypt for these recipients.
    pub fn to(recipients: &[String]) -> Self {
        Self { recipients: recipients.to_vec(), recipients_file: None, passphrase_file: None }
    }

    /// Adds the recipients in these files.
    #[must_use]
    pub fn and_files(self, files: &[PathBuf]) -> Self {
        Self { recipients_file: Some(Paths::Many(files.to_vec())), ..self }
    }
}

impl Plugin<dyn Encrypt> for Age {
    const TYPE: &'static str = "age";

    fn build(self, (): &()) -> Result<Box<dyn Encrypt>> {
        let files = self.recipients_file.as_ref().map_or(&[][..], Paths::as_slice);
        if let Some(file) = &self.passphrase_file {
            if !self.recipients.is_empty() || !files.is_empty() {
                let message = "a passphrase cannot be combined with recipients";
                return Err(config_error("passphrase_file", message).hint("set either passphrase_file or recipients"));
            }
            return Ok(Box::new(Encrypter::with_passphrase(passphrase::read_file(file)?)));
        }
        let mut recipients = Vec::new();
        for (number, text) in (1..).zip(&self.recipients) {
            recipients.push(Recipient::parse(text, &format!("recipients, number {number}"))?);
        }
        for file in files {
            recipients.extend(recipient::read_file(file)?);
        }
        Ok(Box::new(Encrypter::for_recipients(recipients)?))
    }
}

/// Encrypts any number of streams, also concurrently.
struct Encrypter {
    age_recipients: Arc<[AgeRecipient]>,
    fingerprints: Vec<String>,
    /// The finding of a check if encryption works.
    check_finding: Finding,
}

impl Encrypter {
    fn with_passphrase(passphrase: secrecy::SecretString) -> Self {
        let age_recipient: AgeRecipient = Box::new(passphrase::recipient(passphrase));
        Self {
            age_recipients: Arc::new([age_recipient]),
            fingerprints: vec!["passphrase".to_owned()],
            check_finding: Finding::warning(
                "age",
                "encrypts with a passphrase stored on this host, so this host can decrypt its backups",
                "encrypt for recipients, whose identities need not be on this host",
            ),
        }
    }

    fn for_recipients(mut recipients: Vec<Recipient>) -> Result<Self> {
        let mut fingerprints = Vec::new();
        recipients.retain(|recipient| {
            let fingerprint = recipient.fingerprint();
            let is_new = !fingerprints.contains(&fingerprint);
            if is_new {
                fingerprints.push(fingerprint);
            }
            is_new
        });
        if recipients.is_empty() {
            let message = "no recipient";
            return Err(config_error("recipients", message).hint(EXAMPLES));
        }
        let check_finding = Finding::good("age", format!("encrypts for {}", count_by_kind(&recipients)));
        let age_recipients = age_recipients(recipients)?;
        Ok(Self { age_recipients: age_recipients.into(), fingerprints, check_finding })
    }
}

/// Returns the number of recipients, in total and of each kind.
fn count_by_kind(recipients: &[Recipient]) -> String {
    let mut kinds: Vec<(&str, usize)> = Vec::new();
    for recipient in recipients {
        match kinds.iter_mut().find(|(kind, _)| *kind == recipient.kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((&recipient.kind, 1)),
        }
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let noun = if recipients.len() == 1 { "recipient" } else { "recipients" };
    format!("{} {noun}: {}", recipients.len(), kinds.join(", "))
}

fn age_recipients(recipients: Vec<Recipient>) -> Result<Vec<AgeRecipient>> {
    let mut age_recipients = Vec::new();
    let mut plugin_recipients = Vec::new();
    for recipient in recipients {
        match recipient.implementation {
            Implementation::Native(age_recipient) => age_recipients.push(age_recipient),
            Implementation::Plugin(recipient) => plugin_recipients.push(recipient),
        }
    }
    if !age_recipients.is_empty() {
        // Proves now that the recipients can be combined; plugin recipients are only tested by a
        // check.
        encryptor(&age_recipients, "recipients")?;
    }
    let mut names: Vec<_> = plugin_recipients.iter().map(age::plugin::Recipient::plugin).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let plugin = age::plugin::RecipientPluginV1::new(name, &plugin_recipients, &[], age::NoCallbacks);
        age_recipients.push(Box::new(plugin.map_err(|_| missing_plugin_error(name))?));
    }
    Ok(age_recipients)
}

fn missing_plugin_error(name: &str) -> Error {
    let program = format!("age-plugin-{name}");
    let hint = match name {
        "pq" => {
            "age1pq1… recipients need age-plugin-pq, which comes with age 1.3 and later, in the PATH of this process"
        }
        _ => "install it in the PATH of this process",
    };
    config_error(&program, "a recipient needs this program, but it is not installed").hint(hint)
}

/// Starts an age file: generates its key and wraps the key for every recipient.
fn encryptor(age_recipients: &[AgeRecipient], subject: &str) -> Result<age::Encryptor> {
    begin(age_recipients.iter().map(|age_recipient| &**age_recipient as &dyn age::Recipient), subject)
}

/// Starts an age file, as [`encryptor`] does.
pub(crate) fn begin<'a>(
    recipients: impl Iterator<Item = &'a dyn age::Recipient>,
    subject: &str,
) -> Result<age::Encryptor> {
    age::Encryptor::with_recipients(recipients).map_err(|error| match error {
        age::EncryptError::IncompatibleRecipients { .. } => {
            let message = "these recipients cannot be combined: only some of them are post-quantum";
            config_error("recipients", message).hint("keep either the post-quantum recipients or the others")
        }
        error => Error::new(Stage::Encrypt, Kind::Failed, subject, "cannot encrypt for the recipients").because(error),
    })
}

/// Returns the header and the nonce of an age file, and its key.
fn head(age_recipients: &[AgeRecipient], subject: &str) -> io::Result<(Vec<u8>, FileKey)> {
    let captured = CapturedKey::default();
    let capturing = |age_recipient| CapturingRecipient { recipient: age_recipient, captured: &captured };
    let recipients: Vec<_> =
        age_recipients.iter().map(|age_recipient| capturing(&**age_recipient as &dyn age::Recipient)).collect();
    let encryptor = begin(recipients.iter().map(|recipient| recipient as &dyn age::Recipient), subject)?;
    let mut head = Vec::new();
    // The writer writes header and nonce immediately. Dropped unfinished, it writes no payload.
    drop(encryptor.wrap_output(&mut head)?);
    let key = captured.key().ok_or_else(|| io::Error::other("no recipient received the key"))?;
    Ok((head, key))
}

impl Encrypt for Encrypter {
    fn name(&self) -> &'static str {
        <Age as Plugin<dyn Encrypt>>::TYPE
    }

    fn extension(&self) -> &'static str {
        ".age"
    }

    fn recipients(&self) -> Vec<String> {
        self.fingerprints.clone()
    }

    fn encrypt(&self, plaintext: ByteStream, subject: &str) -> ByteStream {
        let age_recipients = Arc::clone(&self.age_recipients);
        let subject = subject.to_owned();
        let wrap = {
            let subject = subject.clone();
            |error| Error::io(Stage::Encrypt, subject, "cannot encrypt", error)
        };
        transform(plaintext, wrap, move |reader, writer| {
            let (head, key) = head(&age_recipients, &subject)?;
            writer.write_all(&head)?;
            let nonce = &head[head.len() - NONCE_BYTES..];
            // The age file is complete only after this: without its last chunk it fails to decrypt.
            payload::seal(&key, nonce, reader, writer)
        })
    }

    fn headers(&self) -> Option<&dyn WriteHeader> {
        Some(self)
    }
}

#[async_trait]
impl WriteHeader for Encrypter {
    async fn header(&self, key: &stage::FileKey, subject: &str) -> Result<Bytes> {
        let age_recipients = Arc::clone(&self.age_recipients);
        let name = subject.to_owned();
        let failed = |error| Error::io(Stage::Encrypt, subject, "cannot write a header for the recipients", error);
        let key = header::from_stage(key).map_err(failed)?;
        // A plugin's program may take time, and so does a passphrase.
        let written = tokio::task::spawn_blocking(move || header::write(&age_recipients, &key, &name));
        match written.await {
            Ok(written) => written.map(Bytes::from).map_err(failed),
            Err(error) => Err(failed(io::Error::other(error))),
        }
    }
}

#[async_trait]
impl Check for Encrypter {
    async fn check(&self) -> Vec<Finding> {
        let age_recipients = Arc::clone(&self.age_recipients);
        // A plugin's program may take time, and so does a passphrase.
        let trial = tokio::task::spawn_blocking(move || encryptor(&age_recipients, "age").map(drop)).await;
        let trial = trial.unwrap_or_else(|error| {
            Err(Error::new(Stage::Encrypt, Kind::Failed, "age", "cannot test encryption").because(error))
        });
        vec![match trial {
            Ok(()) => self.check_finding.clone(),
            Err(error) => Finding::failed("age", &error),
        }]
    }
}
