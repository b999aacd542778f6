//! The files that were read, and their comparison with `toc.dat`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use roaring::RoaringBitmap;

use crate::copy_data::Flaw;
use crate::decode::Codec;
use crate::error::{Error, Result};
use crate::facts::{ExtraFiles, Facts, Format};
use crate::files::data_before_toc::UntypedStats;
use crate::files::file_name::suffix;
use crate::files::toc_file::{LargeObjectLists, TocFile, allowed_lists, data_file};
use crate::large_objects::LargeObjectSet;
use crate::table_data::TableDataStats;

/// The record of the files. For a large object, only its presence is recorded.
#[derive(Default)]
pub(crate) struct Inventory {
    pub(crate) tables: HashMap<i32, TableDataStats>,
    /// The tables that preceded `toc.dat`.
    pub(crate) tables_before_toc: BTreeMap<i32, TableBeforeToc>,
    pub(crate) lists: HashSet<Option<i32>>,
    /// The large objects in the lists.
    pub(crate) listed: RoaringBitmap,
    pub(crate) large_objects: LargeObjectSet,
    /// The first file with each form of compression.
    codecs: Vec<(Codec, String)>,
    /// The result of checking the script. A flaw means that the script is not one of a dump.
    pub(crate) script: Option<Result<(), Flaw>>,
}

/// The data of a table before `toc.dat`.
pub(crate) struct TableBeforeToc {
    pub(crate) stats: UntypedStats,
    pub(crate) end_offset: u64,
    pub(crate) place: String,
}

impl Inventory {
    /// Returns true if the data of a table was read.
    pub(crate) fn has_table(&self, id: i32) -> bool {
        self.tables.contains_key(&id) || self.tables_before_toc.contains_key(&id)
    }

    /// Returns true if any file was read that only a dump contains.
    pub(crate) fn has_data(&self) -> bool {
        !self.tables_before_toc.is_empty() || !self.lists.is_empty() || !self.large_objects.oids.is_empty()
    }

    /// Records the compression of a file.
    pub(crate) fn record_codec(&mut self, codec: Codec, place: &str) {
        if self.codecs.iter().all(|(known, _)| *known != codec) {
            self.codecs.push((codec, place.to_owned()));
        }
    }

    /// Checks the files before `toc.dat`, which ended at offset `at`.
    pub(crate) fn check_against_toc(&mut self, toc_file: &TocFile, at: u64) -> Result<()> {
        for (codec, place) in &self.codecs {
            toc_file.check_codec(*codec).map_err(|flaw| Error::damaged(at, place.clone(), flaw))?;
        }
        for (id, table) in std::mem::take(&mut self.tables_before_toc) {
            let Some(entry) = toc_file.table(id) else {
                return Err(Error::damaged(table.end_offset, table.place, "toc.dat does not list it"));
            };
            let place = || format!("{} ({})", table.place, entry.place());
            let stats = table.stats.into_stats(entry, &toc_file.toc);
            self.tables.insert(id, stats.map_err(|flaw| Error::damaged(table.end_offset, place(), flaw))?);
        }
        for list in &self.lists {
            if !toc_file.has_list(*list) {
                return Err(Error::damaged(at, "large objects", "a list of large objects is not listed in toc.dat"));
            }
        }
        if toc_file.large_object_lists() == LargeObjectLists::None && !self.large_objects.oids.is_empty() {
            return Err(Error::damaged(
                at,
                "large objects",
                "toc.dat lists no large objects, but the tar contains some",
            ));
        }
        Ok(())
    }

    /// Returns the facts of the tar, if it contains all files that `toc_file` requires.
    pub(crate) fn facts(mut self, toc_file: TocFile, bytes: u64) -> Result<Facts> {
        let damaged = |(place, flaw): (String, Flaw)| Error::damaged(bytes, place, flaw);
        let format = self.format(&toc_file).map_err(damaged)?;
        let mut tables = Vec::new();
        for entry in toc_file.toc.with_data() {
            if entry.is_large_objects() {
                match allowed_lists(entry).into_iter().flatten().filter(|list| self.lists.contains(list)).count() {
                    0 => return Err(damaged((entry.place(), "the list is missing".to_owned()))),
                    1 => {}
                    _ => return Err(damaged((entry.place(), "two lists exist".to_owned()))),
                }
            } else if let Some(stats) = self.tables.remove(&entry.id) {
                tables.push(stats.into_table(entry));
            } else {
                let place = format!("file {}{} ({})", data_file(entry), suffix(toc_file.codec()), entry.place());
                return Err(damaged((place, "is missing".to_owned())));
            }
        }
        self.check_large_objects(&toc_file).map_err(damaged)?;
        let toc = toc_file.toc.lines();
        Ok(Facts {
            format,
            compression: toc_file.header.compression,
            origin: toc_file.header.origin,
            tables,
            large_objects: self.large_objects.facts(),
            objects: toc_file.toc.objects(),
            toc,
            definitions: toc_file.toc.definitions(),
            toc_entries: toc_file.toc.entries.len() as u64,
            sequences: toc_file.toc.references.sequences,
            extensions: toc_file.toc.references.extensions,
            roles: toc_file.toc.references.roles,
            created_roles: BTreeSet::new(),
            tablespaces: toc_file.toc.references.tablespaces,
            database_tablespace: toc_file.toc.references.database_tablespace,
            bytes,
            extra_files: ExtraFiles::default(),
        })
    }

    fn format(&self, toc_file: &TocFile) -> Result<Format, (String, Flaw)> {
        let script = |flaw: &str| Err(("file restore.sql".to_owned(), flaw.to_owned()));
        match (&self.script, toc_file.large_object_lists()) {
            (None, LargeObjectLists::Tar) => script("is missing, but toc.dat is of pg_dump's tar format"),
            (Some(Err(flaw)), LargeObjectLists::Tar) => script(flaw),
            // A user's own file in a directory dump.
            (None, _) | (Some(Err(_)), _) | (_, LargeObjectLists::Directory) => Ok(Format::Directory),
            (Some(Ok(())), _) => match self.codecs.iter().find(|(codec, _)| *codec != Codec::Plain) {
                Some((_, place)) => {
                    Err((place.clone(), "is compressed, but pg_dump's tar format has no compression".to_owned()))
                }
                None => Ok(Format::Tar),
            },
        }
    }

    /// Fails unless the files, the lists and the TOC have the same large objects.
    fn check_large_objects(&self, toc_file: &TocFile) -> Result<(), (String, Flaw)> {
        let stored = &self.large_objects.oids;
        let place = |oid| format!("file blob_{oid}.dat{}", suffix(toc_file.codec()));
        if let Some(oid) = (&self.listed - stored).min() {
            return Err((place(oid), "is missing, but a list of large objects names it".to_owned()));
        }
        if let Some(oid) = (stored - &self.listed).min() {
            return Err((place(oid), "is in no list of large objects".to_owned()));
        }
        if toc_file.large_object_lists() != LargeObjectLists::None
            && let Some(listed) = &toc_file.toc.large_objects
            && let Some(difference) = self.large_objects.difference(listed)
        {
            return Err(("large objects".to_owned(), difference));
        }
        Ok(())
    }
}
