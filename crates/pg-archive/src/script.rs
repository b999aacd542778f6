//! SQL of pg_dump and pg_dumpall.
//!
//! The script is parsed like psql does, since a line is data, a command or neither depending on its
//! context. pg_dump's output has one form, and any deviation is damage: in the beginning and end,
//! in commands, and in COPY statements.
//!
//! | module | parses |
//! |---|---|
//! | `lexer` | the ends of statements, comments and commands |
//! | `function_body` | the semicolons within functions |
//! | `command` | `\connect`, `\encoding`, `\restrict` |
//! | `definition_digests` | digests of definitions |
//! | `dump_markers` | the beginning of a script, its dumps, and its end |
//! | `table_section` | the data of one table |
//!
//! A script has no table of contents, so a missing statement is not detected. Of large objects only
//! the number is known: the content of each is in a sequence of calls, so no digest comparable to
//! an archive's exists.

mod command;
mod definition_digests;
mod dump_markers;
mod function_body;
pub(crate) mod lexer;
mod table_section;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use crate::conversion::Conversion;
use crate::copy_data::{CopyDataChecker, Flaw};
use crate::copy_statement::CopyStatement;
use crate::encoding::{Encoding, TextChecker};
use crate::error::{Error, Result};
use crate::facts::{Compression, ExtraFiles, Facts, Format, LargeObjects, Origin, Progress, Sequence, Table};
use crate::input::Input;
use crate::script::command::Command;
use crate::script::definition_digests::DefinitionDigests;
use crate::script::dump_markers::DumpMarkers;
use crate::script::lexer::{Element, Lexer};
use crate::script::table_section::TableSection;
use crate::sql::{SetValue, Strings, Tokens, roles};

/// The beginning of the statement that opens a large object for writing, which occurs once per
/// object.
const OPEN_LARGE_OBJECT: &str = "SELECT pg_catalog.lo_open(";
/// The maximum memory for the names of tables, in bytes: enough for millions of tables.
const MAX_KEPT_BYTES: usize = 1 << 30;
const SCRIPT: &str = "script";

/// Reads a script to its end.
pub(crate) fn read<R: BufRead>(mut input: Input<R>, on_progress: &mut dyn FnMut(&Progress)) -> Result<Facts> {
    let markers = DumpMarkers::read_start(&mut input)?;
    let mut script = Script {
        input,
        on_progress,
        lexer: Lexer::new(),
        markers,
        encoding: Encoding::Other,
        text: TextChecker::new(Encoding::Other),
        origin: Origin::default(),
        database: None,
        section: None,
        tables: Vec::new(),
        sequences: Vec::new(),
        extensions: BTreeSet::new(),
        roles: BTreeSet::new(),
        created_roles: BTreeSet::new(),
        tablespaces: BTreeSet::new(),
        digests: DefinitionDigests::default(),
        kept: 0,
        large_objects: 0,
    };
    let tail = script.read_to_completion_mark()?;
    dump_markers::read_end(&mut script.input, &tail)?;
    let Script { input, markers, mut origin, database, tables, large_objects, .. } = script;
    let Script { sequences, extensions, roles, created_roles, tablespaces, digests, .. } = script;
    if markers.format == Format::Script {
        origin.database = database;
    }
    Ok(Facts {
        format: markers.format,
        compression: Compression::None,
        origin,
        tables,
        large_objects: LargeObjects { count: large_objects, ..LargeObjects::default() },
        sequences,
        extensions,
        roles,
        created_roles,
        tablespaces,
        database_tablespace: None,
        objects: BTreeMap::new(),
        toc: Vec::new(),
        definitions: digests.finish(),
        toc_entries: 0,
        bytes: input.offset(),
        extra_files: ExtraFiles::default(),
    })
}

/// The state of parsing.
struct Script<'a, R> {
    input: Input<R>,
    on_progress: &'a mut dyn FnMut(&Progress),
    lexer: Lexer,
    markers: DumpMarkers,
    encoding: Encoding,
    /// The checker of the SQL's text.
    text: TextChecker,
    origin: Origin,
    /// The argument of the last `\connect`.
    database: Option<String>,
    /// The announced table, whose data follows.
    section: Option<TableSection>,
    tables: Vec<Table>,
    sequences: Vec<Sequence>,
    extensions: BTreeSet<String>,
    roles: BTreeSet<String>,
    created_roles: BTreeSet<String>,
    tablespaces: BTreeSet<String>,
    /// The digests of the statements.
    digests: DefinitionDigests,
    /// The number of bytes of the kept names.
    kept: usize,
    large_objects: u64,
}

impl<R: BufRead> Script<'_, R> {
    /// Reads to the completion mark, and returns the text that must follow the mark.
    fn read_to_completion_mark(&mut self) -> Result<String> {
        loop {
            let offset = self.input.offset();
            let piece = self.input.fill(SCRIPT)?;
            if piece.is_empty() {
                return Err(self.truncated());
            }
            let step = self.lexer.step(piece, offset);
            let piece = &piece[..step.as_ref().map_or_else(|error| error.at, |step| step.bytes)];
            // Invalid text before a flaw is reported first, independent of the sizes of the pieces.
            if let Err(invalid) = self.text.push(piece) {
                let at = offset + invalid.at as u64 - invalid.earlier_bytes as u64;
                return Err(Error::damaged(at, SCRIPT, invalid));
            }
            let step = step.map_err(|error| Error::damaged(self.lexer.element_start(), SCRIPT, error.flaw))?;
            // pg_dump writes no carriage returns between statements or at the end of a comment.
            if let Some(at) = memchr::memchr(b'\r', &piece[..step.blank]) {
                return Err(Conversion::CarriageReturns.error(offset + at as u64));
            }
            if step.ended == Some(Element::Comment) && self.lexer.text().ends_with(b"\r\n") {
                return Err(Conversion::CarriageReturns.error(offset + step.bytes as u64 - 2));
            }
            if !step.is_comment {
                if let Some(section) = &mut self.section {
                    section.push(piece);
                }
                if self.lexer.is_in_statement() || step.ended == Some(Element::Statement) {
                    let database = named_database(&self.markers, &self.database);
                    self.digests.push(&piece[step.blank..], self.section.is_some(), database);
                }
            }
            self.input.consume(step.bytes);
            match step.ended {
                None => {}
                Some(Element::Statement) => self.statement()?,
                Some(Element::Command) => self.command().map_err(|flaw| self.damaged(flaw))?,
                Some(Element::Comment) => {
                    if let Some(tail) = self.comment().map_err(|flaw| self.damaged(flaw))? {
                        return Ok(tail);
                    }
                }
            }
        }
    }

    /// Returns an error of damage at the beginning of the last element.
    fn damaged(&self, flaw: Flaw) -> Error {
        Error::damaged(self.lexer.element_start(), SCRIPT, flaw)
    }

    /// Returns the error of a script that ends here.
    fn truncated(&self) -> Error {
        let end = self.input.offset();
        match self.lexer.open() {
            Some((began, element)) => {
                let message = format!("begins here, but the script ends within it, at byte {end}: it is cut");
                Error::damaged(began, element, message)
            }
            None => self
                .input
                .truncated("end of the script", &format!("the completion mark \"{}\"", self.markers.completion_mark())),
        }
    }

    /// Processes a comment. For the completion mark, returns the text that must follow the mark.
    fn comment(&mut self) -> Result<Option<String>, Flaw> {
        let at = self.lexer.element_start();
        let text = self.lexer.text();
        let line = &*text.strip_suffix(b"\n").unwrap_or(text).to_owned();
        if !self.lexer.at_line_start() {
            return Ok(None);
        }
        self.digests.comment(line, named_database(&self.markers, &self.database));
        if let Some(mut section) = self.section.take() {
            if section.comment(line) {
                self.section = Some(section);
                return Ok(None);
            }
            let database = self.database.clone().filter(|_| self.markers.format == Format::ClusterScript);
            self.count_kept(section.name().len())?;
            self.tables.push(section.finish(database));
        }
        if let Some(section) = TableSection::from_comment(line) {
            self.section = Some(section);
            return Ok(None);
        }
        let version = |prefix: &str| {
            let version = line.strip_prefix(prefix.as_bytes())?;
            Some(String::from_utf8_lossy(version).into_owned())
        };
        if let Some(version) = version("-- Dumped from database version ") {
            self.origin.server_version.get_or_insert(version);
        } else if let Some(version) = version("-- Dumped by pg_dump version ") {
            self.origin.tool_version.get_or_insert(version);
        }
        self.markers.comment(at, line)
    }

    /// Processes a command.
    fn command(&mut self) -> Result<(), Flaw> {
        let line = String::from_utf8_lossy(self.lexer.text());
        match Command::parse(line.trim_end_matches('\n'))? {
            Command::Restrict(key) => self.markers.restrict(key),
            Command::Unrestrict(key) => self.markers.unrestrict(&key),
            Command::Encoding(name) => {
                self.markers.require_unrestricted("\\encoding")?;
                self.set_encoding(&name);
                Ok(())
            }
            Command::Connect(database) => {
                self.markers.require_unrestricted("\\connect")?;
                self.database = Some(database);
                self.lexer.all_strings_escape = false;
                self.set_encoding("");
                Ok(())
            }
        }
    }

    /// Sets the encoding of the following text.
    fn set_encoding(&mut self, name: &str) {
        self.encoding = if name == "UTF8" { Encoding::Utf8 } else { Encoding::Other };
        self.text = TextChecker::new(self.encoding);
        self.lexer.is_double_byte =
            matches!(name, "BIG5" | "GB18030" | "GBK" | "JOHAB" | "SHIFT_JIS_2004" | "SJIS" | "UHC");
    }

    /// Processes a statement, including the data after it.
    fn statement(&mut self) -> Result<()> {
        let (strings, database) = (self.strings(), named_database(&self.markers, &self.database));
        self.digests.statement(self.lexer.text(), strings, self.section.is_some(), database);
        let kept = self.digests.kept();
        self.count_kept(kept).map_err(|flaw| self.damaged(flaw))?;
        let text = self.lexer.text();
        if let Some(section) = &mut self.section
            && section.statement()
        {
            (self.on_progress)(&Progress { name: section.name(), done: self.tables.len() as u64, total: None });
        }
        if text.starts_with(SetValue::BEGINNING.as_bytes()) {
            return self.sequence().map_err(|flaw| self.damaged(flaw));
        }
        if has_references(text) {
            self.record_references().map_err(|flaw| self.damaged(flaw))?;
        }
        let text = self.lexer.text();
        if text.starts_with(b"SET ") {
            let text = String::from_utf8_lossy(text).into_owned();
            let encoding = text.strip_prefix("SET client_encoding = '").and_then(|rest| rest.strip_suffix("';"));
            match (encoding, text.as_str()) {
                (Some(encoding), _) => self.set_encoding(encoding),
                (None, "SET standard_conforming_strings = on;") => self.lexer.all_strings_escape = false,
                (None, "SET standard_conforming_strings = off;") => self.lexer.all_strings_escape = true,
                _ => {}
            }
        } else if text.starts_with(OPEN_LARGE_OBJECT.as_bytes()) {
            self.large_objects += 1;
        } else if text.starts_with(b"COPY ") {
            let text = String::from_utf8_lossy(text);
            let Some(copy) = CopyStatement::parse(&text) else {
                return Err(self.damaged("a COPY statement differs from pg_dump's form".to_owned()));
            };
            self.count_kept(text.len()).map_err(|flaw| self.damaged(flaw))?;
            return self.copy(copy);
        }
        Ok(())
    }

    /// Processes the value that a sequence is set to.
    fn sequence(&mut self) -> Result<(), Flaw> {
        let text = String::from_utf8_lossy(self.lexer.text()).into_owned();
        let set = SetValue::parse(&text, self.strings())
            .ok_or("a statement that sets a sequence differs from pg_dump's form")?;
        let SetValue { sequence: Some((schema, name)), value, called } = set else { return Ok(()) };
        self.count_kept(text.len())?;
        let database = self.database.clone().filter(|_| self.markers.format == Format::ClusterScript);
        self.sequences.push(Sequence { database, schema, name, value, called });
        Ok(())
    }

    /// Returns the meaning of a backslash in a string.
    fn strings(&self) -> Strings {
        if self.lexer.all_strings_escape { Strings::Escaped } else { Strings::Standard }
    }

    /// Records the objects that a statement requires.
    fn record_references(&mut self) -> Result<(), Flaw> {
        let text = self.lexer.text().to_owned();
        let to_string = |name: Vec<u8>| String::from_utf8_lossy(&name).into_owned();
        let mut kept = 0;
        if self.markers.format == Format::Script {
            for role in roles(&text, self.strings()) {
                let name = to_string(role.name);
                kept += if self.roles.contains(&name) { 0 } else { name.len() };
                self.roles.insert(name);
            }
        }
        let mut tokens = Tokens::new(&text, self.strings());
        let names = tokens.clone();
        if text.starts_with(b"CREATE EXTENSION ") {
            let of_statement = ["CREATE", "EXTENSION", "IF", "NOT", "EXISTS"];
            let token = tokens.find(|token| !of_statement.iter().any(|word| names.is(token, word)));
            self.extensions.extend(token.and_then(|token| names.name(&token)).map(to_string));
            kept += text.len();
        } else if self.markers.format == Format::ClusterScript && text.starts_with(b"CREATE ROLE ") {
            self.created_roles.extend(tokens.nth(2).and_then(|token| names.name(&token)).map(to_string));
            kept += text.len();
        } else if text.starts_with(b"SET default_tablespace = ") {
            let name = tokens.nth(3).and_then(|token| names.name(&token).or_else(|| names.string(&token)));
            self.tablespaces.extend(name.map(to_string).filter(|name| !name.is_empty()));
            kept += text.len();
        }
        self.count_kept(kept)
    }

    /// Counts the memory of kept names.
    fn count_kept(&mut self, bytes: usize) -> Result<(), Flaw> {
        self.kept += bytes;
        if self.kept > MAX_KEPT_BYTES {
            return Err(format!("the names of tables take {} bytes, which exceeds the limit", self.kept));
        }
        Ok(())
    }

    /// Reads the rows after a COPY statement.
    fn copy(&mut self, copy: CopyStatement) -> Result<()> {
        let began = self.lexer.element_start();
        let width = copy.width();
        let database = self.database.clone().filter(|_| self.markers.format == Format::ClusterScript);
        let mut table = table_section::table(copy, self.section.take(), database);
        let name = match &table.schema {
            Some(schema) => format!("{schema}.{}", table.name),
            None => table.name.clone(),
        };
        let place = format!("data of table {name}");
        (self.on_progress)(&Progress { name, done: self.tables.len() as u64, total: None });
        let at = self.input.offset();
        let byte = self.input.byte(&place, "its rows")?;
        if byte == b'\r' {
            return Err(Conversion::CarriageReturns.error(at));
        }
        if byte != b'\n' {
            return Err(Error::damaged(at, place, "a line feed was expected after the COPY statement"));
        }
        let first = self.input.offset();
        let mut rows = CopyDataChecker::new(Some(width), TextChecker::new(self.encoding));
        while !rows.has_ended() {
            let offset = self.input.offset();
            let piece = self.input.fill(&place)?;
            if piece.is_empty() {
                let rows = rows.into_stats().rows;
                let message = format!(
                    "its COPY statement is here, and the script ends at byte {offset}, after {rows} whole rows and without the \
                     end mark \\.: it is cut"
                );
                return Err(Error::damaged(began, place, message));
            }
            // The current offset depends on the sizes of the pieces; the beginning of the data does
            // not.
            let rest = match rows.check_until_end_mark(piece) {
                Ok(rest) => rest,
                Err(flaw) => {
                    return Err(match rows.crlf_offset() {
                        Some(at) => Conversion::CarriageReturns.error(first + at),
                        None => Error::damaged(first, &*place, flaw),
                    });
                }
            };
            let taken = piece.len() - rest.len();
            self.input.consume(taken);
        }
        table_section::set_stats(&mut table, rows.into_stats());
        self.tables.push(table);
        self.lexer.resume_at_line_start();
        Ok(())
    }
}

/// Returns the connected database, if the script contains several.
fn named_database<'a>(markers: &DumpMarkers, database: &'a Option<String>) -> Option<&'a str> {
    database.as_deref().filter(|_| markers.format == Format::ClusterScript)
}

/// Returns true if a statement with this beginning may name objects that must exist before.
fn has_references(text: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 10] = [
        b"ALTER ",
        b"CREATE EXTENSION ",
        b"CREATE POLICY ",
        b"CREATE ROLE ",
        b"CREATE SCHEMA ",
        b"CREATE USER MAPPING ",
        b"GRANT ",
        b"REVOKE ",
        b"SET SESSION AUTHORIZATION ",
        b"SET default_tablespace = ",
    ];
    BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
}
