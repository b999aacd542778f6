//! The start of a session on a connected socket, up to the first command.

use bytes::BytesMut;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

use crate::authentication::{Authentication, Encryption};
use crate::connection::{Connection, unexpected};
use crate::error::{Error, Result};
use crate::parameters::{Host, Parameters};
use crate::socket::Socket;
use crate::tls;

/// Starts a session for replication commands. `label` names the server in errors.
pub(crate) async fn start(socket: Socket, parameters: &Parameters, host: &Host, label: &str) -> Result<Connection> {
    let encryption = encryption(&socket);
    let mut connection = Connection::new(socket);
    connection.send(&startup_message(parameters)?).await?;
    Authentication::new(parameters, host, label, encryption).run(&mut connection).await?;
    loop {
        match connection.receive().await? {
            Message::BackendKeyData(body) => connection.facts_mut().process_id = body.process_id(),
            Message::ReadyForQuery(_) => return Ok(connection),
            _ => return Err(unexpected("start of the session")),
        }
    }
}

fn startup_message(parameters: &Parameters) -> Result<BytesMut> {
    let mut settings = vec![
        ("user", parameters.user.as_str()),
        // Physical replication: no database, and no SQL.
        ("replication", "true"),
        ("application_name", parameters.application_name.as_str()),
    ];
    if !parameters.options.is_empty() {
        settings.push(("options", parameters.options.as_str()));
    }
    let mut message = BytesMut::new();
    frontend::startup_message(settings, &mut message).map_err(|_| Error::Argument {
        subject: "connection parameters".to_owned(),
        message: "a value contains a zero byte".to_owned(),
    })?;
    Ok(message)
}

fn encryption(socket: &Socket) -> Encryption {
    match socket {
        Socket::Tcp(_) | Socket::Unix(_) => Encryption::None,
        Socket::Tls(stream) => {
            let (_, session) = stream.get_ref();
            let certificate = session.peer_certificates().and_then(|chain| chain.first());
            Encryption::Tls { endpoint_hash: certificate.and_then(|certificate| tls::endpoint_hash(certificate)) }
        }
    }
}
