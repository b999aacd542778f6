//! A temporary file for the manifest of a backup, whose size must be known before its first byte is
//! written to the tar. The manifest of a million files has 140 MB.

use std::fs::File;
use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use longshore_core::stream::CHUNK_BYTES;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

/// A file without a name, which the system removes when it is closed.
#[derive(Debug)]
pub(crate) struct Spool {
    file: tokio::fs::File,
    bytes: u64,
}

impl Spool {
    /// Creates an empty file in `dir`, or in the system's temporary folder.
    pub(crate) fn create(dir: Option<&Path>) -> io::Result<Self> {
        let file: File = dir.map_or_else(tempfile::tempfile, tempfile::tempfile_in)?;
        Ok(Self { file: tokio::fs::File::from_std(file), bytes: 0 })
    }

    /// Appends bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Ends the writing, and returns the number of bytes. [`Spool::read`] then begins with the
    /// first byte.
    pub(crate) async fn rewind(&mut self) -> io::Result<u64> {
        self.file.flush().await?;
        self.file.rewind().await?;
        Ok(self.bytes)
    }

    /// Returns the file, without the positions of reads and writes.
    pub(crate) async fn into_file(self) -> File {
        self.file.into_std().await
    }

    /// Returns the next bytes; none at the end.
    pub(crate) async fn read(&mut self) -> io::Result<Bytes> {
        let mut bytes = BytesMut::with_capacity(CHUNK_BYTES);
        self.file.read_buf(&mut bytes).await?;
        Ok(bytes.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn spool_returns_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(Some(dir.path())).unwrap();
        let written: Vec<u8> = (0..3 * CHUNK_BYTES + 7).map(|at| (at % 251) as u8).collect();
        for piece in written.chunks(32_000) {
            spool.write(piece).await.unwrap();
        }
        assert_eq!(spool.rewind().await.unwrap(), written.len() as u64);
        let mut read = Vec::new();
        loop {
            let piece = spool.read().await.unwrap();
            if piece.is_empty() {
                break;
            }
            read.extend_from_slice(&piece);
        }
        assert!(read == written);
        assert_eq!(spool.into_file().await.metadata().unwrap().len(), written.len() as u64);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
    }
}
