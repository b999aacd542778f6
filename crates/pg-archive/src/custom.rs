//! The custom format: after the TOC, a block for every entry with data, each a list of chunks.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};

use crate::decode::{Chunks, Codec, DecodeError, Sink, decode, read_buffered};
use crate::error::{Error, ErrorKind, Result};
use crate::facts::{ExtraFiles, Facts, Format, Progress, Table};
use crate::header::Header;
use crate::input::{Input, Widths};
use crate::large_objects::{LargeObject, LargeObjectSet};
use crate::table_data::TableDataChecker;
use crate::toc::{DataLocation, Entry, Toc};

/// The first byte of a block of table data.
const TABLE: u8 = 1;
/// The first byte of a block of large objects.
const LARGE_OBJECTS: u8 = 3;

/// Reads the archive from the end of the header to its end.
pub(crate) fn read<R: BufRead>(
    mut input: Input<R>,
    header: Header,
    on_progress: &mut dyn FnMut(&Progress),
) -> Result<Facts> {
    let toc = Toc::read(&mut input, &header)?;
    let total = toc.with_data().count() as u64;
    let codec = Codec::for_custom_format(header.compression);
    let mut blocks = BlockReader { input: &mut input, widths: header.widths, codec };
    let mut block_offsets = Vec::new();
    let mut tables = Vec::new();
    let mut large_objects = LargeObjectSet::default();
    for (done, entry) in toc.with_data().enumerate() {
        let is_large_objects = entry.is_large_objects();
        let name = if is_large_objects { "large objects".to_owned() } else { entry.table() };
        on_progress(&Progress { name, done: done as u64, total: Some(total) });
        block_offsets.push(blocks.input.offset());
        blocks.begin(entry, &toc)?;
        if is_large_objects {
            blocks.large_objects(&mut large_objects)?;
        } else {
            tables.push(blocks.table(entry, &toc)?);
        }
    }
    let has_large_objects = toc.with_data().any(Entry::is_large_objects);
    if let Some(listed) = toc.large_objects.as_ref().filter(|_| has_large_objects)
        && let Some(difference) = large_objects.difference(listed)
    {
        return Err(Error::damaged(input.offset(), "large objects", difference));
    }
    check_end(&mut input, &header, &toc, &block_offsets)?;
    Ok(Facts {
        format: Format::Custom,
        compression: header.compression,
        origin: header.origin,
        tables,
        large_objects: large_objects.facts(),
        objects: toc.objects(),
        toc: toc.lines(),
        definitions: toc.definitions(),
        toc_entries: toc.entries.len() as u64,
        sequences: toc.references.sequences,
        extensions: toc.references.extensions,
        roles: toc.references.roles,
        created_roles: BTreeSet::new(),
        tablespaces: toc.references.tablespaces,
        database_tablespace: toc.references.database_tablespace,
        bytes: input.offset(),
        extra_files: ExtraFiles::default(),
    })
}

/// Reads the end after the last block: nothing, or a second TOC with the offsets.
///
/// pg_dump seeks back to write the offsets into the first TOC. If its output is opened for
/// appending, the second TOC is written at the end instead: with `>>` and, since PostgreSQL 16,
/// also with `>`, because pg_dump itself sets the append mode. pg_restore ignores the second TOC.
pub(crate) fn check_end<R: BufRead>(
    input: &mut Input<R>,
    header: &Header,
    toc: &Toc,
    block_offsets: &[u64],
) -> Result<()> {
    if input.is_at_end()? {
        return Ok(());
    }
    let at = input.offset();
    let surplus = |message: &str| Err(Error::damaged(at, "end of the archive", message));
    if toc.with_data().any(|entry| entry.data != DataLocation::Block(None)) {
        return surplus("the archive continues after its last block, where its end was expected");
    }
    let second_toc = match Toc::read(input, header) {
        Ok(second_toc) => second_toc,
        Err(error) if error.kind == ErrorKind::ReadFailed => return Err(error),
        Err(_) => return surplus("the last block is followed by neither the end nor a second TOC"),
    };
    let is_equal = |(one, other): (&Entry, &Entry)| one.is_equal_except_data(other);
    let is_copy =
        toc.entries.len() == second_toc.entries.len() && toc.entries.iter().zip(&second_toc.entries).all(is_equal);
    let offsets = second_toc.with_data().map(|entry| &entry.data);
    if !is_copy || !offsets.eq(block_offsets.iter().map(|at| DataLocation::Block(Some(*at))).collect::<Vec<_>>().iter())
    {
        return surplus("the TOC after the last block differs from the one at the beginning");
    }
    if !input.is_at_end()? {
        let message = "the archive continues after its second TOC, where its end was expected";
        return Err(Error::damaged(input.offset(), "end of the archive", message));
    }
    Ok(())
}

/// A reader of blocks.
pub(crate) struct BlockReader<'a, R> {
    pub(crate) input: &'a mut Input<R>,
    pub(crate) widths: Widths,
    pub(crate) codec: Codec,
}

impl<R: BufRead> BlockReader<'_, R> {
    /// Reads the head of the next block and checks it against `entry`.
    pub(crate) fn begin(&mut self, entry: &Entry, toc: &Toc) -> Result<()> {
        let at = self.input.offset();
        let place = entry.place();
        let expected = if entry.is_large_objects() { LARGE_OBJECTS } else { TABLE };
        let kind = self.input.byte(&place, "its block")?;
        if !matches!(kind, TABLE | LARGE_OBJECTS) {
            let message = format!("its block begins with byte {kind}, where {expected} was expected");
            return Err(Error::damaged(at, place, message));
        }
        let id = self.input.int(self.widths, &place, "the id of its block")?;
        if id != entry.id {
            let other = match toc.by_id.get(&id).map(|index| &toc.entries[*index]) {
                Some(other) if other.data != DataLocation::None => other.place(),
                Some(other) => format!("\"{}\", which has no data", other.description),
                None => "no entry of the TOC".to_owned(),
            };
            let message = format!("block with the id {id}, of {other}, where the id {} was expected", entry.id);
            return Err(Error::damaged(at, place, message));
        }
        if kind != expected {
            let message = format!("its block is of kind {kind}, where {expected} was expected");
            return Err(Error::damaged(at, place, message));
        }
        match entry.data {
            DataLocation::Block(Some(offset)) if offset != at => {
                let message = format!("its block is here, where the TOC expects it at byte {offset}");
                Err(Error::damaged(at, place, message))
            }
            _ => Ok(()),
        }
    }

    fn table(&mut self, entry: &Entry, toc: &Toc) -> Result<Table> {
        let mut content = TableDataChecker::of(entry, toc);
        self.item(&entry.place(), &mut |piece| content.push(piece))?;
        content.finish(entry).map_err(|flaw| Error::damaged(self.input.offset(), entry.place(), flaw))
    }

    /// Reads a list of large objects, which an OID of zero ends.
    fn large_objects(&mut self, large_objects: &mut LargeObjectSet) -> Result<()> {
        while let Some((oid, place)) = self.large_object(large_objects)? {
            let mut object = LargeObject::new(oid);
            self.item(&place, &mut |piece| {
                object.push(piece);
                Ok(())
            })?;
            large_objects.add(&object);
        }
        Ok(())
    }

    /// Reads the OID of the next large object. Returns it with the object's name in messages.
    fn large_object(&mut self, large_objects: &mut LargeObjectSet) -> Result<Option<(u32, String)>> {
        let at = self.input.offset();
        // OIDs are written as signed numbers.
        let oid = self.input.int(self.widths, "large objects", "the OID of the next one")?.cast_unsigned();
        if oid == 0 {
            return Ok(None);
        }
        let place = format!("large object {oid}");
        if !large_objects.begin(oid) {
            return Err(Error::damaged(at, place, "is in the archive twice"));
        }
        Ok(Some((oid, place)))
    }

    /// Skips the data of an entry without inspecting its chunks.
    pub(crate) fn skip(&mut self, entry: &Entry, large_objects: &mut LargeObjectSet) -> Result<()> {
        if !entry.is_large_objects() {
            return self.skip_item(&entry.place());
        }
        while let Some((_, place)) = self.large_object(large_objects)? {
            self.skip_item(&place)?;
        }
        Ok(())
    }

    fn skip_item(&mut self, place: &str) -> Result<()> {
        let mut item =
            ChunkReader { input: &mut *self.input, widths: self.widths, place, remaining: 0, has_ended: false };
        loop {
            item.input.skip_chunks(item.widths);
            item.next_chunk()?;
            if item.has_ended {
                return Ok(());
            }
            item.input.pieces(std::mem::take(&mut item.remaining) as u64, place, "a chunk", |_| ())?;
        }
    }

    /// Decodes the chunks of one item.
    fn item(&mut self, place: &str, sink: &mut Sink<'_>) -> Result<()> {
        let at = self.input.offset();
        let mut item =
            ChunkReader { input: &mut *self.input, widths: self.widths, place, remaining: 0, has_ended: false };
        let decoded = decode(self.codec, &mut item, sink);
        let has_ended = item.has_ended;
        match decoded {
            Ok(()) if has_ended => Ok(()),
            Ok(()) => {
                let message = "its compressed data ends before its list of chunks";
                Err(Error::damaged(self.input.offset(), place, message))
            }
            // The current offset depends on the sizes of the pieces; the beginning of the data does
            // not.
            Err(DecodeError::Flaw(flaw)) => Err(Error::damaged(at, place, flaw)),
            Err(DecodeError::Io(error)) => Err(Error::read_failed(self.input.offset(), place, error)),
        }
    }
}

/// A reader over the chunks of one item. Each chunk is a length and as many bytes; a length of zero
/// ends the item.
struct ChunkReader<'a, R> {
    input: &'a mut Input<R>,
    widths: Widths,
    place: &'a str,
    remaining: usize,
    has_ended: bool,
}

impl<R: BufRead> ChunkReader<'_, R> {
    /// Begins the next chunk.
    fn next_chunk(&mut self) -> Result<()> {
        let at = self.input.offset();
        let length = self.input.int(self.widths, self.place, "the length of a chunk")?;
        match usize::try_from(length) {
            Ok(0) => self.has_ended = true,
            Ok(length) => self.remaining = length,
            Err(_) => return Err(Error::damaged(at, self.place, format!("the length of a chunk is {length}"))),
        }
        Ok(())
    }
}

impl<R: BufRead> BufRead for ChunkReader<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.remaining == 0 && !self.has_ended {
            self.next_chunk()?;
        }
        if self.has_ended {
            return Ok(&[]);
        }
        let (remaining, place) = (self.remaining, self.place);
        if self.input.is_at_end()? {
            return Err(self.input.truncated(place, &format!("{remaining} more bytes of a chunk")).into());
        }
        let piece = self.input.fill(place)?;
        Ok(&piece[..piece.len().min(remaining)])
    }

    fn consume(&mut self, bytes: usize) {
        self.remaining -= bytes;
        self.input.consume(bytes);
    }
}

impl<R: BufRead> Read for ChunkReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, buffer)
    }
}

impl<R: BufRead> Chunks for ChunkReader<'_, R> {
    fn is_at_chunk_end(&self) -> bool {
        self.remaining == 0
    }

    fn coalesce_chunks(&mut self, output: &mut [u8]) -> usize {
        if self.remaining > 0 || self.has_ended {
            return 0;
        }
        self.input.coalesce_chunks(self.widths, output)
    }

    fn has_one_frame(&self) -> bool {
        true
    }
}
