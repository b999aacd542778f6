//! `toc.dat`, and the files that it requires.

use std::io::BufRead;

use crate::decode::Form;
use crate::error::{Error, Result};
use crate::facts::Compression;
use crate::files::members::Members;
use crate::files::name::ending;
use crate::header::{Header, Layout};
use crate::input::Input;
use crate::rows::Flaw;
use crate::toc::{Data, Entry, Toc};

/// The parsed `toc.dat`.
pub(crate) struct Contents {
    pub(crate) header: Header,
    pub(crate) toc: Toc,
    lists: Lists,
}

/// The lists of large objects that the TOC requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lists {
    /// The TOC requires none.
    None,
    /// The TOC names the lists: a directory.
    InToc,
    /// The TOC names a file that does not exist: pg_dump's tar format.
    Nowhere,
}

impl Contents {
    /// Reads all of the content of the current member.
    pub(crate) fn read<R: BufRead>(members: &mut Members<R>) -> Result<Self> {
        let start = members.offset();
        let mut input = Input::new(&mut *members);
        let read = Header::read(&mut input).and_then(|header| {
            if header.layout != Layout::Files {
                return Err(Error::damaged(
                    10,
                    "header",
                    "contains format 1 (custom), where 3 (tar, directory) was expected",
                ));
            }
            let toc = Toc::read(&mut input, &header)?;
            match input.is_at_end()? {
                true => Ok((header, toc)),
                false => Err(Error::damaged(input.offset(), "TOC", "the file continues after its last entry")),
            }
        });
        let (header, toc) = read.map_err(|mut error| {
            // An error of the tar already has its offset in the tar.
            if error.place != members.place() {
                error.offset += start;
                error.place = format!("{}, {}", members.place(), error.place);
            }
            error
        })?;
        let mut contents = Self { header, toc, lists: Lists::None };
        for entry in contents.toc.with_data() {
            let file = file(entry);
            let lists = match file {
                "blobs.toc" if entry.is_large_objects() => Lists::InToc,
                _ if entry.is_large_objects() && file == format!("blobs_{}.toc", entry.id) => Lists::InToc,
                _ if file != format!("{}.dat", entry.id) => {
                    let message = format!("the file of its TOC entry {} is \"{}\"", entry.id, file.escape_debug());
                    return Err(members.damaged(message));
                }
                _ if entry.is_large_objects() => Lists::Nowhere,
                _ => continue,
            };
            if contents.lists != Lists::None && contents.lists != lists {
                return Err(members.damaged("it lists large objects both as a directory and as a tar"));
            }
            contents.lists = lists;
        }
        Ok(contents)
    }

    pub(crate) fn lists(&self) -> Lists {
        self.lists
    }

    /// Returns the number of required table files and lists.
    pub(crate) fn count(&self) -> u64 {
        self.toc.with_data().count() as u64
    }

    /// Returns the entry whose data is the file `ID.dat`.
    pub(crate) fn table(&self, id: i32) -> Option<&Entry> {
        self.with_data(id).filter(|entry| !entry.is_large_objects())
    }

    fn with_data(&self, id: i32) -> Option<&Entry> {
        let entry = &self.toc.entries[*self.toc.by_id.get(&id)?];
        (entry.data != Data::Nowhere).then_some(entry)
    }

    /// Returns true if this list of large objects may exist.
    pub(crate) fn has_list(&self, list: Option<i32>) -> bool {
        match list {
            None => self.toc.with_data().any(|entry| lists_of(entry).contains(&Some(None))),
            Some(id) => self.with_data(id).is_some_and(|entry| lists_of(entry).contains(&Some(list))),
        }
    }

    /// Fails if files may not have this compression. According to the manual, files that pg_dump
    /// left uncompressed may be compressed later, and compressed files may be uncompressed: every
    /// pg_restore first looks for the name without a suffix.
    pub(crate) fn judge(&self, form: Form) -> Result<(), Flaw> {
        let expected = self.form();
        if expected == Form::Plain || form == Form::Plain || form == expected {
            return Ok(());
        }
        Err(format!("its name ends with \".dat{}\", where \".dat{}\" was expected", ending(form), ending(expected)))
    }

    /// Returns the compression of the files.
    pub(crate) fn form(&self) -> Form {
        match self.header.compression {
            Compression::None => Form::Plain,
            Compression::Gzip => Form::Gzip,
            Compression::Lz4 => Form::Lz4,
            Compression::Zstd => Form::Zstd,
        }
    }
}

/// Returns the file that an entry names.
pub(crate) fn file(entry: &Entry) -> &str {
    match &entry.data {
        Data::File(file) => file,
        _ => "",
    }
}

/// Returns the lists that an entry may have. Exactly one must exist.
pub(crate) fn lists_of(entry: &Entry) -> [Option<Option<i32>>; 2] {
    let numbered = Some(Some(entry.id));
    match file(entry) {
        _ if !entry.is_large_objects() => [None, None],
        "blobs.toc" => [Some(None), None],
        file if file.ends_with(".toc") => [numbered, None],
        _ => [Some(None), numbered],
    }
}
