//! The table of contents: an entry for everything that a restore would make or fill.

use std::collections::HashMap;
use std::io::BufRead;

use roaring::RoaringBitmap;

use crate::copy::Copy;
use crate::error::{Error, Result};
use crate::header::{
    Header, Layout, Version, WITH_ACCESS_METHOD, WITH_LARGE_OBJECT_ENTRIES, WITH_RELATION_KIND, WITH_SECTION,
};
use crate::input::{Input, Widths};
use crate::text::Encoding;

/// The most memory that the kept parts of a TOC may take, in bytes: enough for millions of tables.
const MAX_BYTES: usize = 1 << 30;

/// One entry; of the SQL it carries, only what matters for judging it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: i32,
    catalog: u32,
    oid: u32,
    pub(crate) name: String,
    pub(crate) description: String,
    schema: Option<String>,
    owner: String,
    has_definition: bool,
    pub(crate) copy: Option<Copy>,
    pub(crate) data: Data,
}

/// Where an entry's data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    /// It has none.
    Nowhere,
    /// In a block of the same file; its offset, where that was written.
    Block(Option<u64>),
    /// In a file of this name, without the ending that a compression adds.
    File(String),
}

impl Entry {
    /// How a message names it.
    pub(crate) fn place(&self) -> String {
        if self.is_large_objects() {
            return format!("large objects (TOC entry {})", self.id);
        }
        format!("data of table {}", self.table())
    }

    /// Its table, as `schema.name`.
    pub(crate) fn table(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }

    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// Whether its data is large objects.
    pub(crate) fn is_large_objects(&self) -> bool {
        matches!(self.description.as_str(), "BLOBS" | "BLOB COMMENTS")
    }

    /// Its line in `pg_restore --list`, if it has one there.
    pub(crate) fn line(&self) -> Option<String> {
        let of_database = || self.name.starts_with("DATABASE ");
        let of_large_object = || self.name.starts_with("LARGE OBJECT");
        let shown = match self.description.as_str() {
            "ENCODING" | "STDSTRINGS" | "SEARCHPATH" | "DATABASE" | "DATABASE PROPERTIES" => false,
            "ACL" | "COMMENT" | "SECURITY LABEL" if of_database() => false,
            "ACL" | "COMMENT" | "SECURITY LABEL" if of_large_object() => true,
            "SEQUENCE SET" | "BLOB" | "BLOB METADATA" | "STATISTICS DATA" => true,
            _ => self.data != Data::Nowhere || self.has_definition,
        };
        let one_line = |text: &str| text.replace(['\n', '\r'], " ");
        let schema = self.schema.as_deref().map_or_else(|| "-".to_owned(), one_line);
        shown.then(|| {
            let (name, owner) = (one_line(&self.name), one_line(&self.owner));
            let Self { id, catalog, oid, description, .. } = self;
            format!("{id}; {catalog} {oid} {description} {schema} {name} {owner}")
        })
    }
}

/// The whole table of contents.
pub(crate) struct Toc {
    pub(crate) entries: Vec<Entry>,
    pub(crate) by_id: HashMap<i32, usize>,
    /// The encoding of all text.
    pub(crate) encoding: Encoding,
    /// The large objects that it lists one by one, where it does.
    pub(crate) large_objects: Option<RoaringBitmap>,
}

impl Toc {
    /// Reads it from behind the header.
    pub(crate) fn read<R: BufRead>(input: &mut Input<R>, header: &Header) -> Result<Self> {
        const PLACE: &str = "TOC";
        let at = input.offset();
        let count = input.int(header.widths, PLACE, "the number of its entries")?;
        if count < 0 {
            return Err(Error::damaged(at, PLACE, format!("has {count} entries")));
        }
        let mut reader = Reader {
            input,
            version: header.version,
            layout: header.layout,
            widths: header.widths,
            place: String::new(),
            kept: 0,
            listed: RoaringBitmap::new(),
            encoding: Encoding::Other,
            invalid: None,
        };
        let mut toc = Self { entries: Vec::new(), by_id: HashMap::new(), encoding: Encoding::Other, large_objects: None };
        for number in 1..=count {
            let at = reader.input.offset();
            reader.place = format!("TOC entry {number} of {count}");
            let entry = reader.entry()?;
            if toc.by_id.insert(entry.id, toc.entries.len()).is_some() {
                return Err(Error::damaged(at, reader.place, format!("has the id {}, which another entry has", entry.id)));
            }
            toc.entries.push(entry);
        }
        toc.encoding = reader.encoding;
        if let (Encoding::Utf8, Some((at, place))) = (reader.encoding, reader.invalid) {
            return Err(Error::damaged(at, place, "there are bytes that are no UTF-8"));
        }
        if header.version >= WITH_LARGE_OBJECT_ENTRIES {
            toc.large_objects = Some(reader.listed);
        }
        toc.check(at)?;
        Ok(toc)
    }

    /// What one entry alone does not show.
    fn check(&self, at: u64) -> Result<()> {
        let known: std::collections::HashSet<_> = self
            .entries
            .iter()
            .filter(|entry| entry.description.ends_with("TABLE"))
            .map(|entry| (entry.schema(), entry.name.as_str()))
            .collect();
        for entry in &self.entries {
            let Some(copy) = &entry.copy else { continue };
            let into = (copy.schema.as_deref(), copy.table.as_str());
            let own = copy.table == entry.name && (copy.schema.is_none() || copy.schema == entry.schema);
            // The rows of a partition may be loaded by way of the partitioned table; an archive of data alone lists no tables.
            if !own && !known.is_empty() && !known.contains(&into) {
                let message = format!(
                    "the COPY statement of table {} fills \"{}\", which is no table of this archive",
                    entry.table(),
                    copy.table
                );
                return Err(Error::damaged(at, format!("TOC entry with the id {}", entry.id), message));
            }
        }
        let offsets = self.entries.iter().filter_map(|entry| match entry.data {
            Data::Block(offset) => Some(offset.is_some()),
            _ => None,
        });
        let (with, without): (Vec<_>, Vec<_>) = offsets.partition(|known| *known);
        if !with.is_empty() && !without.is_empty() {
            let message = format!("{} entries have the offset of their data, and {} have not", with.len(), without.len());
            return Err(Error::damaged(at, "TOC", message));
        }
        Ok(())
    }

    /// The entries whose data must follow, in its order.
    pub(crate) fn with_data(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.data != Data::Nowhere)
    }

    /// The TOC as `pg_restore --list` has it.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.entries.iter().filter_map(Entry::line).collect()
    }
}

/// Reads entries, one after another.
struct Reader<'a, R> {
    input: &'a mut Input<R>,
    version: Version,
    layout: Layout,
    widths: Widths,
    place: String,
    kept: usize,
    listed: RoaringBitmap,
    encoding: Encoding,
    /// The first name that is no UTF-8, which is damage if the archive turns out to be in it.
    invalid: Option<(u64, String)>,
}

/// What the SQL of an entry shows in passing.
#[derive(Default)]
struct Definition {
    head: Vec<u8>,
    bytes: u64,
}

impl<R: BufRead> Reader<'_, R> {
    fn entry(&mut self) -> Result<Entry> {
        let at = self.input.offset();
        let id = self.int("its id")?;
        if id <= 0 {
            return Err(self.damaged(at, format!("has the id {id}, where a positive number was expected")));
        }
        self.place = format!("{}, id {id},", self.place);
        let at = self.input.offset();
        let had_dumper = match self.int("whether it has data")? {
            0 => false,
            1 => true,
            other => return Err(self.damaged(at, format!("whether it has data is {other}, where 0 or 1 was expected"))),
        };
        let catalog = self.oid("the OID of its catalog")?;
        let oid = self.oid("its OID")?;
        let name = self.name("its name")?.unwrap_or_default();
        let description = self.name("its kind")?.unwrap_or_default();
        if self.version >= WITH_SECTION {
            let at = self.input.offset();
            let section = self.int("its section")?;
            if !(1..=4).contains(&section) {
                return Err(self.damaged(at, format!("is of section {section}, where 1 to 4 was expected")));
            }
        }
        let definition = self.definition(&description)?;
        self.input.long_text(self.widths, &self.place, "its DROP statement", |_| ())?;
        let copy = self.copy(had_dumper)?;
        let schema = self.name("its schema")?;
        self.name("its tablespace")?;
        if self.version >= WITH_ACCESS_METHOD {
            self.name("its access method")?;
        }
        if self.version >= WITH_RELATION_KIND {
            self.relation_kind()?;
        }
        let owner = self.name("its owner")?.unwrap_or_default();
        self.with_oids()?;
        while self.oid_or_end("an entry it depends on")?.is_some() {}
        let data = match self.layout {
            Layout::Custom => self.block(had_dumper)?,
            Layout::Files => self.file(had_dumper)?,
        };
        if description == "BLOB" {
            self.listed.insert(oid);
        }
        let at = self.input.offset();
        if description.is_empty() {
            return Err(self.damaged(at, "has no kind"));
        }
        if had_dumper && !matches!(description.as_str(), "TABLE DATA" | "BLOBS" | "BLOB COMMENTS") {
            return Err(self.damaged(at, format!("has data, which no entry of kind \"{description}\" has")));
        }
        if !had_dumper && matches!(description.as_str(), "TABLE DATA" | "BLOBS") {
            return Err(self.damaged(at, format!("has no data, which every entry of kind \"{description}\" has")));
        }
        let has_definition =
            definition.bytes > 0 && !definition.head.starts_with(b"-- load via partition root ");
        Ok(Entry { id, catalog, oid, name, description, schema, owner, has_definition, copy, data })
    }

    fn damaged(&self, at: u64, message: impl Into<String>) -> Error {
        Error::damaged(at, self.place.clone(), message)
    }

    fn int(&mut self, expected: &str) -> Result<i32> {
        self.input.int(self.widths, &self.place, expected)
    }

    /// A name, in the archive's encoding.
    fn name(&mut self, expected: &str) -> Result<Option<String>> {
        let at = self.input.offset();
        let Some(name) = self.input.text(self.widths, &self.place, expected)? else { return Ok(None) };
        self.kept += name.len();
        if self.kept > MAX_BYTES {
            return Err(self.damaged(at, format!("the names before it take {} bytes, more than any TOC's", self.kept)));
        }
        Ok(Some(String::from_utf8(name).unwrap_or_else(|error| {
            self.invalid.get_or_insert_with(|| (at, self.place.clone()));
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        })))
    }

    /// A decimal number, or nothing for NULL.
    fn oid_or_end(&mut self, expected: &str) -> Result<Option<u32>> {
        let at = self.input.offset();
        let Some(text) = self.input.text(self.widths, &self.place, expected)? else { return Ok(None) };
        let number = std::str::from_utf8(&text).ok().filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()));
        match number.and_then(|digits| digits.parse().ok()) {
            Some(oid) => Ok(Some(oid)),
            None => {
                let message = format!("{expected} is \"{}\", where a number was expected", text.escape_ascii());
                Err(self.damaged(at, message))
            }
        }
    }

    fn oid(&mut self, expected: &str) -> Result<u32> {
        let at = self.input.offset();
        self.oid_or_end(expected)?.ok_or_else(|| self.damaged(at, format!("{expected} is NULL")))
    }

    /// Its SQL, of which only the beginning is kept. Of large objects, it is a list of their OIDs.
    fn definition(&mut self, description: &str) -> Result<Definition> {
        const HEAD_BYTES: usize = 64;
        let at = self.input.offset();
        let (lists, says_encoding) = (description == "BLOB METADATA", description == "ENCODING");
        let mut definition = Definition::default();
        let (mut digits, mut flawed) = (Some(0_u64), false);
        let listed = &mut self.listed;
        self.input.long_text(self.widths, &self.place, "its SQL", |piece| {
            let room = HEAD_BYTES.saturating_sub(definition.head.len()).min(piece.len());
            definition.head.extend_from_slice(&piece[..room]);
            definition.bytes += piece.len() as u64;
            for byte in piece.iter().filter(|_| lists) {
                match (byte, digits) {
                    (b'\n', Some(oid)) => {
                        flawed |= !u32::try_from(oid).is_ok_and(|oid| listed.insert(oid));
                        digits = Some(0);
                    }
                    (b'0'..=b'9', Some(oid)) => digits = oid.checked_mul(10).map(|oid| oid + u64::from(byte - b'0')),
                    _ => flawed = true,
                }
            }
        })?;
        if lists && (flawed || digits != Some(0)) {
            return Err(self.damaged(at, "its SQL is no list of OIDs of large objects, each once"));
        }
        if says_encoding {
            if !definition.head.starts_with(b"SET client_encoding = '") {
                return Err(self.damaged(at, "its SQL does not say the encoding"));
            }
            if definition.head.starts_with(b"SET client_encoding = 'UTF8'") {
                self.encoding = Encoding::Utf8;
            }
        }
        Ok(definition)
    }

    fn copy(&mut self, had_dumper: bool) -> Result<Option<Copy>> {
        let at = self.input.offset();
        // An empty statement is as good as none.
        let Some(statement) = self.name("its COPY statement")?.filter(|statement| !statement.is_empty()) else {
            return Ok(None);
        };
        match Copy::parse(&statement) {
            Some(copy) if had_dumper => Ok(Some(copy)),
            Some(_) => Err(self.damaged(at, "has a COPY statement, but no data")),
            None => Err(self.damaged(at, format!("its COPY statement is none: \"{}\"", statement.escape_debug()))),
        }
    }

    fn relation_kind(&mut self) -> Result<()> {
        let at = self.input.offset();
        let kind = self.int("its kind of relation")?;
        let letter = u8::try_from(kind).ok().is_some_and(|kind| kind == 0 || kind.is_ascii_alphabetic());
        if letter { Ok(()) } else { Err(self.damaged(at, format!("its kind of relation is {kind}, which is no letter"))) }
    }

    fn with_oids(&mut self) -> Result<()> {
        let at = self.input.offset();
        let word = self.name("whether its rows have OIDs")?;
        match word.as_deref() {
            Some("true" | "false") => Ok(()),
            other => {
                let other = other.unwrap_or("NULL").escape_debug();
                Err(self.damaged(at, format!("whether its rows have OIDs is \"{other}\", where true or false was expected")))
            }
        }
    }

    /// The place of its data in the same file.
    fn block(&mut self, had_dumper: bool) -> Result<Data> {
        const NOT_SET: u8 = 1;
        const SET: u8 = 2;
        const NO_DATA: u8 = 3;
        let at = self.input.offset();
        let state = self.input.byte(&self.place, "the state of its offset")?;
        let offset = self.input.position(self.widths, &self.place)?;
        match (state, had_dumper) {
            (NOT_SET, true) if offset == 0 => Ok(Data::Block(None)),
            (SET, true) => Ok(Data::Block(Some(offset))),
            (NO_DATA, false) if offset == 0 => Ok(Data::Nowhere),
            (NOT_SET..=NO_DATA, _) => {
                let data = if had_dumper { "has data" } else { "has no data" };
                Err(self.damaged(at, format!("{data}, and the state of its offset is {state}, the offset {offset}")))
            }
            _ => Err(self.damaged(at, format!("the state of its offset is {state}, where 1 to 3 was expected"))),
        }
    }

    /// The name of the file with its data.
    fn file(&mut self, had_dumper: bool) -> Result<Data> {
        let at = self.input.offset();
        let file = self.name("the name of its file")?.unwrap_or_default();
        match (file.is_empty(), had_dumper) {
            (true, false) => Ok(Data::Nowhere),
            (false, true) => Ok(Data::File(file)),
            (true, true) => Err(self.damaged(at, "has data, but no file for it")),
            (false, false) => Err(self.damaged(at, format!("has no data, but the file \"{}\" for it", file.escape_debug()))),
        }
    }
}
