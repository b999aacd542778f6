//! `toc.dat`, and the files that it requires.

use std::io::BufRead;

use crate::copy_data::Flaw;
use crate::decode::Codec;
use crate::error::{Error, Result};
use crate::facts::Compression;
use crate::files::file_name::suffix;
use crate::files::tar_reader::TarReader;
use crate::header::{Header, Layout};
use crate::input::Input;
use crate::toc::{DataLocation, Entry, Toc};

/// The parsed `toc.dat`.
pub(crate) struct TocFile {
    pub(crate) header: Header,
    pub(crate) toc: Toc,
    lists: LargeObjectLists,
}

/// The lists of large objects that the TOC requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LargeObjectLists {
    /// The TOC requires none.
    None,
    /// The TOC names the lists: a directory.
    Directory,
    /// The TOC names a file that does not exist: pg_dump's tar format.
    Tar,
}

impl TocFile {
    /// Reads all of the content of the current member.
    pub(crate) fn read<R: BufRead>(tar: &mut TarReader<R>) -> Result<Self> {
        let start = tar.offset();
        let mut input = Input::new(&mut *tar);
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
            if error.place != tar.place() {
                error.offset += start;
                error.place = format!("{}, {}", tar.place(), error.place);
            }
            error
        })?;
        let mut toc_file = Self { header, toc, lists: LargeObjectLists::None };
        for entry in toc_file.toc.with_data() {
            let file = data_file(entry);
            let lists = match file {
                "blobs.toc" if entry.is_large_objects() => LargeObjectLists::Directory,
                _ if entry.is_large_objects() && file == format!("blobs_{}.toc", entry.id) => {
                    LargeObjectLists::Directory
                }
                _ if file != format!("{}.dat", entry.id) => {
                    let message = format!("the file of its TOC entry {} is \"{}\"", entry.id, file.escape_debug());
                    return Err(tar.damaged(message));
                }
                _ if entry.is_large_objects() => LargeObjectLists::Tar,
                _ => continue,
            };
            if toc_file.lists != LargeObjectLists::None && toc_file.lists != lists {
                return Err(tar.damaged("it lists large objects both as a directory and as a tar"));
            }
            toc_file.lists = lists;
        }
        Ok(toc_file)
    }

    pub(crate) fn large_object_lists(&self) -> LargeObjectLists {
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
        (entry.data != DataLocation::None).then_some(entry)
    }

    /// Returns true if this list of large objects may exist.
    pub(crate) fn has_list(&self, list: Option<i32>) -> bool {
        match list {
            None => self.toc.with_data().any(|entry| allowed_lists(entry).contains(&Some(None))),
            Some(id) => self.with_data(id).is_some_and(|entry| allowed_lists(entry).contains(&Some(list))),
        }
    }

    /// Fails if files may not have this compression. According to the manual, files that pg_dump
    /// left uncompressed may be compressed later, and compressed files may be uncompressed: every
    /// pg_restore first looks for the name without a suffix.
    pub(crate) fn check_codec(&self, codec: Codec) -> Result<(), Flaw> {
        let expected = self.codec();
        if expected == Codec::Plain || codec == Codec::Plain || codec == expected {
            return Ok(());
        }
        Err(format!("its name ends with \".dat{}\", where \".dat{}\" was expected", suffix(codec), suffix(expected)))
    }

    /// Returns the compression of the files.
    pub(crate) fn codec(&self) -> Codec {
        match self.header.compression {
            Compression::None => Codec::Plain,
            Compression::Gzip => Codec::Gzip,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd => Codec::Zstd,
        }
    }
}

/// Returns the file that an entry names.
pub(crate) fn data_file(entry: &Entry) -> &str {
    match &entry.data {
        DataLocation::File(file) => file,
        _ => "",
    }
}

/// Returns the lists that an entry may have. Exactly one must exist.
pub(crate) fn allowed_lists(entry: &Entry) -> [Option<Option<i32>>; 2] {
    let numbered = Some(Some(entry.id));
    match data_file(entry) {
        _ if !entry.is_large_objects() => [None, None],
        "blobs.toc" => [Some(None), None],
        file if file.ends_with(".toc") => [numbered, None],
        _ => [Some(None), numbered],
    }
}
