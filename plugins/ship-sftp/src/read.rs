//! Reads a file, or a range of it.

use std::io::SeekFrom;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt};
use longshore_core::key::Key;
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};
use openssh_sftp_client::Error as ClientError;
use openssh_sftp_client::file::File;
use tokio::io::AsyncSeek;

use crate::failure;
use crate::root_dir::RootDir;
use crate::session::Session;

/// The maximum number of concurrent reads: enough to keep a distant host busy.
const READS_IN_FLIGHT: usize = 16;

/// The size of one read in bytes: the maximum of OpenSSH's server. Partial reads are continued.
const REQUEST_BYTES: usize = 255 * 1024;

/// Opens a file. Fails if the file does not contain the whole range.
pub(crate) async fn open(root: &RootDir, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
    let session = root.checked_session().await?;
    let path = root.path(key.as_str());
    let size = size(root, &session, &path).await?;
    let Range { start, end } = range.unwrap_or(0..size);
    if start > end || end > size {
        let message = format!("has {size} bytes, but bytes {start} to {end} were requested");
        let error = Error::new(Stage::Ship, Kind::Corrupt, root.subject(&path), message);
        return Err(error.hint("the file was truncated: run `longshore verify` to find damaged backups"));
    }
    let file = match session.sftp().options().read(true).open(&path).await {
        Ok(file) => file,
        Err(error) if failure::is_not_found(&error) => return Err(not_found(root, &path)),
        Err(error) => return Err(root.failure(&session, &path, "cannot open the file", error).await),
    };
    let offsets = (start..end).step_by(REQUEST_BYTES);
    let reads = offsets.map(move |offset| read(file.clone(), offset, (end - offset).min(REQUEST_BYTES as u64)));
    let root = root.clone();
    let chunks = stream::iter(reads).buffered(READS_IN_FLIGHT).then(move |chunk| {
        let (root, session, path) = (root.clone(), session.clone(), path.clone());
        async move {
            match chunk {
                Ok(Some(chunk)) => Ok(chunk),
                Ok(None) => {
                    let message = "ended before the requested range";
                    Err(Error::new(Stage::Ship, Kind::Corrupt, root.subject(&path), message))
                }
                Err(error) => Err(root.failure(&session, &path, "cannot read the file to its end", error).await),
            }
        }
    });
    Ok(fuse_on_error(chunks.boxed()))
}

/// Returns the size of a file in bytes. Symbolic links are not followed, as they are not listed;
/// and pipes do not block.
pub(crate) async fn size(root: &RootDir, session: &Arc<Session>, path: &Path) -> Result<u64> {
    match session.fs().symlink_metadata(path).await {
        Ok(metadata) if metadata.file_type().is_some_and(|kind| kind.is_file()) => {
            Ok(metadata.len().unwrap_or_default())
        }
        Ok(_) => Err(not_found(root, path)),
        Err(error) if failure::is_not_found(&error) => Err(not_found(root, path)),
        Err(error) => Err(root.failure(session, path, "cannot inspect the file", error).await),
    }
}

fn not_found(root: &RootDir, path: &Path) -> Error {
    let error = Error::new(Stage::Ship, Kind::NotFound, root.subject(path), "not found");
    error.hint("run `longshore list` to see the backups")
}

/// Ends a stream after its first error.
fn fuse_on_error(mut chunks: ByteStream) -> ByteStream {
    let fuse_on_error = async_stream::try_stream! {
        while let Some(chunk) = chunks.next().await {
            yield chunk?;
        }
    };
    fuse_on_error.boxed()
}

/// Reads `length` bytes at an offset of a file, in several reads if necessary; returns nothing if
/// the file ends before.
async fn read(mut file: File, offset: u64, length: u64) -> Result<Option<Bytes>, ClientError> {
    let mut all = BytesMut::new();
    while (all.len() as u64) < length {
        Pin::new(&mut file).start_seek(SeekFrom::Start(offset + all.len() as u64))?;
        let rest = u32::try_from(length - all.len() as u64).unwrap_or(u32::MAX);
        match file.read(rest, BytesMut::new()).await? {
            Some(part) if !part.is_empty() => match all.is_empty() {
                true => all = part,
                false => all.extend_from_slice(&part),
            },
            _ => return Ok(None),
        }
    }
    Ok(Some(all.freeze()))
}
