//! Facts about the content of an archive.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::definitions::Definitions;

/// All facts about an archive that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The format.
    #[serde(rename = "kind")]
    pub format: Format,
    /// The compression of the data inside the archive.
    pub compression: Compression,
    /// The origin, as recorded in the archive.
    pub origin: Origin,
    /// The tables whose data the archive contains, in its order.
    pub tables: Vec<Table>,
    /// The large objects.
    pub large_objects: LargeObjects,
    /// The values that the archive sets sequences to, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<Sequence>,
    /// The extensions that the archive creates.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub extensions: BTreeSet<String>,
    /// The roles that must exist before a restore: owners, grantees, and the roles in policies,
    /// default privileges, user mappings and settings. They may include PostgreSQL's own, such as
    /// `pg_database_owner`. Empty for a script of pg_dumpall, which creates them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<String>,
    /// The roles that a script of pg_dumpall creates.
    #[serde(rename = "made_roles", default, skip_serializing_if = "BTreeSet::is_empty")]
    pub created_roles: BTreeSet<String>,
    /// The tablespaces that the archive's objects use, other than the database's own.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tablespaces: BTreeSet<String>,
    /// The database's own tablespace, unless it is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_tablespace: Option<String>,
    /// The number of TOC entries of each kind, such as `TABLE` or `FK CONSTRAINT`. Empty for a
    /// script.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub objects: BTreeMap<String, u64>,
    /// The lines of the TOC as `pg_restore --list` prints them, without the comments before them.
    /// Empty for a script.
    pub toc: Vec<String>,
    /// Digests of the definitions. They are as secret as the definitions, so they are stored
    /// separately.
    #[serde(skip)]
    pub definitions: Definitions,
    /// The number of TOC entries, including those that `--list` omits.
    pub toc_entries: u64,
    /// The size of the archive in bytes.
    pub bytes: u64,
    /// Files beside the dump that are not part of it.
    #[serde(rename = "others", default, skip_serializing_if = "ExtraFiles::is_empty")]
    pub extra_files: ExtraFiles,
}

/// The format of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `pg_dump --format=custom`.
    Custom,
    /// `pg_dump --format=directory`, as a tar stream of its files.
    Directory,
    /// `pg_dump --format=tar`.
    Tar,
    /// `pg_dump --format=plain`: SQL for one database.
    Script,
    /// `pg_dumpall`: SQL for a cluster.
    ClusterScript,
}

impl Format {
    /// Returns true for an archive, which `pg_restore` reads, and false for a script.
    pub fn is_archive(self) -> bool {
        matches!(self, Self::Custom | Self::Directory | Self::Tar)
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Custom => "custom format",
            Self::Directory => "directory format",
            Self::Tar => "tar format",
            Self::Script => "script of pg_dump",
            Self::ClusterScript => "script of pg_dumpall",
        })
    }
}

/// The compression of the data inside an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// No compression.
    None,
    /// zlib streams in the custom format, gzip files in a directory.
    Gzip,
    /// LZ4 frames.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// The origin of an archive, as the archive records it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The version of the archive format, such as `1.14-0`.
    pub version: Option<String>,
    /// The start of the dump, such as `2026-06-07 09:15:00`, in the local time of the dumping host,
    /// whose zone is not recorded.
    pub created: Option<String>,
    /// The database's name.
    pub database: Option<String>,
    /// The version of the dumped server, such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub server_version: Option<String>,
    /// The version of the program that made the dump, in the same form.
    pub tool_version: Option<String>,
    /// The technical details of the header. `None` for a script.
    #[serde(rename = "written", default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderDetails>,
}

/// The details of an archive's header that `pg_restore --list` also prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderDetails {
    /// The size of a number in bytes.
    pub integer_bytes: u8,
    /// The size of an offset in bytes.
    pub offset_bytes: u8,
    /// The zlib level, -1 for its default. Only up to PostgreSQL 15, which had no other
    /// compression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<i32>,
    /// True if the dumping host's clock showed daylight saving time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summer_time: Option<bool>,
}

/// Files and folders beside those of a dump. pg_restore ignores them, and they were not checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraFiles {
    /// The number of files and folders.
    pub count: u64,
    /// The first names, relative to the dump's folder.
    pub names: Vec<String>,
}

impl ExtraFiles {
    /// The number of names that are kept.
    const MAX_NAMES: usize = 20;

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds one.
    pub(crate) fn add(&mut self, path: &[u8]) {
        self.count += 1;
        if self.names.len() < Self::MAX_NAMES {
            self.names.push(String::from_utf8_lossy(path).into_owned());
        }
    }

    /// Returns the same, with names relative to `folder`.
    pub(crate) fn relative_to(mut self, folder: &[u8]) -> Self {
        let folder = String::from_utf8_lossy(folder);
        for name in &mut self.names {
            if let Some(below) = name.strip_prefix(&*folder) {
                *name = below.to_owned();
            }
        }
        self
    }
}

/// The data of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The database, if the script contains several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The table's schema, if recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The table's name.
    pub name: String,
    /// The table that receives the rows, if different: with `--load-via-partition-root`, a
    /// partitioned table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<String>,
    /// The columns of the data, in its order. `None` for INSERT statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// The number of rows. `None` for INSERT statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The size in bytes of the data in COPY's text format, with line feeds but without the end
    /// marker, or of the INSERT statements.
    pub bytes: u64,
    /// The XXH3-128 digest of these bytes, in hexadecimal digits.
    pub xxh3: String,
    /// The sum, modulo 2^128, of the XXH3-128 digests of all rows without their line feeds, in
    /// hexadecimal digits. The sum does not depend on the order of the rows, which a restore may
    /// change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_xxh3: Option<String>,
}

/// The totals of all large objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeObjects {
    /// The number of large objects.
    pub count: u64,
    /// The size of their contents in bytes.
    pub bytes: u64,
    /// The sum, modulo 2^128, of the XXH3-128 digests of all objects: the OID as four bytes, most
    /// significant first, then the content.
    pub xxh3: String,
}

/// The state that a sequence is set to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// The database, if the script contains several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The sequence's schema, if recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The sequence's name.
    pub name: String,
    /// The sequence's `last_value`.
    pub value: i64,
    /// The sequence's `is_called`: true if `last_value` was already returned.
    pub called: bool,
}

/// The definitions of a table of contents, or of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The lines, as in [`Facts::toc`].
    pub toc: Vec<String>,
    /// The digests of the definitions.
    pub definitions: Definitions,
    /// The values that sequences are set to.
    pub sequences: Vec<Sequence>,
}

impl Facts {
    /// Returns the comments that `pg_restore --list` prints before its TOC, as in the release that
    /// made the dump. `created` is the dump's time with its zone. Empty for a script, or if the
    /// record lacks details.
    pub fn toc_head(&self, created: &str) -> Vec<String> {
        let format = match self.format {
            Format::Custom => "CUSTOM",
            Format::Directory => "DIRECTORY",
            Format::Tar => "TAR",
            Format::Script | Format::ClusterScript => return Vec::new(),
        };
        let Some(header) = &self.origin.header else { return Vec::new() };
        let compression = header.level.map_or_else(|| self.compression.to_string(), |level| level.to_string());
        let database = self.origin.database.as_deref().unwrap_or_default().replace(['\n', '\r'], " ");
        let version = self.origin.version.as_deref().unwrap_or_default();
        let mut lines = vec![
            ";".to_owned(),
            format!("; Archive created at {created}"),
            format!(";     dbname: {database}"),
            format!(";     TOC Entries: {}", self.toc_entries),
            format!(";     Compression: {compression}"),
            format!(";     Dump Version: {version}"),
            format!(";     Format: {format}"),
            format!(";     Integer: {} bytes", header.integer_bytes),
            format!(";     Offset: {} bytes", header.offset_bytes),
        ];
        lines.extend(self.origin.server_version.iter().map(|of| format!(";     Dumped from database version: {of}")));
        lines.extend(self.origin.tool_version.iter().map(|of| format!(";     Dumped by pg_dump version: {of}")));
        lines.extend([";", ";", "; Selected TOC Entries:", ";"].map(str::to_owned));
        lines
    }

    /// Returns the definitions of the table of contents, or of the script.
    pub fn contents(&self) -> Contents {
        let Self { toc, definitions, sequences, .. } = self;
        Contents { toc: toc.clone(), definitions: definitions.clone(), sequences: sequences.clone() }
    }

    /// Returns counts that do not reveal the content, by their names.
    pub fn totals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let rows = self.tables.iter().filter_map(|table| table.rows).sum();
        let of_all = [
            ("tables", self.tables.len() as u64),
            ("rows", rows),
            ("table_bytes", self.tables.iter().map(|table| table.bytes).sum()),
            ("large_objects", self.large_objects.count),
        ];
        // A script has no TOC. Its large objects are function calls, whose size is not the objects'
        // size.
        let of_archives = [("toc_entries", self.toc_entries), ("large_object_bytes", self.large_objects.bytes)];
        of_all.into_iter().chain(of_archives.into_iter().filter(|_| self.format.is_archive()))
    }
}

/// The part that is about to be read, for progress reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The table's name as `schema.name`, or `large objects`.
    pub name: String,
    /// The number of parts before this one.
    pub done: u64,
    /// The total number of parts, if known.
    pub total: Option<u64>,
}
