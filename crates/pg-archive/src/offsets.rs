//! Where each table's data is, for an archive of the custom format that does not say it.
//!
//! pg_dump goes back to write that into the TOC when it is done, which it cannot where it writes to a pipe. `pg_restore --jobs` then reads
//! the archive again and again, chunk by chunk, to find what it looks for. Whoever has such an archive as a file can put right what is
//! missing: the TOC keeps its length, so a few bytes are written over others.

use std::io::BufRead;

use crate::custom::{Blocks, end};
use crate::decode::Form;
use crate::error::{Error, Result};
use crate::header::{Header, Layout};
use crate::input::Input;
use crate::large_objects::Collected;
use crate::toc::{Data, Toc};

/// Bytes to be written over those of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// How many bytes of the archive stand before them.
    pub at: u64,
    /// As many as are replaced.
    pub bytes: Vec<u8>,
}

/// Reads an archive of the custom format to its end, and tells what to write over it so that its TOC says where each table's data is.
/// Nothing, if it says so already.
///
/// It goes from chunk to chunk and decodes none, so of damage it finds what [`read`](crate::read) finds around the data, not within it.
pub fn missing<R: BufRead>(inner: R) -> Result<Vec<Patch>> {
    let mut input = Input::new(inner);
    let header = Header::read(&mut input)?;
    if header.layout != Layout::Custom {
        return Err(Error::unsupported(10, "header", "this is no archive of the custom format"));
    }
    let toc = Toc::read(&mut input, &header)?;
    let form = Form::in_custom(header.compression);
    let mut blocks = Blocks { input: &mut input, widths: header.widths, form };
    let (mut positions, mut patches) = (Vec::new(), Vec::new());
    let mut collected = Collected::default();
    for entry in toc.with_data() {
        let at = blocks.input.offset();
        positions.push(at);
        blocks.begin(entry, &toc)?;
        blocks.pass(entry, &mut collected)?;
        if entry.data == Data::Block(None) {
            let width = usize::from(header.widths.offset);
            let position = at.to_le_bytes();
            let (number, rest) = position.split_at(width);
            patches.push(Patch { at: entry.data_at, bytes: [&[SET], number].concat() });
            if rest.iter().any(|byte| *byte > 0) {
                let message = format!("its offset has no room in {width} bytes");
                return Err(Error::unsupported(at, entry.place(), message));
            }
        }
    }
    end(&mut input, &header, &toc, &positions)?;
    Ok(patches)
}

/// What stands before an offset that is known.
const SET: u8 = 2;
