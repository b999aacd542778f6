//! The tar of a backup, in chunks for the pipeline.

use std::mem;

use bytes::Bytes;
use longshore_core::error::printable;
use longshore_core::stream::Chunks;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::ErrorKind;
use longshore_pg_base::manifest::WalRange;
use longshore_pg_base::write::{Attributes, Listing, Origin, Trailer, Writer};

use crate::BASE;
use crate::reader::Block;

/// An archive with its output gathered into chunks: most files of a cluster are small, and the
/// stages after this one work per chunk.
#[derive(Debug, Default)]
pub(crate) struct Tar {
    writer: Writer,
    trailer: Option<Trailer>,
    chunks: Chunks,
}

impl Tar {
    pub(crate) fn directory(&mut self, path: &[u8], attributes: Attributes) -> Result<()> {
        let header = self.writer.directory(path, attributes).map_err(convert)?;
        self.chunks.push(header);
        Ok(())
    }

    pub(crate) fn begin_file(
        &mut self,
        path: Box<[u8]>,
        size_bytes: u64,
        attributes: Attributes,
        listing: Listing,
    ) -> Result<()> {
        let header = self.writer.begin_file(path, size_bytes, attributes, listing).map_err(convert)?;
        self.chunks.push(header);
        Ok(())
    }

    pub(crate) fn data(&mut self, block: &Block) {
        self.writer.add_data(block.crc32c);
        self.chunks.push(block.bytes.clone());
    }

    pub(crate) fn end_file(&mut self) -> Result<()> {
        let padding = self.writer.end_file().map_err(convert)?;
        self.chunks.push(padding);
        Ok(())
    }

    /// Adds a file whose content is known.
    pub(crate) fn whole_file(&mut self, path: &str, content: &[u8], listing: Listing) -> Result<()> {
        let member = self.writer.whole_file(path, content, listing).map_err(convert)?;
        self.chunks.push(member);
        Ok(())
    }

    /// Ends the tar with its manifest, whose chunks follow.
    pub(crate) fn finish(&mut self, origin: Origin, range: WalRange) -> Result<()> {
        self.trailer = Some(mem::take(&mut self.writer).finish(origin, &[range]).map_err(convert)?);
        Ok(())
    }

    /// Returns the next chunk that is complete, and incomplete ones at the end.
    pub(crate) fn chunk(&mut self) -> Option<Bytes> {
        while self.chunks.is_empty()
            && let Some(trailer) = &mut self.trailer
        {
            match trailer.next() {
                Some(piece) => self.chunks.push(piece),
                None => {
                    self.trailer = None;
                    self.chunks.flush();
                }
            }
        }
        self.chunks.pop()
    }
}

/// Converts an error of the archive.
fn convert(error: longshore_pg_base::Error) -> Error {
    let kind = match error.kind {
        ErrorKind::Damaged => Kind::Corrupt,
        ErrorKind::Unsupported => Kind::Refused,
        ErrorKind::Io => Kind::Failed,
    };
    let converted = Error::new(Stage::Dump, kind, BASE, "the files cannot be a base backup");
    let converted = converted.because(printable(&error.to_string()));
    match kind {
        // PostgreSQL itself has no such files.
        Kind::Refused => converted.hint("move the file out of the data directory, or give it a shorter name"),
        _ => converted,
    }
}
