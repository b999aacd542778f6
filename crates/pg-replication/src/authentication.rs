//! The client's side of authentication: passwords in clear text and as MD5, SCRAM-SHA-256 with and
//! without channel binding, and none (trust, peer, certificates).
//!
//! Source: `fe-auth.c` and `fe-auth-scram.c`.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use secrecy::ExposeSecret;

use crate::connection::{Connection, unexpected};
use crate::error::{Error, Result};
use crate::parameters::{AuthenticationMethod, ChannelBinding, Host, Parameters};

/// The names of SASL's mechanism for OAuth.
const OAUTH: &str = "OAUTHBEARER";

/// The client's part in an authentication.
pub(crate) struct Authentication<'a> {
    parameters: &'a Parameters,
    host: &'a Host,
    /// The name of the server in errors.
    label: &'a str,
    encryption: Encryption,
    progress: Progress,
}

/// The encryption of the connection, as channel binding needs it.
pub(crate) enum Encryption {
    /// The connection does not use TLS.
    None,
    /// The connection uses TLS. The hash is that of the server's certificate, if it is defined.
    Tls {
        /// The data of `tls-server-end-point`.
        endpoint_hash: Option<Vec<u8>>,
    },
}

/// The state of an authentication.
enum Progress {
    /// The server has not asked yet.
    NotAsked,
    /// The server checks a password.
    PasswordSent,
    /// The exchange of SCRAM has begun.
    Scram(Box<ScramSha256>, Binding),
    /// The server has proved that it knows the password.
    ScramDone(Binding),
}

/// The binding of an exchange to the TLS connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Binding {
    Bound,
    Unbound,
}

impl<'a> Authentication<'a> {
    pub(crate) fn new(parameters: &'a Parameters, host: &'a Host, label: &'a str, encryption: Encryption) -> Self {
        Self { parameters, host, label, encryption, progress: Progress::NotAsked }
    }

    /// Authenticates, up to the server's AuthenticationOk.
    pub(crate) async fn run(mut self, connection: &mut Connection) -> Result<()> {
        loop {
            let mut answer = BytesMut::new();
            match connection.receive().await? {
                Message::AuthenticationOk => return self.finish(),
                Message::AuthenticationCleartextPassword => {
                    self.permit(AuthenticationMethod::Password)?;
                    password_message(self.password()?.as_bytes(), &mut answer)?;
                    self.progress = Progress::PasswordSent;
                }
                Message::AuthenticationMd5Password(body) => {
                    self.permit(AuthenticationMethod::Md5)?;
                    let user = self.parameters.user.as_bytes();
                    let hash = md5_hash(user, self.password()?.as_bytes(), body.salt());
                    password_message(hash.as_bytes(), &mut answer)?;
                    self.progress = Progress::PasswordSent;
                }
                Message::AuthenticationSasl(body) => self.begin_scram(&body, &mut answer)?,
                Message::AuthenticationSaslContinue(body) => {
                    let Progress::Scram(scram, _) = &mut self.progress else {
                        return Err(unexpected("authentication"));
                    };
                    scram.update(body.data()).map_err(|error| Error::authentication(format!("SCRAM: {error}")))?;
                    frontend::sasl_response(scram.message(), &mut answer).map_err(too_long)?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let Progress::Scram(scram, binding) = &mut self.progress else {
                        return Err(unexpected("authentication"));
                    };
                    scram
                        .finish(body.data())
                        .map_err(|_| Error::authentication("the server did not prove that it knows the password"))?;
                    self.progress = Progress::ScramDone(*binding);
                    continue;
                }
                Message::AuthenticationGss | Message::AuthenticationGssContinue(_) => {
                    return Err(unsupported("GSSAPI"));
                }
                Message::AuthenticationSspi => return Err(unsupported("SSPI")),
                Message::AuthenticationKerberosV5 => return Err(unsupported("Kerberos V5")),
                Message::AuthenticationScmCredential => return Err(unsupported("SCM credentials")),
                _ => return Err(unexpected("authentication")),
            }
            connection.send(&answer).await?;
        }
    }

    /// Begins SCRAM with the strongest mechanism that both sides support.
    fn begin_scram(&mut self, body: &AuthenticationSaslBody, answer: &mut BytesMut) -> Result<()> {
        let (mut plain, mut plus, mut others) = (false, false, Vec::new());
        let mut mechanisms = body.mechanisms();
        while let Some(mechanism) = mechanisms.next().map_err(|_| unexpected("authentication"))? {
            match mechanism {
                SCRAM_SHA_256 => plain = true,
                SCRAM_SHA_256_PLUS => plus = true,
                other => others.push(other.to_owned()),
            }
        }
        if !plain && !plus {
            let is_oauth = others.iter().any(|other| other == OAUTH);
            return Err(unsupported(if is_oauth { "OAuth" } else { "an unknown SASL mechanism" }));
        }
        self.permit(AuthenticationMethod::ScramSha256)?;
        let wants_binding = self.parameters.channel_binding != ChannelBinding::Disable;
        let (binding, data) = match &self.encryption {
            // A server that offers the mechanism on a connection without TLS is not PostgreSQL.
            Encryption::None if plus && !plain => return Err(unexpected("authentication")),
            Encryption::Tls { endpoint_hash: Some(hash) } if wants_binding && plus => {
                (Binding::Bound, sasl::ChannelBinding::tls_server_end_point(hash.clone()))
            }
            // The server compares this with its offer, so an attacker cannot remove the offer.
            Encryption::Tls { endpoint_hash: Some(_) } if wants_binding => {
                (Binding::Unbound, sasl::ChannelBinding::unrequested())
            }
            Encryption::Tls { .. } | Encryption::None => (Binding::Unbound, sasl::ChannelBinding::unsupported()),
        };
        if binding == Binding::Unbound {
            if self.parameters.channel_binding == ChannelBinding::Require {
                return Err(Error::authentication(match self.encryption {
                    Encryption::None => "channel_binding=require needs TLS",
                    Encryption::Tls { endpoint_hash: None } => {
                        "channel_binding=require: channel binding is not defined for the server's certificate"
                    }
                    Encryption::Tls { .. } => "channel_binding=require: the server does not offer channel binding",
                }));
            }
            if !plain {
                return Err(Error::authentication("the server demands channel binding, which the client cannot use"));
            }
        }
        let mechanism = if binding == Binding::Bound { SCRAM_SHA_256_PLUS } else { SCRAM_SHA_256 };
        let scram = ScramSha256::new(self.password()?.as_bytes(), data);
        frontend::sasl_initial_response(mechanism, scram.message(), answer).map_err(too_long)?;
        self.progress = Progress::Scram(Box::new(scram), binding);
        Ok(())
    }

    /// Checks that the client accepts a method, before it sends anything.
    fn permit(&self, method: AuthenticationMethod) -> Result<()> {
        if !matches!(self.progress, Progress::NotAsked) {
            return Err(unexpected("authentication"));
        }
        if !self.parameters.permitted_methods.permits(method) {
            return Err(Error::authentication(format!(
                "the server demands {}, which require_auth excludes",
                name(method)
            )));
        }
        if method != AuthenticationMethod::ScramSha256 && self.parameters.channel_binding == ChannelBinding::Require {
            let message = format!("channel_binding=require: the server demands {}, which has none", name(method));
            return Err(Error::authentication(message));
        }
        Ok(())
    }

    /// Checks that the server has accepted the client in a way that the client accepts.
    fn finish(&self) -> Result<()> {
        let none = AuthenticationMethod::None;
        match self.progress {
            Progress::NotAsked if !self.parameters.permitted_methods.permits(none) => {
                Err(Error::authentication("the server did not authenticate the client, which require_auth excludes"))
            }
            Progress::Scram(..) => Err(Error::authentication("the server did not prove that it knows the password")),
            Progress::NotAsked | Progress::PasswordSent | Progress::ScramDone(Binding::Unbound)
                if self.parameters.channel_binding == ChannelBinding::Require =>
            {
                Err(Error::authentication("channel_binding=require: the server did not use channel binding"))
            }
            Progress::NotAsked | Progress::PasswordSent | Progress::ScramDone(_) => Ok(()),
        }
    }

    fn password(&self) -> Result<&'a str> {
        let missing = || Error::NoPassword { host: self.label.to_owned(), user: self.parameters.user.clone() };
        Ok(self.host.password.as_ref().ok_or_else(missing)?.secret.expose_secret())
    }
}

fn name(method: AuthenticationMethod) -> &'static str {
    match method {
        AuthenticationMethod::Password => "a password in clear text",
        AuthenticationMethod::Md5 => "an MD5 password",
        AuthenticationMethod::Gss => "GSSAPI",
        AuthenticationMethod::Sspi => "SSPI",
        AuthenticationMethod::ScramSha256 => "SCRAM-SHA-256",
        AuthenticationMethod::OAuth => "OAuth",
        AuthenticationMethod::None => "nothing",
    }
}

fn password_message(password: &[u8], answer: &mut BytesMut) -> Result<()> {
    frontend::password_message(password, answer).map_err(|_| Error::authentication("the password contains a zero byte"))
}

fn unsupported(method: &str) -> Error {
    Error::UnsupportedAuthentication { method: method.to_owned() }
}

fn too_long(_: std::io::Error) -> Error {
    Error::authentication("the answer is too long")
}
