//! A reader of entries.

use std::io::BufRead;

use roaring::RoaringBitmap;

use super::entry::{DataLocation, Entry};
use super::references::{References, has_parsed_sql};
use crate::copy_statement::CopyStatement;
use crate::definitions::Hasher;
use crate::encoding::{Encoding, TextChecker};
use crate::error::{Error, Result};
use crate::header::{Header, Layout, Version, WITH_ACCESS_METHOD, WITH_RELATION_KIND, WITH_SECTION};
use crate::input::{Input, Widths};

/// The beginning of the SQL of table data whose rows are loaded into a partitioned table.
const TO_ROOT: &str = "-- load via partition root ";

/// The maximum memory for the kept parts of a TOC, in bytes: enough for a million tables.
const MAX_BYTES: usize = 1 << 29;
/// The approximate memory of an entry, without its names.
const ENTRY_BYTES: usize = 2 * size_of::<Entry>();

/// A reader of consecutive entries.
pub(super) struct EntryReader<'a, R> {
    pub(super) input: &'a mut Input<R>,
    version: Version,
    layout: Layout,
    widths: Widths,
    pub(super) place: String,
    kept: usize,
    pub(super) listed: RoaringBitmap,
    pub(super) references: References,
    pub(super) encoding: Encoding,
    /// A digest of the entry, without numbers that differ between two dumps of the same database.
    hasher: Hasher,
    /// The place of the first name that is not UTF-8, which is damage if the archive's encoding is
    /// UTF-8.
    pub(super) invalid: Option<(u64, String)>,
}

/// The beginning and the length of an entry's SQL.
#[derive(Default)]
struct Definition {
    head: Vec<u8>,
    bytes: u64,
}

impl<'a, R: BufRead> EntryReader<'a, R> {
    /// Creates a reader for the bytes after `header`.
    pub(super) fn new(input: &'a mut Input<R>, header: &Header) -> Self {
        Self {
            input,
            version: header.version,
            layout: header.layout,
            widths: header.widths,
            place: String::new(),
            kept: 0,
            listed: RoaringBitmap::new(),
            references: References::default(),
            encoding: Encoding::Other,
            hasher: Hasher::default(),
            invalid: None,
        }
    }

    /// Reads the next entry.
    pub(super) fn entry(&mut self) -> Result<Entry> {
        let start_offset = self.input.offset();
        self.hasher = Hasher::default();
        self.keep(ENTRY_BYTES)?;
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
        let mut section = 1;
        if self.version >= WITH_SECTION {
            let at = self.input.offset();
            section = self.int("its section")?;
            if !(1..=4).contains(&section) {
                return Err(self.damaged(at, format!("is of section {section}, where 1 to 4 was expected")));
            }
        }
        let sql_at = self.input.offset();
        let definition = self.definition(&description)?;
        let ends = self.input.offset();
        self.sql("its DROP statement", |_, _| ())?;
        let copy = self.copy(had_dumper)?;
        let schema = self.name("its schema")?;
        let tablespace = self.name("its tablespace")?.unwrap_or_default();
        if self.version >= WITH_ACCESS_METHOD {
            self.name("its access method")?;
        }
        if self.version >= WITH_RELATION_KIND {
            self.relation_kind()?;
        }
        let owner = self.name("its owner")?.unwrap_or_default();
        self.with_oids()?;
        let digest = self.hasher.finish();
        while self.oid_or_end("an entry it depends on")?.is_some() {}
        let data_offset_at = self.input.offset();
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
        if has_parsed_sql(&description) {
            let result = self.references.add_sql(&description, schema.as_deref(), &name, &definition.head);
            let kept = result.map_err(|flaw| self.damaged(sql_at, flaw))?;
            self.keep(kept)?;
        }
        let kept = self.references.add_fields(&description, &name, &tablespace, &owner);
        self.keep(kept)?;
        let root = std::str::from_utf8(&definition.head).ok().and_then(|sql| sql.strip_prefix(TO_ROOT));
        let has_definition = definition.bytes > 0 && root.is_none();
        let root = root.and_then(|root| CopyStatement::parse(&format!("COPY {} FROM stdin;", root.trim_end())));
        let is_root = |copy: &CopyStatement| {
            root.is_some_and(|root| (root.schema, root.table) == (copy.schema.clone(), copy.table.clone()))
        };
        let loads_via_root = copy.as_ref().is_some_and(is_root);
        Ok(Entry {
            id,
            catalog,
            oid,
            name,
            description,
            schema,
            owner,
            tablespace,
            section,
            definition: ends - definition.bytes..ends,
            digest,
            has_definition,
            loads_via_root,
            offset: start_offset,
            copy,
            data,
            data_offset_at,
        })
    }

    fn damaged(&self, at: u64, message: impl Into<String>) -> Error {
        Error::damaged(at, self.place.clone(), message)
    }

    fn int(&mut self, expected: &str) -> Result<i32> {
        self.input.int(self.widths, &self.place, expected)
    }

    /// Counts the bytes kept.
    fn keep(&mut self, bytes: usize) -> Result<()> {
        self.kept += bytes;
        if self.kept > MAX_BYTES {
            let message = format!("the entries take more than {MAX_BYTES} bytes of memory");
            return Err(Error::unsupported(self.input.offset(), self.place.clone(), message));
        }
        Ok(())
    }

    /// Reads SQL without keeping it. Each piece is passed to `with`, together with the list of
    /// large objects. Returns false for NULL.
    fn sql(&mut self, expected: &str, mut with: impl FnMut(&[u8], &mut RoaringBitmap)) -> Result<bool> {
        let at = self.input.offset();
        let (mut text, mut valid) = (TextChecker::new(Encoding::Utf8), true);
        let (listed, hasher) = (&mut self.listed, &mut self.hasher);
        let is_there = self.input.long_text(self.widths, &self.place, expected, |piece| {
            valid = valid && text.push(piece).is_ok();
            hasher.update(piece);
            with(piece, listed);
        })?;
        self.hasher.end_field();
        if !valid || text.finish().is_err() {
            self.invalid.get_or_insert_with(|| (at, self.place.clone()));
        }
        Ok(is_there)
    }

    /// Reads a name, in the archive's encoding.
    fn name(&mut self, expected: &str) -> Result<Option<String>> {
        let at = self.input.offset();
        let name = self.input.text(self.widths, &self.place, expected)?;
        self.hasher.field(name.as_deref().unwrap_or_default());
        let Some(name) = name else { return Ok(None) };
        self.keep(name.len())?;
        Ok(Some(String::from_utf8(name).unwrap_or_else(|error| {
            self.invalid.get_or_insert_with(|| (at, self.place.clone()));
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        })))
    }

    /// Reads a decimal number, or `None` for NULL.
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

    /// Reads the SQL and keeps only its beginning. For large objects, the SQL is a list of their
    /// OIDs.
    fn definition(&mut self, description: &str) -> Result<Definition> {
        const HEAD_BYTES: usize = 1024;
        /// The maximum length of the privileges on one object.
        const MAX_PARSED_BYTES: usize = 1 << 20;
        let most = if has_parsed_sql(description) { MAX_PARSED_BYTES } else { HEAD_BYTES };
        let at = self.input.offset();
        let (lists, is_encoding) = (description == "BLOB METADATA", description == "ENCODING");
        let mut definition = Definition::default();
        let (mut digits, mut is_invalid) = (Some(0_u64), false);
        self.sql("its SQL", |piece, listed| {
            let room = most.saturating_sub(definition.head.len()).min(piece.len());
            definition.head.extend_from_slice(&piece[..room]);
            definition.bytes += piece.len() as u64;
            for byte in piece.iter().filter(|_| lists) {
                match (byte, digits) {
                    (b'\n', Some(oid)) => {
                        is_invalid |= !u32::try_from(oid).is_ok_and(|oid| listed.insert(oid));
                        digits = Some(0);
                    }
                    (b'0'..=b'9', Some(oid)) => digits = oid.checked_mul(10).map(|oid| oid + u64::from(byte - b'0')),
                    _ => is_invalid = true,
                }
            }
        })?;
        if lists && (is_invalid || digits != Some(0)) {
            return Err(self.damaged(at, "its SQL is not a list of unique OIDs of large objects"));
        }
        if is_encoding {
            if !definition.head.starts_with(b"SET client_encoding = '") {
                return Err(self.damaged(at, "its SQL does not set the encoding"));
            }
            if definition.head.starts_with(b"SET client_encoding = 'UTF8'") {
                self.encoding = Encoding::Utf8;
            }
        }
        Ok(definition)
    }

    fn copy(&mut self, had_dumper: bool) -> Result<Option<CopyStatement>> {
        let at = self.input.offset();
        // An empty statement counts as none.
        let Some(statement) = self.name("its COPY statement")?.filter(|statement| !statement.is_empty()) else {
            return Ok(None);
        };
        match CopyStatement::parse(&statement) {
            Some(copy) if had_dumper => Ok(Some(copy)),
            Some(_) => Err(self.damaged(at, "has a COPY statement, but no data")),
            None => Err(self.damaged(at, format!("its COPY statement is invalid: \"{}\"", statement.escape_debug()))),
        }
    }

    fn relation_kind(&mut self) -> Result<()> {
        let at = self.input.offset();
        let kind = self.int("its kind of relation")?;
        self.hasher.field(&kind.to_le_bytes());
        let letter = u8::try_from(kind).ok().is_some_and(|kind| kind == 0 || kind.is_ascii_alphabetic());
        if letter {
            Ok(())
        } else {
            Err(self.damaged(at, format!("its kind of relation is {kind}, which is not a letter")))
        }
    }

    fn with_oids(&mut self) -> Result<()> {
        let at = self.input.offset();
        let word = self.name("whether its rows have OIDs")?;
        match word.as_deref() {
            Some("true" | "false") => Ok(()),
            other => {
                let other = other.unwrap_or("NULL").escape_debug();
                Err(self.damaged(
                    at,
                    format!("whether its rows have OIDs is \"{other}\", where true or false was expected"),
                ))
            }
        }
    }

    /// Reads the offset of the data in the same file.
    fn block(&mut self, had_dumper: bool) -> Result<DataLocation> {
        const NOT_SET: u8 = 1;
        const SET: u8 = 2;
        const NO_DATA: u8 = 3;
        let at = self.input.offset();
        let state = self.input.byte(&self.place, "the state of its offset")?;
        let offset = self.input.position(self.widths, &self.place)?;
        match (state, had_dumper) {
            (NOT_SET, true) if offset == 0 => Ok(DataLocation::Block(None)),
            (SET, true) => Ok(DataLocation::Block(Some(offset))),
            (NO_DATA, false) if offset == 0 => Ok(DataLocation::None),
            (NOT_SET..=NO_DATA, _) => {
                let data = if had_dumper { "has data" } else { "has no data" };
                Err(self.damaged(at, format!("{data}, and the state of its offset is {state}, the offset {offset}")))
            }
            _ => Err(self.damaged(at, format!("the state of its offset is {state}, where 1 to 3 was expected"))),
        }
    }

    /// Reads the name of the file with the data.
    fn file(&mut self, had_dumper: bool) -> Result<DataLocation> {
        let at = self.input.offset();
        let file = self.name("the name of its file")?.unwrap_or_default();
        match (file.is_empty(), had_dumper) {
            (true, false) => Ok(DataLocation::None),
            (false, true) => Ok(DataLocation::File(file)),
            (true, true) => Err(self.damaged(at, "has data, but no file for it")),
            (false, false) => {
                Err(self.damaged(at, format!("has no data, but the file \"{}\" for it", file.escape_debug())))
            }
        }
    }
}
