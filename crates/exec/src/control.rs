//! Messages as lines of JSON on descriptor 3.

use std::io;
use std::time::Duration;

use longshore_core::error::printable;
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::message::FromProgram;

/// The maximum length of a line in bytes.
pub(crate) const MAX_LINE_BYTES: usize = 64 << 10;
/// The time that a program may take to read a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// The number of bytes of an invalid line that an error shows.
const SHOWN_BYTES: usize = 80;

/// The end of the socket in this process.
#[derive(Debug)]
pub(crate) struct Control {
    socket: UnixStream,
    received: Vec<u8>,
    /// True if the program has closed its end.
    pub(crate) is_closed: bool,
}

impl Control {
    /// Returns the socket, and the end for the program.
    pub(crate) fn pair() -> io::Result<(Self, std::os::unix::net::UnixStream)> {
        let (own, other) = std::os::unix::net::UnixStream::pair()?;
        own.set_nonblocking(true)?;
        Ok((Self { socket: UnixStream::from_std(own)?, received: Vec::new(), is_closed: false }, other))
    }

    /// Sends a message, or returns the reason why the program does not receive it.
    pub(crate) async fn send(&mut self, message: &impl Serialize) -> Result<(), String> {
        let mut line = serde_json::to_vec(message).map_err(|error| format!("cannot write a message: {error}"))?;
        line.push(b'\n');
        match timeout(SEND_TIMEOUT, self.socket.write_all(&line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("closed descriptor 3".to_owned()),
            Err(_) => Err(format!("read no message within {} s", SEND_TIMEOUT.as_secs())),
        }
    }

    /// Returns the next message, or `None` at the end. Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<FromProgram>, String> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                return parse(&line[..end]).map(Some);
            }
            if self.received.len() > MAX_LINE_BYTES {
                return Err(format!("sent a line of more than {MAX_LINE_BYTES} bytes on descriptor 3"));
            }
            if self.is_closed {
                return if self.received.is_empty() {
                    Ok(None)
                } else {
                    Err("closed descriptor 3 within a line".to_owned())
                };
            }
            // A socket that cannot be read any more is closed.
            if self.socket.readable().await.is_err() {
                self.is_closed = true;
                continue;
            }
            let mut buffer = [0; 8192];
            match self.socket.try_read(&mut buffer) {
                Ok(0) => self.is_closed = true,
                Ok(read) => self.received.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.is_closed = true,
            }
        }
    }
}

fn parse(line: &[u8]) -> Result<FromProgram, String> {
    serde_json::from_slice(line).map_err(|error| {
        let shown = &line[..line.len().min(SHOWN_BYTES)];
        let shown = printable(&String::from_utf8_lossy(shown));
        format!("sent an invalid message on descriptor 3: {error}: {shown}")
    })
}
