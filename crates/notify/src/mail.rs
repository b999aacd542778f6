//! Mail over SMTP, or by the host's sendmail.

use std::collections::BTreeMap;
use std::time::Duration;

use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use longshore_core::secret_file::read_secret;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_program::Program;
use secrecy::ExposeSecret;
use tokio::time::timeout;

use crate::notice::Notice;
use crate::request::TIMEOUT;
use crate::settings::{Encryption, Mail};

/// The time limit of the client for each step: longer than that of the whole attempt, which has the
/// better message.
const SERVER_TIMEOUT: Duration = TIMEOUT.saturating_mul(2);

/// A sender of mail.
pub(crate) struct Sender {
    channel: String,
    from: Mailbox,
    to: Vec<Mailbox>,
    transport: Transport,
}

enum Transport {
    /// The host and port, and the client.
    Smtp(String, AsyncSmtpTransport<Tokio1Executor>),
    Sendmail(Program),
}

impl Sender {
    /// Creates a sender. Connects to no host.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Usage`] if an address is invalid, and with [`Kind::Refused`] for a
    /// password without encryption.
    pub(crate) fn new(channel: &str, settings: &Mail) -> Result<Self> {
        let usage = |message: String| Error::new(Stage::Notify, Kind::Usage, channel, message);
        let mailbox = |text: &String| -> Result<Mailbox> {
            text.parse().map_err(|_| {
                usage(format!("\"{text}\" is no mail address")).hint("write it as in \"Ops <ops@example.net>\"")
            })
        };
        let to: Vec<Mailbox> = settings.to.iter().map(mailbox).collect::<Result<_>>()?;
        if to.is_empty() {
            return Err(usage("has no recipient: add to = [\"ops@example.net\"]".to_owned()));
        }
        let transport = match &settings.host {
            Some(host) => {
                let server = format!("{host}:{}", settings.port.unwrap_or(default_port(settings.tls)));
                Transport::Smtp(server, smtp(channel, host, settings)?)
            }
            None => Transport::Sendmail(sendmail(settings, &to)),
        };
        Ok(Self { channel: channel.to_owned(), from: mailbox(&settings.from)?, to, transport })
    }

    /// Checks the sendmail program, if the channel uses one.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.transport {
            Transport::Smtp(..) => Ok(()),
            Transport::Sendmail(program) => program.check(Stage::Notify),
        }
    }

    /// Returns the mail for a notice.
    pub(crate) fn message(&self, notice: &Notice) -> Result<Message> {
        let builder = self.to.iter().cloned().fold(Message::builder().from(self.from.clone()), MessageBuilder::to);
        // A vacation responder does not answer such mail.
        let builder = builder.subject(&notice.title).header(AutoSubmitted).header(ContentType::TEXT_PLAIN);
        builder.body(notice.body() + "\n").map_err(|error| {
            Error::new(Stage::Notify, Kind::Failed, &self.channel, "cannot write the mail").because(error)
        })
    }

    pub(crate) async fn send(&self, notice: &Notice) -> Result<()> {
        let message = self.message(notice)?;
        match &self.transport {
            Transport::Smtp(server, transport) => {
                let failed = |kind, reason: &str| {
                    Error::new(Stage::Notify, kind, &self.channel, format!("{server}: the mail was not sent{reason}"))
                };
                match timeout(TIMEOUT, transport.send(message)).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) if error.is_permanent() => Err(failed(Kind::Failed, "").because(error)),
                    Ok(Err(error)) => Err(failed(Kind::Unavailable, "").because(error)),
                    Err(_) => {
                        let reason = format!(": no answer within {} s", TIMEOUT.as_secs());
                        Err(failed(Kind::Unavailable, &reason)
                            .hint("check host, port and tls: with tls = \"tls\", usually port 465, the server expects TLS at once"))
                    }
                }
            }
            Transport::Sendmail(program) => {
                let ending = program.run(Stage::Notify, &[], &message.formatted()).await?;
                if ending.status.success() { Ok(()) } else { Err(ending.error(Stage::Notify, program)) }
            }
        }
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("channel", &self.channel).finish_non_exhaustive()
    }
}

/// Returns the usual port.
fn default_port(tls: Encryption) -> u16 {
    match tls {
        Encryption::Starttls => 587,
        Encryption::Tls => 465,
        Encryption::None => 25,
    }
}

fn smtp(channel: &str, host: &str, settings: &Mail) -> Result<AsyncSmtpTransport<Tokio1Executor>> {
    let parameters = || {
        client::TlsParameters::new(host.to_owned()).map_err(|error| {
            Error::new(Stage::Notify, Kind::Usage, channel, "cannot prepare TLS for the host").because(error)
        })
    };
    let port = default_port(settings.tls);
    let tls = match settings.tls {
        Encryption::Starttls => client::Tls::Required(parameters()?),
        Encryption::Tls => client::Tls::Wrapper(parameters()?),
        Encryption::None => client::Tls::None,
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host);
    builder = builder.port(settings.port.unwrap_or(port)).tls(tls).timeout(Some(SERVER_TIMEOUT));
    match (&settings.user, &settings.password_file) {
        (None, None) => {}
        (Some(_), Some(_)) if settings.tls == Encryption::None => {
            let message = "the password would be sent without encryption";
            return Err(Error::new(Stage::Notify, Kind::Refused, channel, message)
                .hint("set tls = \"starttls\" or tls = \"tls\""));
        }
        (Some(user), Some(file)) => {
            let password = read_secret(file)?;
            builder = builder.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()));
        }
        (Some(_), None) | (None, Some(_)) => {
            let message = "user and password_file belong together: set both, or none";
            return Err(Error::new(Stage::Notify, Kind::Usage, channel, message));
        }
    }
    Ok(builder.build())
}

fn sendmail(settings: &Mail, to: &[Mailbox]) -> Program {
    // A single dot in the text does not end it.
    let arguments = [settings.sendmail.clone(), "-i".to_owned(), "--".to_owned()];
    let argv = arguments.into_iter().chain(to.iter().map(|mailbox| mailbox.email.to_string())).collect();
    Program { argv, dir: None, env: BTreeMap::new(), timeout: TIMEOUT }
}

/// The header of mail that a program sends by itself (RFC 3834).
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> std::result::Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}
