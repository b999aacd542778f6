//! Archives with renamed roles.
//!
//! To restore a database under other roles, changing the owner is not enough: privileges, policies,
//! default privileges and user mappings also name roles, each in its own SQL. The SQL is parsed, so
//! that a table, a column or a string of the same name remains unchanged.

mod entry_copier;
mod recording_reader;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};

use self::entry_copier::EntryCopier;
use self::recording_reader::RecordingReader;
use crate::error::{Error, Result};
use crate::header::{Header, Layout};
use crate::input::Input;

/// Copies an archive of the custom format, or the `toc.dat` of a directory, from `input` to
/// `output`, and renames roles: each key of `map` is replaced with its value, all at the same time.
/// Returns the keys that were found.
///
/// The length of the TOC may change, so the output contains no offsets of the data;
/// [`offsets`](crate::offsets) restores them. The data is copied without checks. Bodies of
/// functions, expressions and settings with a role's name as a string are not changed.
pub fn roles(input: impl BufRead, mut output: impl Write, map: &BTreeMap<String, String>) -> Result<BTreeSet<String>> {
    for name in map.iter().flat_map(|(old, new)| [old, new]) {
        if name.is_empty() || name.contains('\0') || matches!(name.as_str(), "public" | "none") {
            return Err(Error::unsupported(
                0,
                "role map",
                format!("\"{}\" is not a valid role name", name.escape_debug()),
            ));
        }
    }
    let mut recording = RecordingReader::new(input);
    let mut input = Input::new(&mut recording);
    let header = Header::read(&mut input)?;
    let offset = input.offset();
    let (head, inner) = recording.finish();
    let mut input = Input::from(inner, offset);
    output.write_all(&head).map_err(|error| Error::write_failed(0, "header", error))?;
    let mut copier = EntryCopier::new(&mut input, &mut output, &header, map);
    copier.copy_all()?;
    let found = copier.finish();
    if header.layout == Layout::Files && !input.is_at_end()? {
        return Err(Error::damaged(input.offset(), "TOC", "the file continues after its last entry"));
    }
    const PLACE: &str = "data";
    loop {
        let offset = input.offset();
        let piece = input.fill(PLACE)?;
        if piece.is_empty() {
            break;
        }
        output.write_all(piece).map_err(|error| Error::write_failed(offset, PLACE, error))?;
        let length = piece.len();
        input.consume(length);
    }
    output.flush().map_err(|error| Error::write_failed(input.offset(), PLACE, error))?;
    Ok(found)
}
