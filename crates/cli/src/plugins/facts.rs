//! The contents of a dump or base backup, in types that belong to no plugin.

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The contents of a dump, as recorded by its verifier.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The format in words, such as `custom format`.
    pub(crate) format: String,
    /// True for an archive, which `pg_restore` reads, and false for a script.
    pub(crate) is_archive: bool,
    /// The compression of the data inside an archive.
    pub(crate) compression: Compression,
    /// The origin, as the dump records it.
    pub(crate) origin: Origin,
    /// The tables with data, in the order of the dump.
    pub(crate) tables: Vec<Table>,
    /// The number of large objects.
    pub(crate) large_objects: u64,
    /// The size of all large objects in bytes.
    pub(crate) large_object_bytes: u64,
    /// The number of entries in the table of contents.
    pub(crate) toc_entries: u64,
    /// The size of the dump in bytes.
    pub(crate) bytes: u64,
    /// The number of files beside the dump that are not part of it.
    pub(crate) extra_files: u64,
    /// The names of the first of these files.
    pub(crate) extra_file_names: Vec<String>,
}

/// The compression of the data inside an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// No compression.
    None,
    /// zlib streams or gzip files.
    Gzip,
    /// LZ4 frames.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// The origin of a dump, as the dump records it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The version of the archive format.
    pub(crate) version: Option<String>,
    /// The start of the dump, by the clock of the source host.
    pub(crate) created: Option<String>,
    /// The database's name.
    pub(crate) database: Option<String>,
    /// The version of the server.
    pub(crate) server_version: Option<String>,
    /// The version of the dump program.
    pub(crate) tool_version: Option<String>,
}

/// The data of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// The database, if the dump contains several.
    pub(crate) database: Option<String>,
    /// The schema, if recorded.
    pub(crate) schema: Option<String>,
    /// The name.
    pub(crate) name: String,
    /// The number of rows. `None` for INSERT statements.
    pub(crate) rows: Option<u64>,
    /// The size of the data in bytes.
    pub(crate) bytes: u64,
    /// The digest of the rows, independent of their order.
    pub(crate) rows_xxh3: Option<String>,
}

/// The confidential facts of a base backup, as far as its dump and its verifier recorded them. The
/// manifest has the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BaseRecord {
    /// The label with which the backup was taken.
    pub(crate) label: Option<String>,
    /// The major version of PostgreSQL.
    pub(crate) version: Option<String>,
    /// The system identifier of the cluster, in decimal.
    pub(crate) system_identifier: Option<String>,
    /// The first pages with wrong checksums.
    pub(crate) damaged_pages: Vec<PageRecord>,
    /// The tablespaces.
    pub(crate) tablespaces: Vec<TablespaceRecord>,
}

/// A page with a wrong checksum.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PageRecord {
    /// The path of the file.
    pub(crate) path: String,
    /// The number of the block in its relation's fork.
    pub(crate) block: u32,
}

/// A tablespace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct TablespaceRecord {
    /// The OID.
    pub(crate) oid: u32,
    /// The name, if the role could query it.
    pub(crate) name: Option<String>,
    /// The directory on the source host.
    pub(crate) path: Option<String>,
}

impl BaseRecord {
    /// Returns the recorded facts. Facts that a verifier of another version recorded in another
    /// form are unknown.
    pub(crate) fn of(details: &Map<String, Value>) -> Self {
        let base = |name: &str| details.get("base").and_then(|base| base.get(name));
        Self {
            label: base("label").and_then(text),
            version: base("version").and_then(text),
            system_identifier: base("system_identifier").and_then(text),
            damaged_pages: list(base("damaged_pages")),
            tablespaces: list(details.get("tablespaces")),
        }
    }
}

/// Returns a text or a number as text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns the known elements of a list.
fn list<T: for<'de> Deserialize<'de>>(value: Option<&Value>) -> Vec<T> {
    let elements = value.and_then(Value::as_array).into_iter().flatten();
    elements.filter_map(|element| T::deserialize(element).ok()).collect()
}
