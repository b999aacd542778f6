//! Whether pg_restore can read a tar of pg_dump's as it is: it reads the members once, in their order, and knows them by their bare names.
//!
//! pg_dump writes `toc.dat` first, the data in the order of the TOC, each list of large objects behind what it lists, and `restore.sql`. In
//! another order pg_restore fails, crashes, or, worst, ends well without the large objects.

use crate::error::Error;
use crate::files::contents::{Contents, file};
use crate::files::name::Name;
use crate::rows::Flaw;

/// How many members are remembered; large objects that follow one another count as one.
const MAX_MEMBERS: usize = 1 << 21;
/// The number of files that are named in a hint to pack them anew.
const MAX_NAMED: usize = 40;

/// A member, as pg_restore takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Toc,
    /// `ID.dat`.
    Table(i32),
    /// One or more, one behind another.
    LargeObjects,
    /// One or more that it passes over.
    Other,
}

/// The members of a tar, in their order.
#[derive(Debug, Default)]
pub(crate) struct Order {
    members: Vec<Member>,
    /// Whether there were too many to remember.
    is_cut: bool,
}

impl Order {
    /// Takes note of a header that says more of the next member, such as pax has: to pg_restore it is a member of its own.
    pub(crate) fn add_extension(&mut self) {
        self.add(b"");
    }

    /// Takes note of the next member.
    pub(crate) fn add(&mut self, path: &[u8]) {
        let member = match Name::parse(path) {
            Some(Name::Toc) => Member::Toc,
            Some(Name::Table(id, _)) => Member::Table(id),
            Some(Name::LargeObject(..)) => Member::LargeObjects,
            _ => Member::Other,
        };
        let again = self.members.last() == Some(&member) && matches!(member, Member::LargeObjects | Member::Other);
        self.is_cut |= self.members.len() == MAX_MEMBERS;
        if !again && !self.is_cut {
            self.members.push(member);
        }
    }

    /// Judges whether pg_restore finds all data that `contents` name, in a tar of so many bytes, whose first header has the word that
    /// pg_restore looks for or not.
    pub(crate) fn judge(&self, contents: &Contents, has_magic: bool, bytes: u64) -> Result<(), Error> {
        let known = match has_magic {
            true => self.walk(contents),
            false => Err("its headers are those of the oldest tars".to_owned()),
        };
        let Err(flaw) = known else { return Ok(()) };
        let message = format!("pg_dump wrote this tar, it was packed anew, and pg_restore cannot read it: {flaw}");
        Err(Error::unsupported(bytes, "order of the tar", message).remedy(remedy(contents)))
    }

    /// Walks through the members as pg_restore does.
    fn walk(&self, contents: &Contents) -> Result<(), Flaw> {
        if self.is_cut {
            return Err(format!("it has more than {MAX_MEMBERS} members in turn"));
        }
        let Some(toc) = self.members.iter().position(|member| *member == Member::Toc) else {
            return Err("the files are in a folder, and toc.dat is known by its bare name".to_owned());
        };
        // Releases since 17.11 demand it of everything, others of data.
        if toc > 0 {
            return Err("toc.dat is not the first member".to_owned());
        }
        let has_objects = self.members.contains(&Member::LargeObjects);
        let mut rest = &self.members[toc + 1..];
        for entry in contents.toc.with_data() {
            if !entry.is_large_objects() {
                rest = table(rest, entry.id)?;
            } else if has_objects {
                let Some(at) = rest.iter().position(|member| *member == Member::LargeObjects) else {
                    return Err("large objects precede data that the TOC lists before them".to_owned());
                };
                // It looks at the member behind the large objects to learn that they have ended, and passes over it.
                rest = rest.get(at + 2..).unwrap_or_default();
            }
        }
        match rest.contains(&Member::LargeObjects) {
            true => Err("another file is among the large objects".to_owned()),
            false => Ok(()),
        }
    }
}

/// Goes to the data of a table, and returns what follows it.
fn table(members: &[Member], id: i32) -> Result<&[Member], Flaw> {
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

/// How to pack the files again.
fn remedy(contents: &Contents) -> String {
    let data = contents.toc.with_data().map(|entry| match entry.is_large_objects() {
        true => "blob_*.dat blobs*.toc".to_owned(),
        false => file(entry).to_owned(),
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
