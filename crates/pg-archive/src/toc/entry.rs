//! One entry of the TOC.

use std::ops::Range;

use crate::copy_statement::CopyStatement;
use crate::definitions::{DIGEST_BYTES, Definition, hex};

/// One entry, with only the part of its SQL that the checks need.
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
    /// The section as the TOC numbers it: 1 for none, 2 to 4 for before, with and after the data.
    pub(crate) section: i32,
    /// The range of the entry's SQL in the archive.
    pub(crate) definition: Range<u64>,
    /// The digest of the definition.
    pub(super) digest: [u8; DIGEST_BYTES],
    pub(super) has_definition: bool,
    /// True if the SQL states that the rows are loaded into the partitioned table of the COPY
    /// statement.
    pub(super) loads_via_root: bool,
    /// The offset of the entry.
    pub(super) offset: u64,
    pub(crate) copy: Option<CopyStatement>,
    pub(crate) data: DataLocation,
    /// The offset at which the TOC contains the offset of the data.
    pub(crate) data_offset_at: u64,
}

/// The place of an entry's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DataLocation {
    /// The entry has no data.
    None,
    /// A block of the same file, with its offset, if recorded.
    Block(Option<u64>),
    /// A file of this name, without the suffix of a compression.
    File(String),
}

impl Entry {
    /// Returns the name of the entry in messages.
    pub(crate) fn place(&self) -> String {
        if self.is_large_objects() {
            return format!("large objects (TOC entry {})", self.id);
        }
        format!("data of table {}", self.table())
    }

    /// Returns the table as `schema.name`.
    pub(crate) fn table(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }

    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// Returns true if the entries are equal except for the place of their data.
    pub(crate) fn is_equal_except_data(&self, other: &Self) -> bool {
        let numbers = |entry: &Self| (entry.id, entry.catalog, entry.oid, entry.has_definition);
        numbers(self) == numbers(other)
            && (&self.name, &self.description, &self.schema) == (&other.name, &other.description, &other.schema)
            && (&self.owner, &self.copy) == (&other.owner, &other.copy)
    }

    /// Returns true if the data is large objects.
    pub(crate) fn is_large_objects(&self) -> bool {
        self.description == "BLOBS"
    }

    /// Returns the line in `pg_restore --list`, if the entry is listed.
    pub(crate) fn line(&self) -> Option<String> {
        self.is_listed().then(|| self.list_line())
    }

    /// Returns true if `pg_restore --list` shows the entry.
    pub(super) fn is_listed(&self) -> bool {
        let of_database = || self.name.starts_with("DATABASE ");
        let of_large_object = || self.name.starts_with("LARGE OBJECT");
        match self.description.as_str() {
            "ENCODING" | "STDSTRINGS" | "SEARCHPATH" | "DATABASE" | "DATABASE PROPERTIES" => false,
            "ACL" | "COMMENT" | "SECURITY LABEL" if of_database() => false,
            "ACL" | "COMMENT" | "SECURITY LABEL" if of_large_object() => true,
            "SEQUENCE SET" | "BLOB" | "BLOB METADATA" | "STATISTICS DATA" => true,
            _ => self.data != DataLocation::None || self.has_definition,
        }
    }

    /// Returns the definition of an entry that `pg_restore --list` omits.
    pub(super) fn unlisted_definition(&self) -> Definition {
        let line = self.list_line();
        let entry = line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned();
        Definition { entry, digest: hex(self.digest) }
    }

    /// Returns the line that `pg_restore --list` prints for a listed entry.
    pub(crate) fn list_line(&self) -> String {
        let one_line = |text: &str| text.replace(['\n', '\r'], " ");
        let schema = self.schema.as_deref().map_or_else(|| "-".to_owned(), one_line);
        let (name, owner) = (one_line(&self.name), one_line(&self.owner));
        let Self { id, catalog, oid, description, .. } = self;
        format!("{id}; {catalog} {oid} {description} {schema} {name} {owner}")
    }
}
