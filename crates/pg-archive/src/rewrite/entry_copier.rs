//! Copying of TOC entries.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};

use crate::error::{Error, Result};
use crate::header::{Header, Layout, WITH_ACCESS_METHOD, WITH_RELATION_KIND, WITH_SECTION};
use crate::input::Input;
use crate::sql::{Strings, roles};
use crate::toc::names_roles;

/// The maximum length of SQL that is parsed, in bytes.
const MAX_SQL_BYTES: u64 = 1 << 26;

/// A copier of entries that renames roles.
pub(super) struct EntryCopier<'a, R, W> {
    input: &'a mut Input<R>,
    output: W,
    header: &'a Header,
    map: &'a BTreeMap<String, String>,
    found: BTreeSet<String>,
    place: String,
    strings: Strings,
    is_utf8: bool,
}

impl<'a, R: BufRead, W: Write> EntryCopier<'a, R, W> {
    pub(super) fn new(
        input: &'a mut Input<R>,
        output: W,
        header: &'a Header,
        map: &'a BTreeMap<String, String>,
    ) -> Self {
        let (found, place) = (BTreeSet::new(), "TOC".to_owned());
        // Before PostgreSQL 8.1, archives did not record the string syntax, and a backslash escaped
        // the next byte.
        Self { input, output, header, map, found, place, strings: Strings::Escaped, is_utf8: false }
    }

    /// Returns the names that were found.
    pub(super) fn finish(self) -> BTreeSet<String> {
        self.found
    }

    /// Copies all entries.
    pub(super) fn copy_all(&mut self) -> Result<()> {
        let at = self.input.offset();
        let count = self.copy_int("the number of its entries")?;
        if count < 0 {
            return Err(Error::damaged(at, "TOC", format!("has {count} entries")));
        }
        for number in 1..=count {
            self.place = format!("TOC entry {number} of {count}");
            self.copy_entry()?;
        }
        Ok(())
    }

    fn copy_entry(&mut self) -> Result<()> {
        const SECTION: &str = "its section";
        self.copy_int("its id")?;
        self.copy_int("whether it has data")?;
        self.copy_string("the OID of its catalog")?;
        self.copy_string("its OID")?;
        self.copy_string("its name")?;
        let description = self.read_string("its kind", MAX_SQL_BYTES)?;
        self.write_string(description.as_deref(), "its kind")?;
        let description = description.unwrap_or_default();
        let description = String::from_utf8_lossy(&description);
        if self.header.version >= WITH_SECTION {
            self.copy_int(SECTION)?;
        }
        self.copy_sql(&description, "its SQL")?;
        self.copy_sql(&description, "its DROP statement")?;
        self.copy_string("its COPY statement")?;
        self.copy_string("its schema")?;
        self.copy_string("its tablespace")?;
        if self.header.version >= WITH_ACCESS_METHOD {
            self.copy_string("its access method")?;
        }
        if self.header.version >= WITH_RELATION_KIND {
            self.copy_int("its kind of relation")?;
        }
        self.copy_owner()?;
        self.copy_string("whether its rows have OIDs")?;
        while self.copy_string("an entry it depends on")? {}
        match self.header.layout {
            Layout::Files => self.copy_string("the name of its file").map(drop),
            Layout::Custom => self.clear_offset(),
        }
    }

    /// Copies SQL, with renamed roles if the kind of entry may name any.
    fn copy_sql(&mut self, description: &str, expected: &str) -> Result<()> {
        if !matches!(description, "ENCODING" | "STDSTRINGS") && !names_roles(description) {
            return self.copy_string(expected).map(drop);
        }
        let sql = self.read_string(expected, MAX_SQL_BYTES)?;
        let renamed = match (description, &sql) {
            (_, None) => None,
            ("ENCODING", Some(sql)) => {
                self.is_utf8 |= sql.starts_with(b"SET client_encoding = 'UTF8'");
                None
            }
            ("STDSTRINGS", Some(sql)) => {
                if sql.starts_with(b"SET standard_conforming_strings = 'on'") {
                    self.strings = Strings::Standard;
                }
                None
            }
            (_, Some(sql)) => Some(self.rename_roles(sql)?),
        };
        self.write_string(renamed.or(sql).as_deref(), expected)
    }

    fn copy_owner(&mut self) -> Result<()> {
        const OWNER: &str = "its owner";
        let owner = self.read_string(OWNER, MAX_SQL_BYTES)?;
        let new = owner.as_deref().map(|owner| self.new_name(owner)).transpose()?.flatten();
        self.write_string(new.map(str::as_bytes).or(owner.as_deref()), OWNER)
    }

    /// Returns SQL with renamed roles.
    fn rename_roles(&mut self, sql: &[u8]) -> Result<Vec<u8>> {
        let mut renamed = Vec::with_capacity(sql.len());
        let mut end = 0;
        for role in roles(sql, self.strings) {
            let Some(new) = self.new_name(&role.name)? else { continue };
            renamed.extend_from_slice(&sql[end..role.range.start]);
            let quote = if sql[role.range.start] == b'\'' { '\'' } else { '"' };
            if quote == '\'' && self.strings == Strings::Escaped && new.contains('\\') {
                let message = format!("the name \"{}\" cannot be written as a string here", new.escape_debug());
                return Err(Error::unsupported(self.input.offset(), self.place.clone(), message));
            }
            let doubled = new.replace(quote, &format!("{quote}{quote}"));
            renamed.extend_from_slice(format!("{quote}{doubled}{quote}").as_bytes());
            end = role.range.end;
        }
        renamed.extend_from_slice(&sql[end..]);
        Ok(renamed)
    }

    /// Returns the new name of a role, if it has one.
    fn new_name(&mut self, name: &[u8]) -> Result<Option<&'a str>> {
        let is_ascii = |(old, new): (&String, &String)| old.is_ascii() && new.is_ascii();
        if !self.is_utf8 && !self.map.iter().all(is_ascii) {
            let message = "the role map contains non-ASCII names, and the archive is not in UTF-8";
            return Err(Error::unsupported(self.input.offset(), self.place.clone(), message));
        }
        let Some((old, new)) = std::str::from_utf8(name).ok().and_then(|name| self.map.get_key_value(name)) else {
            return Ok(None);
        };
        self.found.insert(old.clone());
        Ok(Some(new))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let (offset, place) = (self.input.offset(), &self.place);
        self.output.write_all(bytes).map_err(|error| Error::write_failed(offset, place, error))
    }

    /// Copies a number, and returns it.
    fn copy_int(&mut self, expected: &str) -> Result<i32> {
        let value = self.input.int(self.header.widths, &self.place, expected)?;
        self.write_int(value)?;
        Ok(value)
    }

    fn write_int(&mut self, value: i32) -> Result<()> {
        let magnitude = u64::from(value.unsigned_abs()).to_le_bytes();
        self.write(&[u8::from(value < 0)])?;
        self.write(&magnitude[..usize::from(self.header.widths.int)])
    }

    /// Writes a string, or NULL.
    fn write_string(&mut self, text: Option<&[u8]>, expected: &str) -> Result<()> {
        let Some(text) = text else { return self.write_int(-1) };
        let Ok(length) = i32::try_from(text.len()) else {
            let message = format!("{expected} would be {} bytes long", text.len());
            return Err(Error::unsupported(self.input.offset(), self.place.clone(), message));
        };
        self.write_int(length)?;
        self.write(text)
    }

    /// Reads the length of a string, or `None` for NULL.
    fn length(&mut self, expected: &str) -> Result<Option<u64>> {
        let at = self.input.offset();
        match self.input.int(self.header.widths, &self.place, expected)? {
            -1 => Ok(None),
            length => match u64::try_from(length) {
                Ok(length) => Ok(Some(length)),
                Err(_) => Err(Error::damaged(at, self.place.clone(), format!("{expected} has the length {length}"))),
            },
        }
    }

    /// Reads a string of at most `max_bytes` bytes, or `None` for NULL.
    fn read_string(&mut self, expected: &str, max_bytes: u64) -> Result<Option<Vec<u8>>> {
        let at = self.input.offset();
        let Some(length) = self.length(expected)? else { return Ok(None) };
        if length > max_bytes {
            let message = format!("{expected} is {length} bytes long, where at most {max_bytes} were expected");
            return Err(Error::unsupported(at, self.place.clone(), message));
        }
        let mut text = Vec::new();
        self.input.pieces(length, &self.place, expected, |piece| text.extend_from_slice(piece))?;
        Ok(Some(text))
    }

    /// Copies a string of any length. Returns false for NULL.
    fn copy_string(&mut self, expected: &str) -> Result<bool> {
        let Some(length) = self.length(expected)? else {
            self.write_int(-1)?;
            return Ok(false);
        };
        let Ok(length_int) = i32::try_from(length) else {
            return Err(Error::damaged(self.input.offset(), self.place.clone(), format!("{expected} is too long")));
        };
        self.write_int(length_int)?;
        let (offset, mut written) = (self.input.offset(), Ok(()));
        let output = &mut self.output;
        self.input.pieces(length, &self.place, expected, |piece| {
            if written.is_ok() {
                written = output.write_all(piece);
            }
        })?;
        written.map_err(|error| Error::write_failed(offset, &self.place, error))?;
        Ok(true)
    }

    /// Replaces the offset of data, which will change.
    fn clear_offset(&mut self) -> Result<()> {
        const NOT_SET: u8 = 1;
        const NO_DATA: u8 = 3;
        let at = self.input.offset();
        let state = self.input.byte(&self.place, "the state of its offset")?;
        self.input.position(self.header.widths, &self.place)?;
        if !(NOT_SET..=NO_DATA).contains(&state) {
            let message = format!("the state of its offset is {state}, where 1 to 3 was expected");
            return Err(Error::damaged(at, self.place.clone(), message));
        }
        let state = if state == NO_DATA { NO_DATA } else { NOT_SET };
        self.write(&[state])?;
        self.write(&[0; 8][..usize::from(self.header.widths.offset)])
    }
}
