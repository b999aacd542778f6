//! The files that were read, and their comparison with `toc.dat`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use roaring::RoaringBitmap;

use crate::decode::Form;
use crate::error::{Error, Result};
use crate::facts::{Facts, Kind, Others};
use crate::files::contents::{Contents, Lists, file, lists_of};
use crate::files::early::Either;
use crate::files::name::ending;
use crate::large_objects::Collected;
use crate::rows::Flaw;
use crate::table::Judged;

/// The record of the files. For a large object, only its presence is recorded.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) tables: HashMap<i32, Judged>,
    /// The tables that preceded `toc.dat`.
    pub(crate) early: BTreeMap<i32, Early>,
    pub(crate) lists: HashSet<Option<i32>>,
    /// The large objects in the lists.
    pub(crate) listed: RoaringBitmap,
    pub(crate) large_objects: Collected,
    /// The first file with each form of compression.
    forms: Vec<(Form, String)>,
    /// The result of checking the script. A flaw means that the script is not one of a dump.
    pub(crate) script: Option<Result<(), Flaw>>,
}

/// The data of a table before `toc.dat`.
pub(crate) struct Early {
    pub(crate) either: Either,
    /// The offset of its end.
    pub(crate) at: u64,
    pub(crate) place: String,
}

impl Found {
    /// Returns true if the data of a table was read.
    pub(crate) fn has_table(&self, id: i32) -> bool {
        self.tables.contains_key(&id) || self.early.contains_key(&id)
    }

    /// Returns true if any file was read that only a dump contains.
    pub(crate) fn has_data(&self) -> bool {
        !self.early.is_empty() || !self.lists.is_empty() || !self.large_objects.oids.is_empty()
    }

    /// Records the compression of a file.
    pub(crate) fn note(&mut self, form: Form, place: &str) {
        if self.forms.iter().all(|(known, _)| *known != form) {
            self.forms.push((form, place.to_owned()));
        }
    }

    /// Checks the files before `toc.dat`, which ended at offset `at`.
    pub(crate) fn know(&mut self, contents: &Contents, at: u64) -> Result<()> {
        for (form, place) in &self.forms {
            contents.judge(*form).map_err(|flaw| Error::damaged(at, place.clone(), flaw))?;
        }
        for (id, early) in std::mem::take(&mut self.early) {
            let Some(entry) = contents.table(id) else {
                return Err(Error::damaged(early.at, early.place, "toc.dat does not list it"));
            };
            let place = || format!("{} ({})", early.place, entry.place());
            let judged = early.either.known(entry, &contents.toc);
            self.tables.insert(id, judged.map_err(|flaw| Error::damaged(early.at, place(), flaw))?);
        }
        for list in &self.lists {
            if !contents.has_list(*list) {
                return Err(Error::damaged(at, "large objects", "a list of large objects is not listed in toc.dat"));
            }
        }
        if contents.lists() == Lists::None && !self.large_objects.oids.is_empty() {
            return Err(Error::damaged(
                at,
                "large objects",
                "toc.dat lists no large objects, but the tar contains some",
            ));
        }
        Ok(())
    }

    /// Returns the facts of the tar, if it contains all files that `contents` requires.
    pub(crate) fn facts(mut self, contents: Contents, bytes: u64) -> Result<Facts> {
        let damaged = |(place, flaw): (String, Flaw)| Error::damaged(bytes, place, flaw);
        let kind = self.kind(&contents).map_err(damaged)?;
        let mut tables = Vec::new();
        for entry in contents.toc.with_data() {
            if entry.is_large_objects() {
                match lists_of(entry).into_iter().flatten().filter(|list| self.lists.contains(list)).count() {
                    0 => return Err(damaged((entry.place(), "the list is missing".to_owned()))),
                    1 => {}
                    _ => return Err(damaged((entry.place(), "two lists exist".to_owned()))),
                }
            } else if let Some(judged) = self.tables.remove(&entry.id) {
                tables.push(judged.of(entry));
            } else {
                let place = format!("file {}{} ({})", file(entry), ending(contents.form()), entry.place());
                return Err(damaged((place, "is missing".to_owned())));
            }
        }
        self.judge_large_objects(&contents).map_err(damaged)?;
        let toc = contents.toc.lines();
        Ok(Facts {
            kind,
            compression: contents.header.compression,
            origin: contents.header.origin,
            tables,
            large_objects: self.large_objects.facts(),
            objects: contents.toc.objects(),
            toc,
            definitions: contents.toc.definitions(),
            toc_entries: contents.toc.entries.len() as u64,
            sequences: contents.toc.mentions.sequences,
            extensions: contents.toc.mentions.extensions,
            roles: contents.toc.mentions.roles,
            made_roles: BTreeSet::new(),
            tablespaces: contents.toc.mentions.tablespaces,
            database_tablespace: contents.toc.mentions.database_tablespace,
            bytes,
            others: Others::default(),
        })
    }

    fn kind(&self, contents: &Contents) -> Result<Kind, (String, Flaw)> {
        let script = |flaw: &str| Err(("file restore.sql".to_owned(), flaw.to_owned()));
        match (&self.script, contents.lists()) {
            (None, Lists::Nowhere) => script("is missing, but toc.dat is of pg_dump's tar format"),
            (Some(Err(flaw)), Lists::Nowhere) => script(flaw),
            // A user's own file in a directory dump.
            (None, _) | (Some(Err(_)), _) | (_, Lists::InToc) => Ok(Kind::Directory),
            (Some(Ok(())), _) => match self.forms.iter().find(|(form, _)| *form != Form::Plain) {
                Some((_, place)) => {
                    Err((place.clone(), "is compressed, but pg_dump's tar format has no compression".to_owned()))
                }
                None => Ok(Kind::Tar),
            },
        }
    }

    /// Fails unless the files, the lists and the TOC have the same large objects.
    fn judge_large_objects(&self, contents: &Contents) -> Result<(), (String, Flaw)> {
        let here = &self.large_objects.oids;
        let place = |oid| format!("file blob_{oid}.dat{}", ending(contents.form()));
        if let Some(oid) = (&self.listed - here).min() {
            return Err((place(oid), "is missing, but a list of large objects names it".to_owned()));
        }
        if let Some(oid) = (here - &self.listed).min() {
            return Err((place(oid), "is in no list of large objects".to_owned()));
        }
        if contents.lists() != Lists::None
            && let Some(listed) = &contents.toc.large_objects
            && let Some(difference) = self.large_objects.differ_from(listed)
        {
            return Err(("large objects".to_owned(), difference));
        }
        Ok(())
    }
}
