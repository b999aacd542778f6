//! Reads of a file, or of a range of it.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use longshore_core::key::Key;
use longshore_core::stream::{ByteStream, CHUNK_BYTES};
use longshore_core::{Error, Kind, Result};
use openssh::ChildStdout;
use tokio::io::AsyncReadExt;

use super::errand::Script;
use super::{Directory, Place, failure};
use crate::running::Running;

/// The maximum length of the line with the size, in bytes.
const SIZE_BYTES: usize = 24;

/// Opens a file. Fails if the file does not contain the whole range.
pub(super) async fn begin(directory: &Directory, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
    let Place { name, .. } = Place::of(key);
    let asked =
        range.as_ref().map(|range| (range.end.saturating_sub(range.start).to_string(), (range.start + 1).to_string()));
    let (length, from) = asked.unwrap_or_default();
    let mut running = directory.stream(Script::Fetch, &[&name, &length, &from]).await?;
    // An SFTP server without a shell would wait for input.
    running.stdin = None;
    let Some(mut stdout) = running.stdout.take() else {
        return Err(failure::lost(directory.host.name()));
    };
    let Some(size) = first_line(&mut stdout).await else {
        let ended = running.wait().await?;
        return Err(match ended.code {
            0 => directory.no_shell(&ended.said),
            _ => directory.failure(&ended, Some(&name.as_str())),
        });
    };
    let Range { start, end } = range.unwrap_or(0..size);
    if start > end || end > size {
        let error =
            directory.error(Kind::Corrupt, &format!("has {size} bytes, but bytes {start} to {end} were requested"));
        let hint = "the file was truncated: run `longshore verify` to find damaged backups";
        return Err(error.about(directory.subject(&name)).hint(hint));
    }
    Ok(stream(directory.clone(), name, running, stdout, end - start))
}

/// Parses the number on the first line.
async fn first_line(stdout: &mut ChildStdout) -> Option<u64> {
    let mut line = String::new();
    while line.len() < SIZE_BYTES {
        match stdout.read_u8().await.ok()? {
            b'\n' => return line.parse().ok(),
            byte => line.push(char::from(byte)),
        }
    }
    None
}

/// Returns a stream of `left` bytes, which fails if the file ends early.
fn stream(directory: Directory, name: String, running: Running, mut stdout: ChildStdout, mut left: u64) -> ByteStream {
    let bytes = async_stream::try_stream! {
        while left > 0 {
            let chunk = chunk(&mut stdout, left).await.map_err(|error| failure::lost(directory.host.name()).because(error))?;
            if chunk.is_empty() {
                break;
            }
            left -= chunk.len() as u64;
            yield chunk;
        }
        let ended = running.wait().await?;
        if left > 0 && ended.code == 0 {
            let error = directory.error(Kind::Corrupt, &format!("ended {left} bytes early"));
            Err(error.about(directory.subject(&name)))?;
        }
        if left > 0 {
            Err::<(), Error>(directory.failure(&ended, Some(&name.as_str())))?;
        }
    };
    bytes.boxed()
}

/// Returns the next chunk, which is full unless the file ends.
async fn chunk(stdout: &mut ChildStdout, left: u64) -> std::io::Result<Bytes> {
    let length = left.min(CHUNK_BYTES as u64) as usize;
    let mut chunk = BytesMut::with_capacity(length);
    while chunk.len() < length {
        let rest = (length - chunk.len()) as u64;
        if (&mut *stdout).take(rest).read_buf(&mut chunk).await? == 0 {
            break;
        }
    }
    Ok(chunk.freeze())
}
