//! The directory and tar formats: a tar with a file for every table's data, a file for every large
//! object, and `toc.dat`.
//!
//! pg_dump writes the directory format as a folder, which the caller packs, and the tar format
//! directly, with a script that pg_restore does not need. Files may be in any order: tar packs a
//! folder in the order of the file system, and `toc.dat` may be last. Its requirements are checked
//! as soon as it is read. Other members of the tar are skipped: pg_restore ignores them, and they
//! may contain anything.

mod contents;
mod early;
mod folder;
mod found;
mod list;
mod members;
mod name;
mod order;
mod script;
#[cfg(test)]
mod tests;

use std::io::BufRead;

use crate::decode::Form;
use crate::error::{Error, Result};
use crate::facts::{self, Facts, Place};
use crate::files::contents::{Contents, Lists};
use crate::files::folder::Folder;
use crate::files::found::Found;
use crate::files::list::List;
use crate::files::members::{Kind, Members};
use crate::files::name::Name;
use crate::files::order::Order;
use crate::files::script::Script;
use crate::input::Input;
use crate::large_objects::LargeObject;
use crate::table::Content;
use crate::text::Encoding;

/// The number of tables allowed before `toc.dat`. Little is kept of each, but only a TOC would
/// bound their number.
const MAX_EARLY: usize = 1 << 20;

const UNNAMED: &str = "toc.dat does not list it";
const FOLLOW_LINKS: &str =
    "is a link, which is not followed; pack its target: tar --dereference --hard-dereference -C FOLDER -cf FILE .";

/// Reads a tar to its end.
pub(crate) fn read<R: BufRead>(input: Input<R>, watch: &mut dyn FnMut(&Place)) -> Result<Facts> {
    let progress = Progress { watch, done: 0, of: None, within_large_objects: false };
    let members = Members::new(input);
    let mut files = Files {
        members,
        progress,
        folder: Folder::default(),
        contents: None,
        found: Found::default(),
        order: Order::default(),
    };
    while let Some((kind, path)) = files.members.next()? {
        files.member(kind, &path)?;
    }
    files.finish()
}

/// A checker of files in the order of the tar.
struct Files<'a, R> {
    members: Members<R>,
    progress: Progress<'a>,
    folder: Folder,
    contents: Option<Contents>,
    found: Found,
    order: Order,
}

impl<R: BufRead> Files<'_, R> {
    /// Returns the facts of the tar after it was read completely.
    fn finish(self) -> Result<Facts> {
        let bytes = self.members.offset();
        let has_script = self.found.script.is_some();
        if let Some(contents) = self.contents {
            let order = self.order.judge(&contents, self.members.has_magic(), bytes);
            let mut facts = self.found.facts(contents, bytes)?;
            if facts.kind == facts::Kind::Tar {
                order?;
            }
            facts.others = self.folder.others();
            if has_script && facts.kind == facts::Kind::Directory {
                facts.others.add(b"restore.sql");
            }
            return Ok(facts);
        }
        const PLACE: &str = "end of the tar";
        if self.found.has_data() || self.folder.is_empty() {
            return Err(Error::damaged(bytes, PLACE, "toc.dat is missing"));
        }
        Err(Error::unsupported(
            bytes,
            PLACE,
            "this tar is not a dump: it contains neither a toc.dat nor any other file of a dump",
        ))
    }

    /// Checks a member that belongs to the dump, and skips any other.
    fn member(&mut self, kind: Kind, path: &[u8]) -> Result<()> {
        if self.members.is_extended() {
            self.order.add_extension();
        }
        self.order.add(path);
        match (kind, Name::parse(folder::name(path))) {
            (Kind::File, Some(file)) => {
                let name = self.folder.file(path).map_err(|flaw| self.members.unsupported(flaw))?;
                self.file(&name, file)
            }
            (Kind::Link, Some(_)) => Err(self.members.unsupported(FOLLOW_LINKS)),
            (Kind::Other, Some(_)) => Err(self.members.damaged("is neither a file nor a folder")),
            _ => {
                let noted = if kind == Kind::Folder { self.folder.folder(path) } else { self.folder.other(path) };
                noted.map_err(|flaw| self.members.unsupported(flaw))?;
                self.members.skip()
            }
        }
    }

    fn file(&mut self, name: &[u8], file: Name) -> Result<()> {
        let title = format!("file {}", name.escape_ascii());
        let entry = match (&self.contents, file) {
            (Some(contents), Name::Table(id, _)) => contents.table(id),
            _ => None,
        };
        self.members.set_place(match (entry, file) {
            (Some(entry), _) => format!("{title} ({})", entry.place()),
            (None, Name::LargeObject(oid, _)) => format!("{title} (large object {oid})"),
            _ => title.clone(),
        });
        match file {
            Name::Toc => self.toc(),
            Name::Script => self.script(),
            Name::List(list) => self.list(list),
            Name::LargeObject(oid, form) => self.large_object(oid, form),
            Name::Table(id, form) => self.table(id, form, title),
        }
    }

    fn toc(&mut self) -> Result<()> {
        if self.contents.is_some() {
            return Err(self.twice());
        }
        let contents = Contents::read(&mut self.members)?;
        self.found.know(&contents, self.members.offset())?;
        self.progress.of = Some(contents.count());
        self.contents = Some(contents);
        Ok(())
    }

    fn twice(&self) -> Error {
        self.members.damaged("is in the archive twice")
    }

    fn script(&mut self) -> Result<()> {
        if self.found.script.is_some() {
            return Err(self.twice());
        }
        let encoding = self.contents.as_ref().map_or(Encoding::Other, |contents| contents.toc.encoding);
        let mut script = Script::new(encoding);
        self.members.decode(Form::Plain, &mut |piece| {
            script.push(piece);
            Ok(())
        })?;
        self.found.script = Some(script.finish());
        Ok(())
    }

    fn list(&mut self, list: Option<i32>) -> Result<()> {
        if self.contents.as_ref().is_some_and(|contents| !contents.has_list(list)) {
            return Err(self.members.damaged(UNNAMED));
        }
        if !self.found.lists.insert(list) {
            return Err(self.twice());
        }
        self.progress.large_objects();
        let mut list = List::new(&mut self.found.listed);
        self.members.decode(Form::Plain, &mut |piece| list.push(piece))?;
        list.finish().map_err(|flaw| self.members.damaged(flaw))?;
        self.progress.done += 1;
        Ok(())
    }

    fn large_object(&mut self, oid: u32, form: Form) -> Result<()> {
        self.form(form)?;
        if self.contents.as_ref().is_some_and(|contents| contents.lists() == Lists::None) {
            return Err(self.members.damaged(UNNAMED));
        }
        if !self.found.large_objects.begin(oid) {
            return Err(self.twice());
        }
        self.progress.large_objects();
        let mut object = LargeObject::new(oid);
        // pg_dump begins a frame with the first byte of content, so an empty object has no frame.
        if self.members.left() > 0 || form == Form::Gzip {
            self.members.decode_endless(form, &mut |piece| {
                object.push(piece);
                Ok(())
            })?;
        }
        self.found.large_objects.add(&object);
        Ok(())
    }

    fn table(&mut self, id: i32, form: Form, title: String) -> Result<()> {
        self.form(form)?;
        if self.found.has_table(id) {
            return Err(self.twice());
        }
        let Some(contents) = &self.contents else { return self.early_table(id, form, title) };
        let Some(entry) = contents.table(id) else { return Err(self.members.damaged(UNNAMED)) };
        self.progress.table(entry.table());
        let mut content = Content::of(entry, &contents.toc);
        self.members.decode(form, &mut |piece| content.push(piece))?;
        let judged = content.counted().map_err(|flaw| self.members.damaged(flaw))?;
        self.found.tables.insert(id, judged);
        self.progress.done += 1;
        Ok(())
    }

    /// Checks the data of a table before its name is known.
    fn early_table(&mut self, id: i32, form: Form, title: String) -> Result<()> {
        if self.found.early.len() == MAX_EARLY {
            let message = format!("{MAX_EARLY} tables precede toc.dat: pack the tar with toc.dat first");
            return Err(Error::unsupported(self.members.offset(), title, message));
        }
        self.progress.table(title.clone());
        let mut early = early::Early::new();
        self.members.decode(form, &mut |piece| early.push(piece))?;
        let either = early.finish().map_err(|flaw| self.members.damaged(flaw))?;
        self.found.early.insert(id, found::Early { either, at: self.members.offset(), place: title });
        self.progress.done += 1;
        Ok(())
    }

    /// Checks the compression of a file.
    fn form(&mut self, form: Form) -> Result<()> {
        self.found.note(form, self.members.place());
        match &self.contents {
            Some(contents) => contents.judge(form).map_err(|flaw| self.members.damaged(flaw)),
            None => Ok(()),
        }
    }
}

/// A reporter of progress.
struct Progress<'a> {
    watch: &'a mut dyn FnMut(&Place),
    done: u64,
    of: Option<u64>,
    within_large_objects: bool,
}

impl Progress<'_> {
    fn table(&mut self, name: String) {
        self.within_large_objects = false;
        (self.watch)(&Place { name, done: self.done, of: self.of });
    }

    /// Reports large objects, once per uninterrupted sequence.
    fn large_objects(&mut self) {
        if !std::mem::replace(&mut self.within_large_objects, true) {
            (self.watch)(&Place { name: "large objects".to_owned(), done: self.done, of: self.of });
        }
    }
}
