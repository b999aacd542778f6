//! What an archive holds.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::definitions::Definitions;

/// All that is known of an archive once it was read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The form it has.
    pub kind: Kind,
    /// How its data is compressed inside.
    pub compression: Compression,
    /// Where it comes from.
    pub origin: Origin,
    /// The tables that it brings data for, in its order.
    pub tables: Vec<Table>,
    /// Its large objects.
    pub large_objects: LargeObjects,
    /// What it sets sequences to, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<Sequence>,
    /// The extensions that it makes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub extensions: BTreeSet<String>,
    /// The roles that must be there before: owners, and those whom it grants to or writes policies, default privileges, user mappings
    /// and settings for. Among them may be PostgreSQL's own, such as `pg_database_owner`. Nothing for a script of pg_dumpall, which
    /// makes them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<String>,
    /// The roles that a script of pg_dumpall makes.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub made_roles: BTreeSet<String>,
    /// The tablespaces that it puts things into, other than the database's own.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tablespaces: BTreeSet<String>,
    /// The database's own tablespace, where it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_tablespace: Option<String>,
    /// How many entries its TOC has of each kind, such as `TABLE` or `FK CONSTRAINT`. Nothing for a script.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub objects: BTreeMap<String, u64>,
    /// Its TOC as `pg_restore --list` prints it, a line each, without the comments before it. Empty for a script.
    pub toc: Vec<String>,
    /// Digests of its definitions: as secret as it is, so that they are written down apart from the
    /// rest.
    #[serde(skip)]
    pub definitions: Definitions,
    /// How many entries the TOC has; `--list` leaves some out.
    pub toc_entries: u64,
    /// Its size.
    pub bytes: u64,
    /// What came with it that is no part of it.
    #[serde(default, skip_serializing_if = "Others::is_empty")]
    pub others: Others,
}

/// The form of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
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

impl Kind {
    /// Whether it is an archive, which `pg_restore` reads, and no script.
    pub fn is_archive(self) -> bool {
        matches!(self, Self::Custom | Self::Directory | Self::Tar)
    }
}

impl std::fmt::Display for Kind {
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

/// How data is compressed inside an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// zlib's streams in the custom format, gzip's files in a directory.
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

/// Where an archive comes from, by its own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The version of the archive format, such as `1.14-0`.
    pub version: Option<String>,
    /// When the dump began: `2026-06-07 09:15:00`, by the clock on the dumping host's wall, whose zone is not recorded.
    pub created: Option<String>,
    /// The database.
    pub database: Option<String>,
    /// The server that was read, such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub server_version: Option<String>,
    /// The program that made it, likewise.
    pub tool_version: Option<String>,
    /// How it is written; nothing for a script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Written>,
}

/// How an archive is written, by its header: what `pg_restore --list` says of it besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The size of a number.
    pub integer_bytes: u8,
    /// The size of an offset.
    pub offset_bytes: u8,
    /// zlib's level, -1 for its default: up to PostgreSQL 15, which knew no other compression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<i32>,
    /// Whether the clock on the dumping host's wall showed summer time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summer_time: Option<bool>,
}

/// Files and folders beside those of a dump, which pg_restore does not look at: they were not judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Others {
    /// How many there are.
    pub count: u64,
    /// The names of the first of them, seen from the dump's folder.
    pub names: Vec<String>,
}

impl Others {
    /// How many names are kept.
    const MAX_NAMES: usize = 20;

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes note of one more.
    pub(crate) fn add(&mut self, path: &[u8]) {
        self.count += 1;
        if self.names.len() < Self::MAX_NAMES {
            self.names.push(String::from_utf8_lossy(path).into_owned());
        }
    }

    /// The same, seen from a folder.
    pub(crate) fn seen_from(mut self, folder: &[u8]) -> Self {
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
    /// The database, where a script is of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Its schema, where it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// The table that takes the rows, where that is another: with `--load-via-partition-root`, a partitioned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<String>,
    /// The columns that the data has, in its order. Nothing where the data is INSERT statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// How many rows there are. Nothing where the data is INSERT statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The size of the data in COPY's text format, line feeds included, without the mark at its end; or of the INSERT statements.
    pub bytes: u64,
    /// XXH3-128 of these bytes, in hexadecimal digits.
    pub xxh3: String,
    /// The sum, modulo 2^128, of the XXH3-128 of every row without its line feed, in hexadecimal digits: the same for the same
    /// rows in any order, since a restore may change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_xxh3: Option<String>,
}

/// All large objects together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeObjects {
    /// How many there are.
    pub count: u64,
    /// The size of their contents.
    pub bytes: u64,
    /// The sum, modulo 2^128, of the XXH3-128 of each: its OID as four bytes, the most significant first, then its content.
    pub xxh3: String,
}

/// What a sequence is set to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// The database, where a script is of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Its schema, where it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// Its `last_value`.
    pub value: i64,
    /// Whether that was given out: its `is_called`.
    pub called: bool,
}

/// The definitions of a table of contents, or of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Its lines, as [`Facts::toc`] has them.
    pub toc: Vec<String>,
    /// The digests of its definitions.
    pub definitions: Definitions,
    /// The values that it sets sequences to.
    pub sequences: Vec<Sequence>,
}

impl Facts {
    /// The comments that `pg_restore --list` prints before its TOC, as it does in the release that made the dump; `created` is the dump's
    /// time with its zone. Nothing for a script, or where too little was recorded.
    pub fn toc_head(&self, created: &str) -> Vec<String> {
        let format = match self.kind {
            Kind::Custom => "CUSTOM",
            Kind::Directory => "DIRECTORY",
            Kind::Tar => "TAR",
            Kind::Script | Kind::ClusterScript => return Vec::new(),
        };
        let Some(written) = &self.origin.written else { return Vec::new() };
        let compression = written.level.map_or_else(|| self.compression.to_string(), |level| level.to_string());
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
            format!(";     Integer: {} bytes", written.integer_bytes),
            format!(";     Offset: {} bytes", written.offset_bytes),
        ];
        lines.extend(self.origin.server_version.iter().map(|of| format!(";     Dumped from database version: {of}")));
        lines.extend(self.origin.tool_version.iter().map(|of| format!(";     Dumped by pg_dump version: {of}")));
        lines.extend([";", ";", "; Selected TOC Entries:", ";"].map(str::to_owned));
        lines
    }

    /// The definitions of its table of contents, or of the script.
    pub fn contents(&self) -> Contents {
        let Self { toc, definitions, sequences, .. } = self;
        Contents { toc: toc.clone(), definitions: definitions.clone(), sequences: sequences.clone() }
    }

    /// Counts that tell nothing of the content, by their names.
    pub fn totals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let rows = self.tables.iter().filter_map(|table| table.rows).sum();
        let of_all = [
            ("tables", self.tables.len() as u64),
            ("rows", rows),
            ("table_bytes", self.tables.iter().map(|table| table.bytes).sum()),
            ("large_objects", self.large_objects.count),
        ];
        // A script has no TOC, and large objects as calls, whose size is not theirs.
        let of_archives = [("toc_entries", self.toc_entries), ("large_object_bytes", self.large_objects.bytes)];
        of_all.into_iter().chain(of_archives.into_iter().filter(|_| self.kind.is_archive()))
    }
}

/// What is being read, for whoever watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The table, as `schema.name`, or `large objects`.
    pub name: String,
    /// How many came before it.
    pub done: u64,
    /// How many there are, if that is known.
    pub of: Option<u64>,
}
