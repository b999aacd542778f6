//! An authenticated connection: messages in both directions, and the results of simple queries.
//!
//! Memory is bounded: the connection holds at most one message and the bytes of one read of the
//! socket. A message longer than 1 MiB is an error. PostgreSQL sends archives in messages of 32
//! KiB, and reads no further from its disk than the client reads from the socket.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{DataRowBody, Header, Message};
use postgres_protocol::message::frontend;

use crate::error::{Error, Result};
use crate::notice::Notices;
use crate::server_error::ServerError;
use crate::socket::Socket;

/// The longest message that is accepted, without its tag.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// The spare capacity that a read of the socket can fill.
const READ_BYTES: usize = 128 * 1024;

/// The most rows of the result of a command: more tablespaces than any cluster has.
const ROWS: usize = 100_000;

/// The most bytes of the result of a command.
const RESULT_BYTES: usize = 4 << 20;

/// The tag of CopyBothResponse, which `postgres-protocol` does not know.
const COPY_BOTH_RESPONSE: u8 = b'W';

/// The time limit of a command with a small result.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);

/// A connection that accepts replication commands. Dropping it closes the socket; the server then
/// aborts the running command.
pub struct Connection {
    socket: Socket,
    received: BytesMut,
    notices: Notices,
    facts: ServerFacts,
}

/// Facts that a server reports when a session starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// The version, such as `17.12 (Debian 17.12-1.pgdg12+1)`.
    pub server_version: String,
    /// The number of the process that serves the connection, as in `pg_stat_replication`.
    pub process_id: i32,
    pub(crate) in_hot_standby: Option<String>,
    pub(crate) default_transaction_read_only: Option<String>,
}

/// The rows of a command: columns of text, or null.
pub(crate) type Rows = Vec<Vec<Option<Bytes>>>;

impl ServerFacts {
    /// Returns the major version, such as 17.
    pub fn major_version(&self) -> Option<u32> {
        let digits = self.server_version.split(|char: char| !char.is_ascii_digit()).next()?;
        digits.parse().ok()
    }
}

impl Connection {
    pub(crate) fn new(socket: Socket) -> Self {
        let (notices, facts) = (Notices::default(), ServerFacts::default());
        Self { socket, received: BytesMut::new(), notices, facts }
    }

    /// Returns the facts that the server reported.
    pub fn facts(&self) -> &ServerFacts {
        &self.facts
    }

    pub(crate) fn facts_mut(&mut self) -> &mut ServerFacts {
        &mut self.facts
    }

    /// Returns the notices since the connection was made.
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Returns true if the connection uses TLS.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.socket, Socket::Tls(_))
    }

    /// Ends the session in an orderly manner.
    pub async fn close(mut self) -> Result<()> {
        let mut message = BytesMut::new();
        frontend::terminate(&mut message);
        self.send(&message).await?;
        match self.socket.shutdown().await {
            // The server may have closed its side already.
            Err(error) if !is_closed(&error) => Err(lost(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Sends messages. If the server has closed the connection, the error is the reason that the
    /// server sent, if there is one.
    pub(crate) async fn send(&mut self, messages: &[u8]) -> Result<()> {
        match self.write_all(messages).await {
            Ok(()) => Ok(()),
            Err(source) => loop {
                match self.receive().await {
                    Err(error @ Error::Server(_)) => break Err(error),
                    Err(_) => break Err(lost(source)),
                    Ok(_) => {}
                }
            },
        }
    }

    async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.socket.write(bytes).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(count..).unwrap_or_default();
        }
        self.socket.flush().await
    }

    /// Receives the next message. Notices and changes of settings are recorded instead of returned,
    /// and an ErrorResponse is an error. If the future is dropped, no byte is lost.
    pub(crate) async fn receive(&mut self) -> Result<Message> {
        loop {
            self.receive_whole().await?;
            if let Some(message) = self.parse()? {
                return Ok(message);
            }
        }
    }

    /// Receives the answer to a command that copies in both directions. Returns `None` for
    /// CopyBothResponse, and the message if the server answers with another one.
    pub(crate) async fn receive_copy_both(&mut self) -> Result<Option<Message>> {
        loop {
            let header = self.receive_whole().await?;
            if header.tag() == COPY_BOTH_RESPONSE {
                self.received.advance(1 + usize::try_from(header.len()).unwrap_or_default());
                return Ok(None);
            }
            if let Some(message) = self.parse()? {
                return Ok(Some(message));
            }
        }
    }

    /// Removes the next message, which was received whole. Returns `None` if it was recorded, and
    /// an ErrorResponse as an error.
    fn parse(&mut self) -> Result<Option<Message>> {
        match Message::parse(&mut self.received).map_err(malformed)? {
            Some(Message::NoticeResponse(body)) => self.notices.add(ServerError::decode(body.fields())),
            Some(Message::ParameterStatus(body)) => {
                let (name, value) = body.name().and_then(|name| Ok((name, body.value()?))).map_err(malformed)?;
                self.facts.record(name, value);
            }
            Some(Message::ErrorResponse(body)) => {
                return Err(Error::Server(Box::new(ServerError::decode(body.fields()))));
            }
            Some(Message::NotificationResponse(_)) | None => {}
            message => return Ok(message),
        }
        Ok(None)
    }

    /// Receives until the next message is whole, and returns its header.
    async fn receive_whole(&mut self) -> Result<Header> {
        loop {
            if let Some(header) = Header::parse(&self.received).map_err(malformed)? {
                let length = usize::try_from(header.len()).unwrap_or(usize::MAX);
                if length > MESSAGE_BYTES {
                    let message = format!("{length} bytes, more than the limit of {MESSAGE_BYTES}");
                    return Err(Error::protocol(format!("message {:?}", char::from(header.tag())), message));
                }
                if self.received.len() > length {
                    return Ok(header);
                }
                // The tag is not part of the length.
                self.received.reserve(1 + length - self.received.len());
            }
            if self.received.capacity() - self.received.len() < READ_BYTES / 4 {
                self.received.reserve(READ_BYTES);
            }
            if self.socket.read(&mut self.received).await.map_err(lost)? == 0 {
                return Err(lost(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Sends a command.
    pub(crate) async fn send_command(&mut self, command: &str) -> Result<()> {
        let mut message = BytesMut::new();
        frontend::query(command, &mut message).map_err(|_| Error::Argument {
            subject: "command".to_owned(),
            message: "an argument contains a zero byte".to_owned(),
        })?;
        self.send(&message).await
    }

    /// Runs a command and returns the rows of its results. After an error of the server, the
    /// connection can be used further, unless the error ends it.
    pub(crate) async fn query(&mut self, command: &str) -> Result<Rows> {
        let result = tokio::time::timeout(COMMAND_TIMEOUT, self.run(command)).await;
        result.unwrap_or_else(|_| Err(lost(io::ErrorKind::TimedOut.into())))
    }

    async fn run(&mut self, command: &str) -> Result<Rows> {
        self.send_command(command).await?;
        let rows = self.receive_rows().await;
        let rows = self.settle(rows).await?;
        match self.receive().await? {
            Message::ReadyForQuery(_) => Ok(rows),
            _ => Err(unexpected("result of a command")),
        }
    }

    /// Receives the rows of one result, up to its CommandComplete.
    pub(crate) async fn receive_rows(&mut self) -> Result<Rows> {
        let (mut rows, mut result_bytes) = (Rows::new(), 0_usize);
        loop {
            match self.receive().await? {
                Message::RowDescription(_) => {}
                Message::DataRow(row) if rows.len() < ROWS => {
                    result_bytes = result_bytes.saturating_add(row.buffer_bytes().len());
                    if result_bytes > RESULT_BYTES {
                        return Err(Error::protocol("result of a command", format!("more than {RESULT_BYTES} bytes")));
                    }
                    rows.push(columns(&row)?);
                }
                Message::CommandComplete(_) => return Ok(rows),
                _ => return Err(unexpected("result of a command")),
            }
        }
    }

    /// After an error of the server, waits until the server accepts the next command.
    pub(crate) async fn settle<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(Error::Server(error)) = &result
            && !error.ends_connection()
        {
            while !matches!(self.receive().await, Ok(Message::ReadyForQuery(_)) | Err(_)) {}
        }
        result
    }
}

impl fmt::Debug for Connection {
    /// Prints no data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("facts", &self.facts).field("notices", &self.notices).finish_non_exhaustive()
    }
}

impl ServerFacts {
    /// Records a setting that the server reports.
    fn record(&mut self, name: &str, value: &str) {
        match name {
            "server_version" => value.clone_into(&mut self.server_version),
            "in_hot_standby" => self.in_hot_standby = Some(value.to_owned()),
            "default_transaction_read_only" => self.default_transaction_read_only = Some(value.to_owned()),
            _ => {}
        }
    }
}

/// Returns the columns of a row.
pub(crate) fn columns(row: &DataRowBody) -> Result<Vec<Option<Bytes>>> {
    let buffer = row.buffer_bytes();
    let column = |range: Option<std::ops::Range<usize>>| match range {
        // A slice would keep the whole buffer of a read.
        Some(range) => match buffer.get(range) {
            Some(value) => Ok(Some(Bytes::copy_from_slice(value))),
            None => Err(io::ErrorKind::InvalidData.into()),
        },
        None => Ok(None),
    };
    row.ranges().map(column).collect().map_err(malformed)
}

/// Returns the error of a message that does not belong at its place.
pub(crate) fn unexpected(subject: &str) -> Error {
    Error::protocol(subject, "the server sent a message that does not belong here")
}

/// Returns true if the error means that the other side has closed the connection.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::NotConnected | Kind::BrokenPipe | Kind::ConnectionReset)
}

fn malformed(error: io::Error) -> Error {
    Error::protocol("message", format!("cannot be decoded: {error}"))
}

pub(crate) fn lost(source: io::Error) -> Error {
    Error::Lost { source }
}
