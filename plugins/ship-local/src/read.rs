//! Reads a file, or a range of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use longshore_core::stream::{ByteStream, CHUNK_BYTES, too_large};
use longshore_core::{Error, Kind, Result, Stage};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::root::failure;
use crate::{absent, blocking};

/// A file that is being read.
pub(crate) struct Reading {
    file: File,
    path: PathBuf,
    /// The bytes read when the file was opened: all bytes of a manifest.
    ahead: Option<Bytes>,
    left: u64,
}

impl Reading {
    /// Opens the file at `path`, and reads its start. Fails if the file does not contain the whole
    /// range.
    pub(crate) fn begin(path: PathBuf, range: Option<Range<u64>>) -> Result<Self> {
        let subject = path.display().to_string();
        let nothing = || {
            Error::new(Stage::Ship, Kind::NotFound, &subject, "not found")
                .hint("run `longshore list` to see the backups")
        };
        let unread = |error: io::Error| failure(&path, "cannot open the file", error);
        // Symbolic links are not followed, as they are not listed; and pipes do not block.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if absent(&error) || error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return Err(nothing());
            }
            Err(error) => return Err(unread(error)),
        };
        let metadata = file.metadata().map_err(unread)?;
        if !metadata.is_file() {
            return Err(nothing());
        }
        let Range { start, end } = range.unwrap_or(0..metadata.len());
        if start > end || end > metadata.len() {
            let message = format!("has {} bytes, but bytes {start} to {end} were requested", metadata.len());
            let error = Error::new(Stage::Ship, Kind::Corrupt, subject, message);
            return Err(error.hint("the file was truncated: run `longshore verify` to find damaged backups"));
        }
        if start > 0 {
            file.seek(SeekFrom::Start(start)).map_err(unread)?;
        }
        let mut reading = Self { file, path, ahead: None, left: end - start };
        if reading.left > 0 {
            reading.ahead = Some(reading.chunk()?);
        }
        Ok(reading)
    }

    /// Returns the bytes in chunks. A file that is truncated while it is read ends in an error.
    pub(crate) fn stream(self) -> ByteStream {
        let chunks = stream::try_unfold(self, |mut reading| async move {
            match (reading.ahead.take(), reading.left) {
                (Some(chunk), _) => Ok(Some((chunk, reading))),
                (None, 0) => Ok(None),
                (None, _) => blocking(move || Ok(Some((reading.chunk()?, reading)))).await,
            }
        });
        chunks.boxed()
    }

    /// Returns all bytes, unless they are more than `max_bytes`.
    pub(crate) fn whole(mut self, max_bytes: usize) -> Result<Bytes> {
        let ahead = self.ahead.take().unwrap_or_default();
        if self.left.saturating_add(ahead.len() as u64) > max_bytes as u64 {
            return Err(too_large(max_bytes, Stage::Ship, &self.path.display().to_string()));
        }
        if self.left == 0 {
            return Ok(ahead);
        }
        let mut all = Vec::from(ahead);
        while self.left > 0 {
            all.extend_from_slice(&self.chunk()?);
        }
        Ok(all.into())
    }

    fn chunk(&mut self) -> Result<Bytes> {
        let length = self.left.min(CHUNK_BYTES as u64) as usize;
        let mut chunk = vec![0; length];
        self.file
            .read_exact(&mut chunk)
            .map_err(|error| failure(&self.path, "cannot read the file to its end", error))?;
        self.left -= length as u64;
        Ok(chunk.into())
    }
}
