//! Reads a file, or a range of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use longshore_core::stream::{ByteStream, CHUNK_BYTES};
use longshore_core::{Error, Kind, Result, Stage};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::root_dir::failure;
use crate::{blocking, is_not_found};

/// Returns the size of the file at `path`, in bytes. Fails if it is no regular file.
pub(crate) fn size(path: &Path) -> Result<u64> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => Ok(metadata.len()),
        Ok(_) => Err(not_found(path)),
        Err(error) if is_not_found(&error) => Err(not_found(path)),
        Err(error) => Err(failure(path, "cannot inspect the file", error)),
    }
}

fn not_found(path: &Path) -> Error {
    Error::new(Stage::Ship, Kind::NotFound, path.display().to_string(), "not found")
        .hint("run `longshore list` to see the backups")
}

/// A file that is being read.
pub(crate) struct FileReader {
    file: File,
    path: PathBuf,
    /// The bytes read when the file was opened: all bytes of a manifest.
    first_chunk: Option<Bytes>,
    remaining_bytes: u64,
}

impl FileReader {
    /// Opens the file at `path`, and reads its start. Fails if the file does not contain the whole
    /// range.
    pub(crate) fn open(path: PathBuf, range: Option<Range<u64>>) -> Result<Self> {
        let subject = path.display().to_string();
        let open_error = |error: io::Error| failure(&path, "cannot open the file", error);
        // Symbolic links are not followed, as they are not listed; and pipes do not block.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if is_not_found(&error) || error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return Err(not_found(&path));
            }
            Err(error) => return Err(open_error(error)),
        };
        let metadata = file.metadata().map_err(open_error)?;
        if !metadata.is_file() {
            return Err(not_found(&path));
        }
        let Range { start, end } = range.unwrap_or(0..metadata.len());
        if start > end || end > metadata.len() {
            let message = format!("has {} bytes, but bytes {start} to {end} were requested", metadata.len());
            let error = Error::new(Stage::Ship, Kind::Corrupt, subject, message);
            return Err(error.hint("the file was truncated: run `longshore verify` to find damaged backups"));
        }
        if start > 0 {
            file.seek(SeekFrom::Start(start)).map_err(open_error)?;
        }
        let mut reader = Self { file, path, first_chunk: None, remaining_bytes: end - start };
        if reader.remaining_bytes > 0 {
            reader.first_chunk = Some(reader.read_chunk()?);
        }
        Ok(reader)
    }

    /// Returns the bytes in chunks. A file that is truncated while it is read ends in an error.
    pub(crate) fn into_stream(self) -> ByteStream {
        let chunks = stream::try_unfold(self, |mut reader| async move {
            match (reader.first_chunk.take(), reader.remaining_bytes) {
                (Some(chunk), _) => Ok(Some((chunk, reader))),
                (None, 0) => Ok(None),
                (None, _) => blocking(move || Ok(Some((reader.read_chunk()?, reader)))).await,
            }
        });
        chunks.boxed()
    }

    fn read_chunk(&mut self) -> Result<Bytes> {
        let length = self.remaining_bytes.min(CHUNK_BYTES as u64) as usize;
        let mut chunk = vec![0; length];
        self.file
            .read_exact(&mut chunk)
            .map_err(|error| failure(&self.path, "cannot read the file to its end", error))?;
        self.remaining_bytes -= length as u64;
        Ok(chunk.into())
    }
}
