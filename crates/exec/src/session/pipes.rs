//! Reads and writes of pipes that can be cancelled without a loss.

use bytes::{Bytes, BytesMut};
use longshore_core::stream::CHUNK_BYTES;
use tokio::io;
use tokio::net::unix::pipe::{Receiver, Sender};

/// The minimum size of the buffer for a read, in bytes.
const MIN_READ_BYTES: usize = 64 << 10;

/// Reads the next output. Without output, waits for ever. Cancelling loses nothing.
pub(super) async fn read_output(stdout: Option<&Receiver>, buffer: &mut BytesMut) -> io::Result<usize> {
    let Some(stdout) = stdout else { return std::future::pending().await };
    loop {
        stdout.readable().await?;
        // Small outputs share one allocation.
        if buffer.capacity() - buffer.len() < MIN_READ_BYTES {
            buffer.reserve(CHUNK_BYTES);
        }
        while buffer.len() < CHUNK_BYTES {
            match stdout.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(0) | Err(_) if !buffer.is_empty() => break,
                Ok(0) => return Ok(0),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
            if buffer.capacity() == buffer.len() {
                break;
            }
        }
        if !buffer.is_empty() {
            return Ok(buffer.len());
        }
    }
}

/// Writes a part of the input. Without one, waits for ever. Cancelling loses nothing.
pub(super) async fn write_input(stdin: Option<&Sender>, unsent: &Bytes) -> io::Result<usize> {
    let Some(stdin) = stdin.filter(|_| !unsent.is_empty()) else { return std::future::pending().await };
    loop {
        stdin.writable().await?;
        match stdin.try_write(unsent) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return written,
        }
    }
}
