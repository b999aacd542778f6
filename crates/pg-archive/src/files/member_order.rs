//! The check whether pg_restore can read a tar of pg_dump's directly. pg_restore reads the members
//! once, in their order, and identifies them by their bare names.
//!
//! pg_dump writes `toc.dat` first, the data in the order of the TOC, each list of large objects
//! after its objects, and `restore.sql`. With another order pg_restore fails, crashes or, worst of
//! all, succeeds without restoring the large objects.

use crate::copy_data::Flaw;
use crate::error::Error;
use crate::files::file_name::FileName;
use crate::files::toc_file::{TocFile, data_file};

/// The number of members that are recorded. Consecutive large objects count as one.
const MAX_MEMBERS: usize = 1 << 21;
/// The number of files that a hint to repack lists.
const MAX_NAMED: usize = 40;

/// A member, as pg_restore classifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Toc,
    /// `ID.dat`.
    Table(i32),
    /// One or more consecutive large objects.
    LargeObjects,
    /// One or more consecutive members that pg_restore skips.
    Other,
}

/// The members of a tar, in their order.
#[derive(Debug, Default)]
pub(crate) struct MemberOrder {
    members: Vec<Member>,
    /// True if some members were not recorded.
    is_incomplete: bool,
}

impl MemberOrder {
    /// Records an extended header of the next member, such as a pax header, which pg_restore treats
    /// as a separate member.
    pub(crate) fn add_extension(&mut self) {
        self.add(b"");
    }

    /// Records the next member.
    pub(crate) fn add(&mut self, path: &[u8]) {
        let member = match FileName::parse(path) {
            Some(FileName::Toc) => Member::Toc,
            Some(FileName::Table(id, _)) => Member::Table(id),
            Some(FileName::LargeObject(..)) => Member::LargeObjects,
            _ => Member::Other,
        };
        let is_repeated =
            self.members.last() == Some(&member) && matches!(member, Member::LargeObjects | Member::Other);
        self.is_incomplete |= self.members.len() == MAX_MEMBERS;
        if !is_repeated && !self.is_incomplete {
            self.members.push(member);
        }
    }

    /// Fails unless pg_restore finds all data that `toc_file` lists, in a tar of `bytes` bytes.
    /// `has_magic` is true if the first header has the magic that pg_restore looks for.
    pub(crate) fn check(&self, toc_file: &TocFile, has_magic: bool, bytes: u64) -> Result<(), Error> {
        let result = match has_magic {
            true => self.check_sequence(toc_file),
            false => Err("its headers are those of the oldest tars".to_owned()),
        };
        let Err(flaw) = result else { return Ok(()) };
        let message = format!("pg_dump wrote this tar, it was packed anew, and pg_restore cannot read it: {flaw}");
        Err(Error::unsupported(bytes, "order of the tar", message).remedy(remedy(toc_file)))
    }

    /// Reads the members as pg_restore does.
    fn check_sequence(&self, toc_file: &TocFile) -> Result<(), Flaw> {
        if self.is_incomplete {
            return Err(format!("it has more than {MAX_MEMBERS} members in turn"));
        }
        let Some(toc) = self.members.iter().position(|member| *member == Member::Toc) else {
            return Err("the files are in a folder, and toc.dat is known by its bare name".to_owned());
        };
        // Releases since 17.11 require this of all members, older ones only of data.
        if toc > 0 {
            return Err("toc.dat is not the first member".to_owned());
        }
        let has_objects = self.members.contains(&Member::LargeObjects);
        let mut rest = &self.members[toc + 1..];
        for entry in toc_file.toc.with_data() {
            if !entry.is_large_objects() {
                rest = find_table(rest, entry.id)?;
            } else if has_objects {
                let Some(at) = rest.iter().position(|member| *member == Member::LargeObjects) else {
                    return Err("large objects precede data that the TOC lists before them".to_owned());
                };
                // pg_restore reads the member after the large objects to detect their end, and
                // skips it.
                rest = rest.get(at + 2..).unwrap_or_default();
            }
        }
        match rest.contains(&Member::LargeObjects) {
            true => Err("another file is among the large objects".to_owned()),
            false => Ok(()),
        }
    }
}

/// Finds the data of a table, and returns the members after it.
fn find_table(members: &[Member], id: i32) -> Result<&[Member], Flaw> {
    for (at, member) in members.iter().enumerate() {
        match member {
            Member::Table(found) if *found == id => return Ok(&members[at + 1..]),
            Member::Table(found) => {
                return Err(format!("{found}.dat precedes {id}.dat, which the TOC lists before it"));
            }
            Member::LargeObjects => {
                return Err(format!("large objects precede {id}.dat, which the TOC lists before them"));
            }
            Member::Toc | Member::Other => {}
        }
    }
    Err(format!("{id}.dat is not where the TOC lists it"))
}

/// Returns the command that repacks the files.
fn remedy(toc_file: &TocFile) -> String {
    let data = toc_file.toc.with_data().map(|entry| match entry.is_large_objects() {
        true => "blob_*.dat blobs*.toc".to_owned(),
        false => data_file(entry).to_owned(),
    });
    let files: Vec<_> = data.take(MAX_NAMED + 1).collect();
    let unpack = "unpack it, and pack its files again in the order of pg_dump";
    if files.len() > MAX_NAMED {
        return format!(
            "{unpack}: toc.dat, then the data in the order of `pg_restore --list toc.dat`, then restore.sql"
        );
    }
    format!("{unpack}: tar --format=ustar -cf FILE toc.dat {} restore.sql", files.join(" "))
}
