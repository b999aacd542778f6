//! The manifest of the previous backup, for an incremental one. PostgreSQL 17 and newer.

use bytes::BytesMut;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend::{self, CopyData};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::connection::{Connection, unexpected};
use crate::error::{Error, Result};

const SUBJECT: &str = "UPLOAD_MANIFEST";

/// The first major version with incremental backups.
const FIRST_MAJOR_VERSION: u32 = 17;

/// The size of the messages.
const CHUNK_BYTES: usize = 64 * 1024;

impl Connection {
    /// Uploads the manifest of a backup. The next base backup of this connection can then be an
    /// incremental one.
    ///
    /// # Errors
    /// [`Error::Read`] if the manifest cannot be read; the server then ignores the received part.
    /// [`Error::Argument`] if the server is older than PostgreSQL 17.
    pub async fn upload_manifest(&mut self, mut manifest: impl AsyncRead + Unpin) -> Result<()> {
        require_incremental(self)?;
        self.send_command(SUBJECT).await?;
        let answer = self.receive().await;
        let Message::CopyInResponse(_) = self.settle(answer).await? else { return Err(unexpected(SUBJECT)) };
        let read = self.send_copy(&mut manifest).await?;
        let confirmed = self.receive_rows().await;
        let confirmed = self.settle(confirmed).await;
        if let Err(source) = read {
            return Err(Error::Read { source });
        }
        confirmed?;
        match self.receive().await? {
            Message::ReadyForQuery(_) => Ok(()),
            _ => Err(unexpected(SUBJECT)),
        }
    }

    /// Sends the manifest, or the message that it cannot be read.
    async fn send_copy(&mut self, manifest: &mut (impl AsyncRead + Unpin)) -> Result<std::io::Result<()>> {
        let (mut chunk, mut message) = (vec![0; CHUNK_BYTES], BytesMut::new());
        loop {
            message.clear();
            let read = manifest.read(&mut chunk).await;
            let encoded = match &read {
                Ok(0) => {
                    frontend::copy_done(&mut message);
                    Ok(())
                }
                Ok(length) => {
                    CopyData::new(chunk.get(..*length).unwrap_or_default()).map(|data| data.write(&mut message))
                }
                Err(_) => frontend::copy_fail("the manifest cannot be read", &mut message),
            };
            encoded.map_err(|error| Error::protocol(SUBJECT, error.to_string()))?;
            self.send(&message).await?;
            match read {
                Ok(0) => return Ok(Ok(())),
                Ok(_) => {}
                Err(source) => return Ok(Err(source)),
            }
        }
    }
}

/// Fails if the server has no incremental backups.
pub(super) fn require_incremental(connection: &Connection) -> Result<()> {
    match connection.facts().major_version() {
        Some(version) if version >= FIRST_MAJOR_VERSION => Ok(()),
        _ => Err(Error::Argument {
            subject: "incremental base backup".to_owned(),
            message: format!("PostgreSQL {:?} is older than 17", connection.facts().server_version),
        }),
    }
}
