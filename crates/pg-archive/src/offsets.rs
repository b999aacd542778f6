//! The offsets of each table's data, for archives of the custom format without them.
//!
//! pg_dump seeks back at the end to write the offsets into the TOC, which fails if the output is a
//! pipe. `pg_restore --jobs` then rereads the archive chunk by chunk for each table. In a file, the
//! missing offsets can be added: the TOC keeps its length, so a few bytes are overwritten.

use std::io::BufRead;

use crate::custom::{BlockReader, check_end};
use crate::decode::Codec;
use crate::error::{Error, Result};
use crate::header::{Header, Layout};
use crate::input::Input;
use crate::large_objects::LargeObjectSet;
use crate::toc::{DataLocation, Toc};

/// Bytes that overwrite those of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The number of bytes of the archive before the patch.
    pub at: u64,
    /// The new bytes, as many as are replaced.
    pub bytes: Vec<u8>,
}

/// Reads an archive of the custom format to its end, and returns the patches that add the missing
/// offsets to its TOC. Returns none if the TOC already contains them.
///
/// The data is skipped chunk by chunk without decoding, so this function detects the damage that
/// [`read`](crate::read) detects around the data, not within it.
pub fn missing<R: BufRead>(inner: R) -> Result<Vec<Patch>> {
    let mut input = Input::new(inner);
    let header = Header::read(&mut input)?;
    if header.layout != Layout::Custom {
        return Err(Error::unsupported(10, "header", "this is not an archive of the custom format"));
    }
    let toc = Toc::read(&mut input, &header)?;
    let codec = Codec::for_custom_format(header.compression);
    let mut blocks = BlockReader { input: &mut input, widths: header.widths, codec };
    let (mut block_offsets, mut patches) = (Vec::new(), Vec::new());
    let mut large_objects = LargeObjectSet::default();
    for entry in toc.with_data() {
        let at = blocks.input.offset();
        block_offsets.push(at);
        blocks.begin(entry, &toc)?;
        blocks.skip(entry, &mut large_objects)?;
        if entry.data == DataLocation::Block(None) {
            let width = usize::from(header.widths.offset);
            let position = at.to_le_bytes();
            let (number, rest) = position.split_at(width);
            patches.push(Patch { at: entry.data_offset_at, bytes: [&[SET], number].concat() });
            if rest.iter().any(|byte| *byte > 0) {
                let message = format!("its offset does not fit into {width} bytes");
                return Err(Error::unsupported(at, entry.place(), message));
            }
        }
    }
    check_end(&mut input, &header, &toc, &block_offsets)?;
    Ok(patches)
}

/// The state byte before a known offset.
const SET: u8 = 2;
