//! Archives whose roles have other names.
//!
//! Where a database is restored under other roles, it is not enough to take another owner: what is granted, policies, default privileges
//! and user mappings name roles as well, each in SQL of its own. That SQL is taken apart, so that a table, a column or a string of the same
//! name stays what it is.

mod entries;
mod recorded;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};

use self::entries::Entries;
use self::recorded::Recorded;
use crate::error::{Error, Result};
use crate::header::{Header, Layout};
use crate::input::Input;

/// Passes an archive of the custom format, or the `toc.dat` of a directory, from `input` to `output`, with other names for roles: those of
/// `map` become what it has for them, all at once. Returns the names of `map` that were found.
///
/// The TOC may be longer or shorter than it was, so that it does not say any more where data is; [`offsets`](crate::offsets) finds that
/// anew. The data passes as it is, and is not judged. Left alone are bodies of functions, expressions and settings that hold a role's name
/// as a string.
pub fn roles(input: impl BufRead, mut output: impl Write, map: &BTreeMap<String, String>) -> Result<BTreeSet<String>> {
    for name in map.iter().flat_map(|(old, new)| [old, new]) {
        if name.is_empty() || name.contains('\0') || matches!(name.as_str(), "public" | "none") {
            return Err(Error::unsupported(0, "role map", format!("\"{}\" is no name of a role", name.escape_debug())));
        }
    }
    let mut recorded = Recorded::new(input);
    let mut input = Input::new(&mut recorded);
    let header = Header::read(&mut input)?;
    let offset = input.offset();
    let (head, inner) = recorded.finish();
    let mut input = Input::from(inner, offset);
    output.write_all(&head).map_err(|error| Error::unwritten(0, "header", error))?;
    let mut entries = Entries::new(&mut input, &mut output, &header, map);
    entries.all()?;
    let found = entries.finish();
    if header.layout == Layout::Files && !input.is_at_end()? {
        return Err(Error::damaged(input.offset(), "TOC", "the file goes on behind its last entry"));
    }
    const PLACE: &str = "data";
    loop {
        let offset = input.offset();
        let piece = input.fill(PLACE)?;
        if piece.is_empty() {
            break;
        }
        output.write_all(piece).map_err(|error| Error::unwritten(offset, PLACE, error))?;
        let length = piece.len();
        input.consume(length);
    }
    output.flush().map_err(|error| Error::unwritten(input.offset(), PLACE, error))?;
    Ok(found)
}
