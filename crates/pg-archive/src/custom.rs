//! The custom format: after the TOC, a block for every entry with data, each a list of chunks.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};

use crate::decode::{Chunks, Form, Sink, Stop, decode, read_at_hand};
use crate::error::{Error, Result, Trouble};
use crate::facts::{Facts, Kind, Others, Place, Table};
use crate::header::Header;
use crate::input::{Input, Widths};
use crate::large_objects::{Collected, LargeObject};
use crate::table::Content;
use crate::toc::{Data, Entry, Toc};

/// The first byte of a block of table data.
const TABLE: u8 = 1;
/// The first byte of a block of large objects.
const LARGE_OBJECTS: u8 = 3;

/// Reads the archive from the end of the header to its end.
pub(crate) fn read<R: BufRead>(mut input: Input<R>, header: Header, watch: &mut dyn FnMut(&Place)) -> Result<Facts> {
    let toc = Toc::read(&mut input, &header)?;
    let of = toc.with_data().count() as u64;
    let form = Form::in_custom(header.compression);
    let mut blocks = Blocks { input: &mut input, widths: header.widths, form };
    let mut positions = Vec::new();
    let mut tables = Vec::new();
    let mut collected = Collected::default();
    for (done, entry) in toc.with_data().enumerate() {
        let large = entry.is_large_objects();
        let name = if large { "large objects".to_owned() } else { entry.table() };
        watch(&Place { name, done: done as u64, of: Some(of) });
        positions.push(blocks.input.offset());
        blocks.begin(entry, &toc)?;
        if large {
            blocks.large_objects(&mut collected)?;
        } else {
            tables.push(blocks.table(entry, &toc)?);
        }
    }
    let with_large_objects = toc.with_data().any(Entry::is_large_objects);
    if let Some(listed) = toc.large_objects.as_ref().filter(|_| with_large_objects)
        && let Some(difference) = collected.differ_from(listed)
    {
        return Err(Error::damaged(input.offset(), "large objects", difference));
    }
    end(&mut input, &header, &toc, &positions)?;
    Ok(Facts {
        kind: Kind::Custom,
        compression: header.compression,
        origin: header.origin,
        tables,
        large_objects: collected.facts(),
        objects: toc.objects(),
        toc: toc.lines(),
        definitions: toc.definitions(),
        toc_entries: toc.entries.len() as u64,
        sequences: toc.mentions.sequences,
        extensions: toc.mentions.extensions,
        roles: toc.mentions.roles,
        made_roles: BTreeSet::new(),
        tablespaces: toc.mentions.tablespaces,
        database_tablespace: toc.mentions.database_tablespace,
        bytes: input.offset(),
        others: Others::default(),
    })
}

/// Reads the end after the last block: nothing, or a second TOC with the offsets.
///
/// pg_dump seeks back to write the offsets into the first TOC. If its output is opened for
/// appending, the second TOC is written at the end instead: with `>>` and, since PostgreSQL 16,
/// also with `>`, because pg_dump itself sets the append mode. pg_restore ignores the second TOC.
pub(crate) fn end<R: BufRead>(input: &mut Input<R>, header: &Header, toc: &Toc, positions: &[u64]) -> Result<()> {
    if input.is_at_end()? {
        return Ok(());
    }
    let at = input.offset();
    let surplus = |message: &str| Err(Error::damaged(at, "end of the archive", message));
    if toc.with_data().any(|entry| entry.data != Data::Block(None)) {
        return surplus("the archive continues after its last block, where its end was expected");
    }
    let again = match Toc::read(input, header) {
        Ok(again) => again,
        Err(error) if error.trouble == Trouble::Unread => return Err(error),
        Err(_) => return surplus("the last block is followed by neither the end nor a second TOC"),
    };
    let alike = |(one, other): (&Entry, &Entry)| one.is_the_same_as(other);
    let is_copy = toc.entries.len() == again.entries.len() && toc.entries.iter().zip(&again.entries).all(alike);
    let offsets = again.with_data().map(|entry| &entry.data);
    if !is_copy || !offsets.eq(positions.iter().map(|at| Data::Block(Some(*at))).collect::<Vec<_>>().iter()) {
        return surplus("the TOC after the last block differs from the one at the beginning");
    }
    if !input.is_at_end()? {
        let message = "the archive continues after its second TOC, where its end was expected";
        return Err(Error::damaged(input.offset(), "end of the archive", message));
    }
    Ok(())
}

/// A reader of blocks.
pub(crate) struct Blocks<'a, R> {
    pub(crate) input: &'a mut Input<R>,
    pub(crate) widths: Widths,
    pub(crate) form: Form,
}

impl<R: BufRead> Blocks<'_, R> {
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
                Some(other) if other.data != Data::Nowhere => other.place(),
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
            Data::Block(Some(offset)) if offset != at => {
                let message = format!("its block is here, where the TOC expects it at byte {offset}");
                Err(Error::damaged(at, place, message))
            }
            _ => Ok(()),
        }
    }

    fn table(&mut self, entry: &Entry, toc: &Toc) -> Result<Table> {
        let mut content = Content::of(entry, toc);
        self.item(&entry.place(), &mut |piece| content.push(piece))?;
        content.finish(entry).map_err(|flaw| Error::damaged(self.input.offset(), entry.place(), flaw))
    }

    /// Reads a list of large objects, which an OID of zero ends.
    fn large_objects(&mut self, collected: &mut Collected) -> Result<()> {
        while let Some((oid, place)) = self.large_object(collected)? {
            let mut object = LargeObject::new(oid);
            self.item(&place, &mut |piece| {
                object.push(piece);
                Ok(())
            })?;
            collected.add(&object);
        }
        Ok(())
    }

    /// Reads the OID of the next large object. Returns it with the object's name in messages.
    fn large_object(&mut self, collected: &mut Collected) -> Result<Option<(u32, String)>> {
        let at = self.input.offset();
        // OIDs are written as signed numbers.
        let oid = self.input.int(self.widths, "large objects", "the OID of the next one")?.cast_unsigned();
        if oid == 0 {
            return Ok(None);
        }
        let place = format!("large object {oid}");
        if !collected.begin(oid) {
            return Err(Error::damaged(at, place, "is in the archive twice"));
        }
        Ok(Some((oid, place)))
    }

    /// Skips the data of an entry without inspecting its chunks.
    pub(crate) fn pass(&mut self, entry: &Entry, collected: &mut Collected) -> Result<()> {
        if !entry.is_large_objects() {
            return self.pass_item(&entry.place());
        }
        while let Some((_, place)) = self.large_object(collected)? {
            self.pass_item(&place)?;
        }
        Ok(())
    }

    fn pass_item(&mut self, place: &str) -> Result<()> {
        let mut item = Item { input: &mut *self.input, widths: self.widths, place, left: 0, has_ended: false };
        loop {
            item.input.pass_chunks(item.widths);
            item.next_chunk()?;
            if item.has_ended {
                return Ok(());
            }
            item.input.pieces(std::mem::take(&mut item.left) as u64, place, "a chunk", |_| ())?;
        }
    }

    /// Decodes the chunks of one item.
    fn item(&mut self, place: &str, sink: &mut Sink<'_>) -> Result<()> {
        let at = self.input.offset();
        let mut item = Item { input: &mut *self.input, widths: self.widths, place, left: 0, has_ended: false };
        let decoded = decode(self.form, &mut item, sink);
        let has_ended = item.has_ended;
        match decoded {
            Ok(()) if has_ended => Ok(()),
            Ok(()) => {
                let message = "its compressed data ends before its list of chunks";
                Err(Error::damaged(self.input.offset(), place, message))
            }
            // The current offset depends on the sizes of the pieces; the beginning of the data does
            // not.
            Err(Stop::Flaw(flaw)) => Err(Error::damaged(at, place, flaw)),
            Err(Stop::Io(error)) => Err(Error::unread(self.input.offset(), place, error)),
        }
    }
}

/// A reader over the chunks of one item. Each chunk is a length and as many bytes; a length of zero
/// ends the item.
struct Item<'a, R> {
    input: &'a mut Input<R>,
    widths: Widths,
    place: &'a str,
    left: usize,
    has_ended: bool,
}

impl<R: BufRead> Item<'_, R> {
    /// Begins the next chunk.
    fn next_chunk(&mut self) -> Result<()> {
        let at = self.input.offset();
        let length = self.input.int(self.widths, self.place, "the length of a chunk")?;
        match usize::try_from(length) {
            Ok(0) => self.has_ended = true,
            Ok(length) => self.left = length,
            Err(_) => return Err(Error::damaged(at, self.place, format!("the length of a chunk is {length}"))),
        }
        Ok(())
    }
}

impl<R: BufRead> BufRead for Item<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 && !self.has_ended {
            self.next_chunk()?;
        }
        if self.has_ended {
            return Ok(&[]);
        }
        let (left, place) = (self.left, self.place);
        if self.input.is_at_end()? {
            return Err(self.input.cut(place, &format!("{left} more bytes of a chunk")).into());
        }
        let piece = self.input.fill(place)?;
        Ok(&piece[..piece.len().min(left)])
    }

    fn consume(&mut self, bytes: usize) {
        self.left -= bytes;
        self.input.consume(bytes);
    }
}

impl<R: BufRead> Read for Item<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_at_hand(self, buffer)
    }
}

impl<R: BufRead> Chunks for Item<'_, R> {
    fn is_at_chunk_end(&self) -> bool {
        self.left == 0
    }

    fn gather(&mut self, room: &mut [u8]) -> usize {
        if self.left > 0 || self.has_ended {
            return 0;
        }
        self.input.gather(self.widths, room)
    }

    fn has_one_frame(&self) -> bool {
        true
    }
}
