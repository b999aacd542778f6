//! The directory and tar formats: a tar with a file for every table's data, a file for every large
//! object, and `toc.dat`.
//!
//! pg_dump writes the directory format as a folder, which the caller packs, and the tar format
//! directly, with a script that pg_restore does not need. Files may be in any order: tar packs a
//! folder in the order of the file system, and `toc.dat` may be last. Its requirements are checked
//! as soon as it is read. Other members of the tar are skipped: pg_restore ignores them, and they
//! may contain anything.

mod data_before_toc;
mod dump_folder;
mod file_name;
mod inventory;
mod large_object_list;
mod member_order;
mod restore_sql;
mod tar_reader;
#[cfg(test)]
mod tests;
mod toc_file;

use std::io::BufRead;

use crate::decode::Codec;
use crate::encoding::Encoding;
use crate::error::{Error, Result};
use crate::facts::{Facts, Format, Progress};
use crate::files::data_before_toc::UntypedData;
use crate::files::dump_folder::DumpFolder;
use crate::files::file_name::FileName;
use crate::files::inventory::{Inventory, TableBeforeToc};
use crate::files::large_object_list::LargeObjectList;
use crate::files::member_order::MemberOrder;
use crate::files::restore_sql::RestoreSql;
use crate::files::tar_reader::{MemberKind, TarReader};
use crate::files::toc_file::{LargeObjectLists, TocFile};
use crate::input::Input;
use crate::large_objects::LargeObject;
use crate::table_data::TableDataChecker;

/// The number of tables allowed before `toc.dat`. Little is kept of each, but only a TOC would
/// bound their number.
const MAX_TABLES_BEFORE_TOC: usize = 1 << 20;

const NOT_LISTED: &str = "toc.dat does not list it";
const LINKS_UNSUPPORTED: &str =
    "is a link, which is not followed; pack its target: tar --dereference --hard-dereference -C FOLDER -cf FILE .";

/// Reads a tar to its end.
pub(crate) fn read<R: BufRead>(input: Input<R>, on_progress: &mut dyn FnMut(&Progress)) -> Result<Facts> {
    let progress = ProgressReporter { on_progress, done: 0, total: None, within_large_objects: false };
    let tar = TarReader::new(input);
    let mut checker = TarChecker {
        tar,
        progress,
        folder: DumpFolder::default(),
        toc_file: None,
        inventory: Inventory::default(),
        order: MemberOrder::default(),
    };
    while let Some((kind, path)) = checker.tar.next()? {
        checker.member(kind, &path)?;
    }
    checker.finish()
}

/// A checker of files in the order of the tar.
struct TarChecker<'a, R> {
    tar: TarReader<R>,
    progress: ProgressReporter<'a>,
    folder: DumpFolder,
    toc_file: Option<TocFile>,
    inventory: Inventory,
    order: MemberOrder,
}

impl<R: BufRead> TarChecker<'_, R> {
    /// Returns the facts of the tar after it was read completely.
    fn finish(self) -> Result<Facts> {
        let bytes = self.tar.offset();
        let has_script = self.inventory.script.is_some();
        if let Some(toc_file) = self.toc_file {
            let order = self.order.check(&toc_file, self.tar.has_magic(), bytes);
            let mut facts = self.inventory.facts(toc_file, bytes)?;
            if facts.format == Format::Tar {
                order?;
            }
            facts.extra_files = self.folder.extra_files();
            if has_script && facts.format == Format::Directory {
                facts.extra_files.add(b"restore.sql");
            }
            return Ok(facts);
        }
        const PLACE: &str = "end of the tar";
        if self.inventory.has_data() || self.folder.is_empty() {
            return Err(Error::damaged(bytes, PLACE, "toc.dat is missing"));
        }
        Err(Error::unsupported(
            bytes,
            PLACE,
            "this tar is not a dump: it contains neither a toc.dat nor any other file of a dump",
        ))
    }

    /// Checks a member that belongs to the dump, and skips any other.
    fn member(&mut self, kind: MemberKind, path: &[u8]) -> Result<()> {
        if self.tar.has_extended_header() {
            self.order.add_extension();
        }
        self.order.add(path);
        match (kind, FileName::parse(dump_folder::file_name(path))) {
            (MemberKind::File, Some(file)) => {
                let name = self.folder.add_file(path).map_err(|flaw| self.tar.unsupported(flaw))?;
                self.file(&name, file)
            }
            (MemberKind::Link, Some(_)) => Err(self.tar.unsupported(LINKS_UNSUPPORTED)),
            (MemberKind::Other, Some(_)) => Err(self.tar.damaged("is neither a file nor a folder")),
            _ => {
                let added =
                    if kind == MemberKind::Folder { self.folder.add_folder(path) } else { self.folder.add_other(path) };
                added.map_err(|flaw| self.tar.unsupported(flaw))?;
                self.tar.skip()
            }
        }
    }

    fn file(&mut self, name: &[u8], file: FileName) -> Result<()> {
        let title = format!("file {}", name.escape_ascii());
        let entry = match (&self.toc_file, file) {
            (Some(toc_file), FileName::Table(id, _)) => toc_file.table(id),
            _ => None,
        };
        self.tar.set_place(match (entry, file) {
            (Some(entry), _) => format!("{title} ({})", entry.place()),
            (None, FileName::LargeObject(oid, _)) => format!("{title} (large object {oid})"),
            _ => title.clone(),
        });
        match file {
            FileName::Toc => self.toc(),
            FileName::RestoreSql => self.script(),
            FileName::LargeObjectList(list) => self.list(list),
            FileName::LargeObject(oid, codec) => self.large_object(oid, codec),
            FileName::Table(id, codec) => self.table(id, codec, title),
        }
    }

    fn toc(&mut self) -> Result<()> {
        if self.toc_file.is_some() {
            return Err(self.duplicate());
        }
        let toc_file = TocFile::read(&mut self.tar)?;
        self.inventory.check_against_toc(&toc_file, self.tar.offset())?;
        self.progress.total = Some(toc_file.count());
        self.toc_file = Some(toc_file);
        Ok(())
    }

    fn duplicate(&self) -> Error {
        self.tar.damaged("is in the archive twice")
    }

    fn script(&mut self) -> Result<()> {
        if self.inventory.script.is_some() {
            return Err(self.duplicate());
        }
        let encoding = self.toc_file.as_ref().map_or(Encoding::Other, |toc_file| toc_file.toc.encoding);
        let mut script = RestoreSql::new(encoding);
        self.tar.decode(Codec::Plain, &mut |piece| {
            script.push(piece);
            Ok(())
        })?;
        self.inventory.script = Some(script.finish());
        Ok(())
    }

    fn list(&mut self, list: Option<i32>) -> Result<()> {
        if self.toc_file.as_ref().is_some_and(|toc_file| !toc_file.has_list(list)) {
            return Err(self.tar.damaged(NOT_LISTED));
        }
        if !self.inventory.lists.insert(list) {
            return Err(self.duplicate());
        }
        self.progress.large_objects();
        let mut list = LargeObjectList::new(&mut self.inventory.listed);
        self.tar.decode(Codec::Plain, &mut |piece| list.push(piece))?;
        list.finish().map_err(|flaw| self.tar.damaged(flaw))?;
        self.progress.done += 1;
        Ok(())
    }

    fn large_object(&mut self, oid: u32, codec: Codec) -> Result<()> {
        self.check_codec(codec)?;
        if self.toc_file.as_ref().is_some_and(|toc_file| toc_file.large_object_lists() == LargeObjectLists::None) {
            return Err(self.tar.damaged(NOT_LISTED));
        }
        if !self.inventory.large_objects.begin(oid) {
            return Err(self.duplicate());
        }
        self.progress.large_objects();
        let mut object = LargeObject::new(oid);
        // pg_dump begins a frame with the first byte of content, so an empty object has no frame.
        if self.tar.remaining() > 0 || codec == Codec::Gzip {
            self.tar.decode_endless(codec, &mut |piece| {
                object.push(piece);
                Ok(())
            })?;
        }
        self.inventory.large_objects.add(&object);
        Ok(())
    }

    fn table(&mut self, id: i32, codec: Codec, title: String) -> Result<()> {
        self.check_codec(codec)?;
        if self.inventory.has_table(id) {
            return Err(self.duplicate());
        }
        let Some(toc_file) = &self.toc_file else { return self.table_before_toc(id, codec, title) };
        let Some(entry) = toc_file.table(id) else { return Err(self.tar.damaged(NOT_LISTED)) };
        self.progress.table(entry.table());
        let mut content = TableDataChecker::of(entry, &toc_file.toc);
        self.tar.decode(codec, &mut |piece| content.push(piece))?;
        let stats = content.into_stats().map_err(|flaw| self.tar.damaged(flaw))?;
        self.inventory.tables.insert(id, stats);
        self.progress.done += 1;
        Ok(())
    }

    /// Checks the data of a table before its name is known.
    fn table_before_toc(&mut self, id: i32, codec: Codec, title: String) -> Result<()> {
        if self.inventory.tables_before_toc.len() == MAX_TABLES_BEFORE_TOC {
            let message = format!("{MAX_TABLES_BEFORE_TOC} tables precede toc.dat: pack the tar with toc.dat first");
            return Err(Error::unsupported(self.tar.offset(), title, message));
        }
        self.progress.table(title.clone());
        let mut data = UntypedData::new();
        self.tar.decode(codec, &mut |piece| data.push(piece))?;
        let stats = data.finish().map_err(|flaw| self.tar.damaged(flaw))?;
        let table = TableBeforeToc { stats, end_offset: self.tar.offset(), place: title };
        self.inventory.tables_before_toc.insert(id, table);
        self.progress.done += 1;
        Ok(())
    }

    /// Checks the compression of a file.
    fn check_codec(&mut self, codec: Codec) -> Result<()> {
        self.inventory.record_codec(codec, self.tar.place());
        match &self.toc_file {
            Some(toc_file) => toc_file.check_codec(codec).map_err(|flaw| self.tar.damaged(flaw)),
            None => Ok(()),
        }
    }
}

/// A reporter of progress.
struct ProgressReporter<'a> {
    on_progress: &'a mut dyn FnMut(&Progress),
    done: u64,
    total: Option<u64>,
    within_large_objects: bool,
}

impl ProgressReporter<'_> {
    fn table(&mut self, name: String) {
        self.within_large_objects = false;
        (self.on_progress)(&Progress { name, done: self.done, total: self.total });
    }

    /// Reports large objects, once per uninterrupted sequence.
    fn large_objects(&mut self) {
        if !std::mem::replace(&mut self.within_large_objects, true) {
            (self.on_progress)(&Progress { name: "large objects".to_owned(), done: self.done, total: self.total });
        }
    }
}
