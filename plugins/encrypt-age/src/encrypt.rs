//! Sealing.

use std::io::{self, Write};
use std::path::PathBuf;
use std::slice;
use std::sync::Arc;

use age_core::format::FileKey;
use async_trait::async_trait;
use longshore_core::check::{Check, Finding};
use longshore_core::plugin::Plugin;
use longshore_core::stage::Encrypt;
use longshore_core::stream::{ByteStream, let_others_first, transform};
use longshore_core::{Error, Kind, Result, Stage};
use serde::Deserialize;

use crate::passphrase;
use crate::payload::{self, CatchingRecipient, Caught, NONCE_BYTES};
use crate::recipient::{self, EXAMPLES, Means, Recipient, Sealer, refused};

/// The settings that seal: `type = "age"`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Age {
    /// Recipients: `age1…`, `ssh-ed25519 …`, `ssh-rsa …`, or those of a plugin.
    #[serde(default)]
    recipients: Vec<String>,
    /// Files with a recipient a line, as for `age -R`.
    recipients_file: Option<Paths>,
    /// A file whose first line is a passphrase to seal with, instead of recipients.
    passphrase_file: Option<PathBuf>,
}

#[derive(Clone, Deserialize)]
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
    /// What seals for these recipients.
    pub fn to(recipients: &[String]) -> Self {
        Self { recipients: recipients.to_vec(), recipients_file: None, passphrase_file: None }
    }
}

impl Plugin<dyn Encrypt> for Age {
    const TYPE: &'static str = "age";

    fn build(self, (): &()) -> Result<Box<dyn Encrypt>> {
        let files = self.recipients_file.as_ref().map_or(&[][..], Paths::as_slice);
        if let Some(file) = &self.passphrase_file {
            if !self.recipients.is_empty() || !files.is_empty() {
                let message = "a passphrase cannot be mixed with recipients";
                return Err(refused("passphrase_file", message).hint("keep either it or the recipients"));
            }
            return Ok(Box::new(Sealing::with_passphrase(passphrase::read_file(file)?)));
        }
        let mut recipients = Vec::new();
        for (number, text) in (1..).zip(&self.recipients) {
            recipients.push(Recipient::parse(text, &format!("recipients, number {number}"))?);
        }
        for file in files {
            recipients.extend(recipient::read_file(file)?);
        }
        Ok(Box::new(Sealing::for_recipients(recipients)?))
    }
}

/// Seals any number of streams, also at once.
struct Sealing {
    sealers: Arc<[Sealer]>,
    fingerprints: Vec<String>,
    /// What a check has to say as long as sealing works.
    outlook: Finding,
}

impl Sealing {
    fn with_passphrase(passphrase: secrecy::SecretString) -> Self {
        let sealer: Sealer = Box::new(passphrase::recipient(passphrase));
        Self {
            sealers: Arc::new([sealer]),
            fingerprints: vec!["passphrase".to_owned()],
            outlook: Finding::warning(
                "age",
                "seals with a passphrase that lies on this host, so that this host can open its backups",
                "seal for recipients, whose identities need not be here",
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
            let message = "there is no recipient, and nothing is sealed for nobody";
            return Err(refused("recipients", message).hint(EXAMPLES));
        }
        let outlook = Finding::good("age", format!("seals for {}", census(&recipients)));
        let sealers = sealers(recipients)?;
        Ok(Self { sealers: sealers.into(), fingerprints, outlook })
    }
}

/// How many recipients there are of which kinds.
fn census(recipients: &[Recipient]) -> String {
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

fn sealers(recipients: Vec<Recipient>) -> Result<Vec<Sealer>> {
    let mut sealers = Vec::new();
    let mut plugin_recipients = Vec::new();
    for recipient in recipients {
        match recipient.means {
            Means::Native(sealer) => sealers.push(sealer),
            Means::Plugin(recipient) => plugin_recipients.push(recipient),
        }
    }
    if !sealers.is_empty() {
        // Proves now that they go together; a plugin's word on that is had by a check.
        encryptor(&sealers, "recipients")?;
    }
    let mut names: Vec<_> = plugin_recipients.iter().map(age::plugin::Recipient::plugin).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let plugin = age::plugin::RecipientPluginV1::new(name, &plugin_recipients, &[], age::NoCallbacks);
        sealers.push(Box::new(plugin.map_err(|_| missing_plugin(name))?));
    }
    Ok(sealers)
}

fn missing_plugin(name: &str) -> Error {
    let program = format!("age-plugin-{name}");
    let hint = match name {
        "pq" => {
            "age1pq1… recipients need age-plugin-pq, which comes with age 1.3 and later, in the PATH of this process"
        }
        _ => "install it where the PATH of this process leads",
    };
    refused(&program, "a recipient needs this program, and it is not there").hint(hint)
}

/// Begins an age file: makes its key and wraps it for every recipient.
fn encryptor(sealers: &[Sealer], subject: &str) -> Result<age::Encryptor> {
    begin(sealers.iter().map(|sealer| &**sealer as &dyn age::Recipient), subject)
}

fn begin<'a>(recipients: impl Iterator<Item = &'a dyn age::Recipient>, subject: &str) -> Result<age::Encryptor> {
    age::Encryptor::with_recipients(recipients).map_err(|error| match error {
        age::EncryptError::IncompatibleRecipients { .. } => {
            let message = "these recipients cannot be mixed: some of them are post-quantum, others are not";
            refused("recipients", message).hint("keep the post-quantum ones or the others")
        }
        error => Error::new(Stage::Encrypt, Kind::Failed, subject, "cannot seal for the recipients").because(error),
    })
}

/// The header and the nonce of an age file, and its key.
fn head(sealers: &[Sealer], subject: &str) -> io::Result<(Vec<u8>, FileKey)> {
    let caught = Caught::default();
    let catching = |sealer| CatchingRecipient { recipient: sealer, caught: &caught };
    let recipients: Vec<_> = sealers.iter().map(|sealer| catching(&**sealer as &dyn age::Recipient)).collect();
    let encryptor = begin(recipients.iter().map(|recipient| recipient as &dyn age::Recipient), subject)?;
    let mut head = Vec::new();
    // Header and nonce are written at once; the payload, which is not finished, never.
    drop(encryptor.wrap_output(&mut head)?);
    let key = caught.key().ok_or_else(|| io::Error::other("no recipient was told the key"))?;
    Ok((head, key))
}

impl Encrypt for Sealing {
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
        let sealers = Arc::clone(&self.sealers);
        let subject = subject.to_owned();
        let wrap = {
            let subject = subject.clone();
            |error| Error::io(Stage::Encrypt, subject, "cannot seal", error)
        };
        transform(plaintext, wrap, move |reader, writer| {
            let (head, key) = head(&sealers, &subject)?;
            writer.write_all(&head)?;
            let nonce = &head[head.len() - NONCE_BYTES..];
            // Only when this is done it is an age file: without its last chunk it opens nowhere.
            let_others_first(|| payload::seal(&key, nonce, reader, writer))?
        })
    }
}

#[async_trait]
impl Check for Sealing {
    async fn check(&self) -> Vec<Finding> {
        let sealers = Arc::clone(&self.sealers);
        // On a thread of its own: a plugin's program may take its time, and so does a passphrase.
        let trial = tokio::task::spawn_blocking(move || encryptor(&sealers, "age").map(drop)).await;
        let trial = trial.unwrap_or_else(|error| {
            Err(Error::new(Stage::Encrypt, Kind::Failed, "age", "cannot try to seal").because(error))
        });
        vec![match trial {
            Ok(()) => self.outlook.clone(),
            Err(error) => Finding::failed("age", &error),
        }]
    }
}
