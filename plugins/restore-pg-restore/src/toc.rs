//! Reads the table of contents of an archive before the target is changed.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use futures_util::StreamExt;
use longshore_core::error::printable;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::plugin::{DatabaseTarget, SearchPath};
use longshore_core::stream::{self, ByteStream, CHUNK_BYTES};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::ErrorKind;
use longshore_pg_archive::outline::{self, Outline};

/// The maximum size of a table of contents: that of a million tables is smaller.
const MAX_HEAD_BYTES: usize = 1 << 29;

/// The command by which an archive empties the search_path, and a replacement of the same length
/// that restores the database's own: pg_restore empties the search_path itself when it connects.
const EMPTY_SEARCH_PATH: (&[u8], &[u8]) = (
    b"SELECT pg_catalog.set_config('search_path', '', false);",
    b"RESET search_path;                                     ",
);

/// Makes an archive restore with the database's own search_path. Returns the position of the change
/// and its bytes.
pub(crate) fn keep_search_path(outline: &mut Outline) -> Option<(usize, &'static [u8])> {
    let item = outline.items.iter().find(|item| item.kind == "SEARCHPATH")?.clone();
    let sql = outline.definition(&item);
    let at = sql.windows(EMPTY_SEARCH_PATH.0.len()).position(|window| window == EMPTY_SEARCH_PATH.0)?;
    let offset = item.definition().start + at;
    outline.head[offset..offset + EMPTY_SEARCH_PATH.1.len()].copy_from_slice(EMPTY_SEARCH_PATH.1);
    Some((offset, EMPTY_SEARCH_PATH.1))
}

/// Reads the head of a stream, and returns the stream adapted to `target`. Returns no outline for
/// an archive in an unknown version: pg_restore may support it.
pub(crate) async fn of_stream(
    plaintext: ByteStream,
    target: &DatabaseTarget,
    manifest: &Manifest,
) -> Result<(Option<Outline>, ByteStream)> {
    let mut plaintext = plaintext.fuse();
    let mut bytes = Vec::new();
    let mut parsed_bytes = 0;
    let mut outline = loop {
        let next = plaintext.next().await.transpose()?;
        let is_end = next.is_none();
        bytes.extend_from_slice(&next.unwrap_or_default());
        // Each attempt parses from the start: attempts at doubled sizes keep the total work linear.
        if is_end || bytes.len() >= 2 * parsed_bytes {
            parsed_bytes = bytes.len();
            match parse(&bytes, manifest)? {
                ParsedHead::Complete(outline) => break outline,
                ParsedHead::Incomplete if is_end => break None,
                ParsedHead::Incomplete => {}
            }
        }
    };
    if let (SearchPath::Own, Some(outline)) = (target.search_path, &mut outline)
        && let Some((at, patch)) = keep_search_path(outline)
    {
        bytes[at..at + patch.len()].copy_from_slice(patch);
    }
    Ok((outline, stream::from_bytes(bytes).chain(plaintext).boxed()))
}

/// Reads the head of an archive in files, a file of the custom format or a directory, and adapts
/// the files to `target`.
pub(crate) fn of_files(dump: &Path, target: &DatabaseTarget, manifest: &Manifest) -> Result<Option<Outline>> {
    let path = if manifest.artifact.format == Format::Directory { dump.join("toc.dat") } else { dump.to_owned() };
    let failed = |error| Error::io(Stage::Restore, path.display().to_string(), "cannot read the archive", error);
    let mut file = File::options().read(true).write(true).open(&path).map_err(failed)?;
    let (mut bytes, mut requested_bytes) = (Vec::new(), CHUNK_BYTES);
    let mut outline = loop {
        let missing = (requested_bytes - bytes.len()) as u64;
        let is_end = io::copy(&mut (&mut file).take(missing), &mut bytes).map_err(failed)? < missing;
        match parse(&bytes, manifest)? {
            ParsedHead::Complete(outline) => break outline,
            ParsedHead::Incomplete if is_end => return Ok(None),
            ParsedHead::Incomplete => requested_bytes *= 2,
        }
    };
    if let (SearchPath::Own, Some(outline)) = (target.search_path, &mut outline)
        && let Some((at, patch)) = keep_search_path(outline)
    {
        file.write_all_at(patch, at as u64).map_err(failed)?;
    }
    Ok(outline)
}

/// The result of parsing the first bytes of an archive.
enum ParsedHead {
    /// The outline; nothing if the version is unknown.
    Complete(Option<Outline>),
    /// The bytes end within the head.
    Incomplete,
}

fn parse(bytes: &[u8], manifest: &Manifest) -> Result<ParsedHead> {
    let subject = manifest.subject.to_string();
    match outline::head(bytes) {
        Ok(Some(outline)) => Ok(ParsedHead::Complete(Some(outline))),
        Ok(None) if bytes.len() > MAX_HEAD_BYTES => {
            let message = format!("its table of contents is larger than {} MiB", MAX_HEAD_BYTES >> 20);
            Err(Error::new(Stage::Restore, Kind::Failed, subject, message))
        }
        Ok(None) => Ok(ParsedHead::Incomplete),
        Err(error) if error.kind == ErrorKind::Damaged => {
            let message = "its table of contents is damaged";
            Err(Error::new(Stage::Restore, Kind::Corrupt, subject, message).because(printable(&error.to_string())))
        }
        Err(_) => Ok(ParsedHead::Complete(None)),
    }
}
