//! Reads of a file, or of a range of it.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use longshore_core::key::Key;
use longshore_core::stream::{ByteStream, CHUNK_BYTES};
use longshore_core::{Error, Kind, Result};
use openssh::ChildStdout;
use tokio::io::AsyncReadExt;

use super::script::Script;
use super::{Directory, Location, failure};
use crate::process::Process;

/// The maximum length of the line with the size, in bytes.
const SIZE_BYTES: usize = 24;

/// Opens a file. Fails if the file does not contain the whole range.
pub(super) async fn open(directory: &Directory, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
    let Location { name, .. } = Location::of(key);
    let requested =
        range.as_ref().map(|range| (range.end.saturating_sub(range.start).to_string(), (range.start + 1).to_string()));
    let (length, from) = requested.unwrap_or_default();
    let mut process = directory.stream(Script::Fetch, &[&name, &length, &from]).await?;
    // An SFTP server without a shell would wait for input.
    process.stdin = None;
    let Some(mut stdout) = process.stdout.take() else {
        return Err(failure::connection_lost(directory.host.name()));
    };
    let Some(size) = read_size(&mut stdout).await else {
        let exit = process.wait().await?;
        return Err(match exit.code {
            0 => directory.no_shell(&exit.stderr),
            _ => directory.exit_error(&exit, Some(&name.as_str())),
        });
    };
    let Range { start, end } = range.unwrap_or(0..size);
    if start > end || end > size {
        let error =
            directory.error(Kind::Corrupt, &format!("has {size} bytes, but bytes {start} to {end} were requested"));
        let hint = "the file was truncated: run `longshore verify` to find damaged backups";
        return Err(error.about(directory.subject(&name)).hint(hint));
    }
    Ok(stream(directory.clone(), name, process, stdout, end - start))
}

/// Parses the number on the first line.
async fn read_size(stdout: &mut ChildStdout) -> Option<u64> {
    let mut line = String::new();
    while line.len() < SIZE_BYTES {
        match stdout.read_u8().await.ok()? {
            b'\n' => return line.parse().ok(),
            byte => line.push(char::from(byte)),
        }
    }
    None
}

/// Returns a stream of `remaining_bytes` bytes, which fails if the file ends early.
fn stream(
    directory: Directory,
    name: String,
    process: Process,
    mut stdout: ChildStdout,
    mut remaining_bytes: u64,
) -> ByteStream {
    let bytes = async_stream::try_stream! {
        while remaining_bytes > 0 {
            let chunk = read_chunk(&mut stdout, remaining_bytes).await.map_err(|error| failure::connection_lost(directory.host.name()).because(error))?;
            if chunk.is_empty() {
                break;
            }
            remaining_bytes -= chunk.len() as u64;
            yield chunk;
        }
        let exit = process.wait().await?;
        if remaining_bytes > 0 && exit.code == 0 {
            let error = directory.error(Kind::Corrupt, &format!("ended {remaining_bytes} bytes early"));
            Err(error.about(directory.subject(&name)))?;
        }
        if remaining_bytes > 0 {
            Err::<(), Error>(directory.exit_error(&exit, Some(&name.as_str())))?;
        }
    };
    bytes.boxed()
}

/// Returns the next chunk, which is full unless the file ends.
async fn read_chunk(stdout: &mut ChildStdout, remaining_bytes: u64) -> std::io::Result<Bytes> {
    let length = remaining_bytes.min(CHUNK_BYTES as u64) as usize;
    let mut chunk = BytesMut::with_capacity(length);
    while chunk.len() < length {
        let rest = (length - chunk.len()) as u64;
        if (&mut *stdout).take(rest).read_buf(&mut chunk).await? == 0 {
            break;
        }
    }
    Ok(chunk.freeze())
}
