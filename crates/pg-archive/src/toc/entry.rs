//! One entry of the TOC.

use std::ops::Range;

use crate::copy::Copy;
use crate::definitions::{DIGEST_BYTES, Definition, hex};

/// One entry; of the SQL it carries, only what matters for judging it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: i32,
    pub(super) catalog: u32,
    pub(super) oid: u32,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(super) schema: Option<String>,
    pub(crate) owner: String,
    pub(crate) tablespace: String,
    /// Its section as the TOC numbers them: 1 for none, 2 to 4 for before, with and after the data.
    pub(crate) section: i32,
    /// The offsets between which its SQL is.
    pub(crate) definition: Range<u64>,
    /// The digest of what defines it.
    pub(super) digest: [u8; DIGEST_BYTES],
    pub(super) has_definition: bool,
    /// Whether its SQL says that its rows are loaded into the table of its COPY statement, a partitioned one.
    pub(super) goes_to_root: bool,
    /// Where it begins.
    pub(super) at: u64,
    pub(crate) copy: Option<Copy>,
    pub(crate) data: Data,
    /// Where the TOC says where its data is.
    pub(crate) data_at: u64,
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

    /// Whether it is the same, wherever its data is.
    pub(crate) fn is_the_same_as(&self, other: &Self) -> bool {
        let numbers = |entry: &Self| (entry.id, entry.catalog, entry.oid, entry.has_definition);
        numbers(self) == numbers(other)
            && (&self.name, &self.description, &self.schema) == (&other.name, &other.description, &other.schema)
            && (&self.owner, &self.copy) == (&other.owner, &other.copy)
    }

    /// Whether its data is large objects.
    pub(crate) fn is_large_objects(&self) -> bool {
        self.description == "BLOBS"
    }

    /// Its line in `pg_restore --list`, if it has one there.
    pub(crate) fn line(&self) -> Option<String> {
        self.is_listed().then(|| self.list_line())
    }

    /// Returns whether `pg_restore --list` shows it.
    pub(super) fn is_listed(&self) -> bool {
        let of_database = || self.name.starts_with("DATABASE ");
        let of_large_object = || self.name.starts_with("LARGE OBJECT");
        match self.description.as_str() {
            "ENCODING" | "STDSTRINGS" | "SEARCHPATH" | "DATABASE" | "DATABASE PROPERTIES" => false,
            "ACL" | "COMMENT" | "SECURITY LABEL" if of_database() => false,
            "ACL" | "COMMENT" | "SECURITY LABEL" if of_large_object() => true,
            "SEQUENCE SET" | "BLOB" | "BLOB METADATA" | "STATISTICS DATA" => true,
            _ => self.data != Data::Nowhere || self.has_definition,
        }
    }

    /// Its definition, where `pg_restore --list` leaves it out.
    pub(super) fn unlisted(&self) -> Definition {
        let line = self.list_line();
        let entry = line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned();
        Definition { entry, digest: hex(self.digest) }
    }

    /// The line that `pg_restore --list` prints for it where it shows it.
    pub(crate) fn list_line(&self) -> String {
        let one_line = |text: &str| text.replace(['\n', '\r'], " ");
        let schema = self.schema.as_deref().map_or_else(|| "-".to_owned(), one_line);
        let (name, owner) = (one_line(&self.name), one_line(&self.owner));
        let Self { id, catalog, oid, description, .. } = self;
        format!("{id}; {catalog} {oid} {description} {schema} {name} {owner}")
    }
}
