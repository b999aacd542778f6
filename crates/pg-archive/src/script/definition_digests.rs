//! Digests of a script's definitions: of each object that a comment of pg_dump announces, and of
//! every other statement.

use crate::definitions::{Definition, Definitions, Hasher, hex, statement_head};
use crate::script::OPEN_LARGE_OBJECT;
use crate::sql::Strings;

/// The number of bytes at the beginning of a statement that identify its kind.
const HEAD_BYTES: usize = 32;
/// The beginning of every comment before an object, and the labels after the object's name, kind
/// and schema.
const NAME: &str = "-- Name: ";
const KIND: &str = "; Type: ";
const SCHEMA: &str = "; Schema: ";
const OWNER: &str = "; Owner: ";
/// The beginnings of comments that end the statements of an object.
const OBJECT_ENDS: [&[u8]; 2] = [b"-- Data for Name: ", b"-- PostgreSQL database "];
/// Calls that create and fill large objects. A script may contain millions, so they share one
/// digest.
const LARGE_OBJECT_CALLS: [&[u8]; 4] = [
    OPEN_LARGE_OBJECT.as_bytes(),
    b"SELECT pg_catalog.lo_create(",
    b"SELECT pg_catalog.lowrite(",
    b"SELECT pg_catalog.lo_close(",
];

/// A collector of digests, independent of the sizes of the pieces.
#[derive(Default)]
pub(crate) struct DefinitionDigests {
    done: Vec<Definition>,
    /// The object whose statements are being read.
    object: Option<(String, Hasher)>,
    large_objects: Option<Hasher>,
    /// INSERT statements that are not the data of a table. The number of them that end in one step
    /// depends on the sizes of the pieces.
    inserts: Option<Hasher>,
    /// The first bytes of the open statement, until they suffice to identify its kind.
    head: Vec<u8>,
    open: OpenStatement,
    /// The number of bytes kept since the last call of `kept`.
    kept: usize,
}

/// The kind of the open statement.
#[derive(Default)]
enum OpenStatement {
    #[default]
    Unknown,
    /// A data statement, whose digest is elsewhere.
    Data,
    LargeObject,
    Insert,
    OfObject,
    Own(Box<Hasher>),
}

impl DefinitionDigests {
    /// Processes a comment outside of statements. `database` is the connected database, if the
    /// script contains several.
    pub(crate) fn comment(&mut self, line: &[u8], database: Option<&str>) {
        let announced = parse_announcement(line);
        if announced.is_some() || OBJECT_ENDS.iter().any(|object_end| line.starts_with(object_end)) {
            self.end_object();
        }
        if let Some(entry) = announced {
            self.object = Some((qualified(database, entry), new_hasher(database)));
        }
    }

    /// Processes a part of a statement. `is_table_data` is true if INSERT statements are the data
    /// of a table.
    pub(crate) fn push(&mut self, piece: &[u8], is_table_data: bool, database: Option<&str>) {
        let mut rest = piece;
        if matches!(self.open, OpenStatement::Unknown) {
            let (head, after) = piece.split_at(piece.len().min(HEAD_BYTES - self.head.len()));
            self.head.extend_from_slice(head);
            rest = after;
            if self.head.len() == HEAD_BYTES {
                self.classify(is_table_data, database);
            }
        }
        self.add(rest);
    }

    /// Ends a statement that begins with `text`.
    pub(crate) fn statement(&mut self, text: &[u8], strings: Strings, is_table_data: bool, database: Option<&str>) {
        if matches!(self.open, OpenStatement::Unknown) {
            self.classify(is_table_data, database);
        }
        if let OpenStatement::Own(hasher) = std::mem::take(&mut self.open) {
            self.keep(qualified(database, statement_head(text, strings)), &hasher);
        }
    }

    /// Returns the bytes that were kept since the last call.
    pub(crate) fn kept(&mut self) -> usize {
        std::mem::take(&mut self.kept)
    }

    /// Returns all digests, in the order of the script.
    pub(crate) fn finish(mut self) -> Definitions {
        self.end_object();
        for (name, hasher) in [("large objects", self.large_objects.take()), ("INSERT statements", self.inserts.take())]
        {
            if let Some(hasher) = hasher {
                self.keep(name.to_owned(), &hasher);
            }
        }
        Definitions { listed: Vec::new(), others: self.done }
    }

    /// Determines the kind of the open statement from its first bytes.
    fn classify(&mut self, is_table_data: bool, database: Option<&str>) {
        let head = std::mem::take(&mut self.head);
        self.open = if head.starts_with(b"COPY ") || is_table_data && head.starts_with(b"INSERT ") {
            OpenStatement::Data
        } else if LARGE_OBJECT_CALLS.iter().any(|call| head.starts_with(call)) {
            self.large_objects.get_or_insert_default();
            OpenStatement::LargeObject
        } else if self.object.is_some() && !head.starts_with(b"SET ") {
            OpenStatement::OfObject
        } else if head.starts_with(b"INSERT ") {
            self.inserts.get_or_insert_default();
            OpenStatement::Insert
        } else {
            OpenStatement::Own(Box::new(new_hasher(database)))
        };
        // Consecutive statements in one piece are also separated by a line feed.
        self.add(b"\n");
        self.add(&head);
    }

    fn add(&mut self, bytes: &[u8]) {
        match &mut self.open {
            OpenStatement::Unknown | OpenStatement::Data => {}
            OpenStatement::LargeObject => self.large_objects.iter_mut().for_each(|hasher| hasher.update(bytes)),
            OpenStatement::Insert => self.inserts.iter_mut().for_each(|hasher| hasher.update(bytes)),
            OpenStatement::OfObject => self.object.iter_mut().for_each(|(_, hasher)| hasher.update(bytes)),
            OpenStatement::Own(hasher) => hasher.update(bytes),
        }
    }

    fn end_object(&mut self) {
        if let Some((entry, hasher)) = self.object.take() {
            self.keep(entry, &hasher);
        }
    }

    fn keep(&mut self, entry: String, hasher: &Hasher) {
        let definition = Definition { entry, digest: hex(hasher.finish()) };
        self.kept += size_of::<Definition>() + definition.entry.len() + definition.digest.len();
        self.done.push(definition);
    }
}

/// Returns a digest that begins with the name of the database.
fn new_hasher(database: Option<&str>) -> Hasher {
    let mut hasher = Hasher::default();
    hasher.field(database.unwrap_or_default().as_bytes());
    hasher
}

/// Prefixes an entry with its database, if the script contains several.
fn qualified(database: Option<&str>, entry: String) -> String {
    match database {
        Some(database) => format!("{database}: {entry}"),
        None => entry,
    }
}

/// Returns the object that a comment announces, in the form of `pg_restore --list`.
fn parse_announcement(line: &[u8]) -> Option<String> {
    let line = String::from_utf8_lossy(line);
    let (rest, owner) = line.strip_prefix(NAME)?.rsplit_once(OWNER)?;
    let (rest, schema) = rest.rsplit_once(SCHEMA)?;
    let (name, kind) = rest.rsplit_once(KIND)?;
    Some(format!("{kind} {schema} {name} {owner}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_object_comments() {
        let line = b"-- Name: total(integer); Type: FUNCTION; Schema: public; Owner: app";
        assert_eq!(parse_announcement(line), Some("FUNCTION public total(integer) app".to_owned()));
        assert_eq!(parse_announcement(b"-- Name of mine"), None);
        assert_eq!(parse_announcement(b"-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: app"), None);
    }
}
