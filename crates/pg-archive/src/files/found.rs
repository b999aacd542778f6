//! The files that have passed, and whether they are those that `toc.dat` names.

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

/// What is kept of the files: of a large object, only that it was there.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) tables: HashMap<i32, Judged>,
    /// The tables that came before `toc.dat`.
    pub(crate) early: BTreeMap<i32, Early>,
    pub(crate) lists: HashSet<Option<i32>>,
    /// The large objects that the lists name.
    pub(crate) listed: RoaringBitmap,
    pub(crate) large_objects: Collected,
    /// The first file that is compressed in each way.
    forms: Vec<(Form, String)>,
    /// The script, and what is wrong with it: nothing, where it is no dump's.
    pub(crate) script: Option<Result<(), Flaw>>,
}

/// The data of a table that came before `toc.dat`.
pub(crate) struct Early {
    pub(crate) either: Either,
    /// Where it ended.
    pub(crate) at: u64,
    pub(crate) place: String,
}

impl Found {
    /// Whether the data of a table has passed.
    pub(crate) fn has_table(&self, id: i32) -> bool {
        self.tables.contains_key(&id) || self.early.contains_key(&id)
    }

    /// Whether anything has passed that is of a dump and of nothing else.
    pub(crate) fn has_data(&self) -> bool {
        !self.early.is_empty() || !self.lists.is_empty() || !self.large_objects.oids.is_empty()
    }

    /// Notes how a file is compressed.
    pub(crate) fn note(&mut self, form: Form, place: &str) {
        if self.forms.iter().all(|(known, _)| *known != form) {
            self.forms.push((form, place.to_owned()));
        }
    }

    /// Judges what came before `toc.dat`, which ended `at` here.
    pub(crate) fn know(&mut self, contents: &Contents, at: u64) -> Result<()> {
        for (form, place) in &self.forms {
            contents.judge(*form).map_err(|flaw| Error::damaged(at, place.clone(), flaw))?;
        }
        for (id, early) in std::mem::take(&mut self.early) {
            let Some(entry) = contents.table(id) else {
                return Err(Error::damaged(early.at, early.place, "toc.dat does not name it"));
            };
            let place = || format!("{} ({})", early.place, entry.place());
            let judged = early.either.known(entry, &contents.toc);
            self.tables.insert(id, judged.map_err(|flaw| Error::damaged(early.at, place(), flaw))?);
        }
        for list in &self.lists {
            if !contents.has_list(*list) {
                return Err(Error::damaged(at, "large objects", "there is a list of them that toc.dat does not name"));
            }
        }
        if contents.lists() == Lists::None && !self.large_objects.oids.is_empty() {
            return Err(Error::damaged(at, "large objects", "there are some, and toc.dat names none"));
        }
        Ok(())
    }

    /// What the tar holds, if it is all that `contents` demand.
    pub(crate) fn facts(mut self, contents: Contents, bytes: u64) -> Result<Facts> {
        let damaged = |(place, flaw): (String, Flaw)| Error::damaged(bytes, place, flaw);
        let kind = self.kind(&contents).map_err(damaged)?;
        let mut tables = Vec::new();
        for entry in contents.toc.with_data() {
            if entry.is_large_objects() {
                match lists_of(entry).into_iter().flatten().filter(|list| self.lists.contains(list)).count() {
                    0 => return Err(damaged((entry.place(), "their list is missing".to_owned()))),
                    1 => {}
                    _ => return Err(damaged((entry.place(), "there are two lists of them".to_owned()))),
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
            (None, Lists::Nowhere) => script("is missing, where toc.dat is of pg_dump's tar format"),
            (Some(Err(flaw)), Lists::Nowhere) => script(flaw),
            // Somebody's own, beside a directory.
            (None, _) | (Some(Err(_)), _) | (_, Lists::InToc) => Ok(Kind::Directory),
            (Some(Ok(())), _) => match self.forms.iter().find(|(form, _)| *form != Form::Plain) {
                Some((_, place)) => {
                    Err((place.clone(), "is compressed, as no file of pg_dump's tar format is".to_owned()))
                }
                None => Ok(Kind::Tar),
            },
        }
    }

    /// Judges whether the files, the lists and the TOC have the same large objects.
    fn judge_large_objects(&self, contents: &Contents) -> Result<(), (String, Flaw)> {
        let here = &self.large_objects.oids;
        let place = |oid| format!("file blob_{oid}.dat{}", ending(contents.form()));
        if let Some(oid) = (&self.listed - here).min() {
            return Err((place(oid), "is missing, where a list of large objects names it".to_owned()));
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
