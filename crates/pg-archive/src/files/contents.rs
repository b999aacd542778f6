//! `toc.dat`: which files there must be.

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

/// What `toc.dat` says.
pub(crate) struct Contents {
    pub(crate) header: Header,
    pub(crate) toc: Toc,
    lists: Lists,
}

/// How the lists of large objects are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lists {
    /// There are none.
    None,
    /// By the TOC: a directory.
    InToc,
    /// By nothing, where the TOC has a name that no file has: pg_dump's tar format.
    Nowhere,
}

impl Contents {
    /// Reads it to its last byte, as the content of the member that was begun.
    pub(crate) fn read<R: BufRead>(members: &mut Members<R>) -> Result<Self> {
        let start = members.offset();
        let mut input = Input::new(&mut *members);
        let read = Header::read(&mut input).and_then(|header| {
            if header.layout != Layout::Files {
                return Err(Error::damaged(
                    10,
                    "header",
                    "says format 1 (custom), where 3 (tar, directory) was expected",
                ));
            }
            let toc = Toc::read(&mut input, &header)?;
            match input.is_at_end()? {
                true => Ok((header, toc)),
                false => Err(Error::damaged(input.offset(), "TOC", "the file goes on behind its last entry")),
            }
        });
        let (header, toc) = read.map_err(|mut error| {
            // What went wrong in the tar has its offset there already.
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
                return Err(members.damaged("it names large objects both as a directory's and as a tar's"));
            }
            contents.lists = lists;
        }
        Ok(contents)
    }

    pub(crate) fn lists(&self) -> Lists {
        self.lists
    }

    /// How many files of tables, and lists, there must be.
    pub(crate) fn count(&self) -> u64 {
        self.toc.with_data().count() as u64
    }

    /// The entry whose data the file `ID.dat` is.
    pub(crate) fn table(&self, id: i32) -> Option<&Entry> {
        self.with_data(id).filter(|entry| !entry.is_large_objects())
    }

    fn with_data(&self, id: i32) -> Option<&Entry> {
        let entry = &self.toc.entries[*self.toc.by_id.get(&id)?];
        (entry.data != Data::Nowhere).then_some(entry)
    }

    /// Whether there may be this list of large objects.
    pub(crate) fn has_list(&self, list: Option<i32>) -> bool {
        match list {
            None => self.toc.with_data().any(|entry| lists_of(entry).contains(&Some(None))),
            Some(id) => self.with_data(id).is_some_and(|entry| lists_of(entry).contains(&Some(list))),
        }
    }

    /// Returns whether files may be compressed like this. Those that pg_dump left uncompressed may be compressed afterwards, its manual says, and
    /// those that it compressed may be uncompressed: every pg_restore looks for the bare name first.
    pub(crate) fn judge(&self, form: Form) -> Result<(), Flaw> {
        let expected = self.form();
        if expected == Form::Plain || form == Form::Plain || form == expected {
            return Ok(());
        }
        Err(format!("its name ends with \".dat{}\", where \".dat{}\" was expected", ending(form), ending(expected)))
    }

    /// How files are compressed.
    pub(crate) fn form(&self) -> Form {
        match self.header.compression {
            Compression::None => Form::Plain,
            Compression::Gzip => Form::Gzip,
            Compression::Lz4 => Form::Lz4,
            Compression::Zstd => Form::Zstd,
        }
    }
}

/// The file that an entry names.
pub(crate) fn file(entry: &Entry) -> &str {
    match &entry.data {
        Data::File(file) => file,
        _ => "",
    }
}

/// The lists that an entry may have, of which there must be one.
pub(crate) fn lists_of(entry: &Entry) -> [Option<Option<i32>>; 2] {
    let numbered = Some(Some(entry.id));
    match file(entry) {
        _ if !entry.is_large_objects() => [None, None],
        "blobs.toc" => [Some(None), None],
        file if file.ends_with(".toc") => [numbered, None],
        _ => [Some(None), numbered],
    }
}
