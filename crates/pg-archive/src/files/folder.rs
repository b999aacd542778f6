//! The folder of a dump's files within a tar, and the other members of the tar. pg_restore reads
//! only the files of the dump's folder.

use crate::facts::Others;
use crate::files::members::PACK_ANEW;
use crate::rows::Flaw;

/// The folder that contains all files of a dump, found from the first of them.
#[derive(Default)]
pub(crate) struct Folder {
    path: Option<Vec<u8>>,
    /// Before the folder is known: the folders that may contain it, each within the one before.
    open: Vec<Vec<u8>>,
    others: Others,
}

impl Folder {
    /// Records a file of the dump, and returns its name in the folder.
    pub(crate) fn file(&mut self, path: &[u8]) -> Result<Vec<u8>, Flaw> {
        let (folder, name) = split(path)?;
        self.close(&folder);
        let dump = self.path.get_or_insert_with(|| folder.clone());
        if *dump == folder {
            return Ok(name);
        }
        let [one, other] = [&*dump, &folder].map(|folder| if folder.is_empty() { b"." } else { folder.as_slice() });
        Err(format!(
            "is in the folder \"{}\", where a dump's files before it are in \"{}\": unpack the tar, and give one of the folders",
            other.escape_ascii(),
            one.escape_ascii()
        ))
    }

    /// Records a folder, which either leads to the dump or is unrelated.
    pub(crate) fn folder(&mut self, path: &[u8]) -> Result<(), Flaw> {
        let folder = parts(path)?.join(&b'/');
        self.close(&folder);
        match &self.path {
            None => self.open.push(folder),
            Some(dump) if leads(&folder, dump) => {}
            Some(_) => self.others.add(&[&folder[..], b"/"].concat()),
        }
        Ok(())
    }

    /// Records another member.
    pub(crate) fn other(&mut self, path: &[u8]) -> Result<(), Flaw> {
        let path = parts(path)?.join(&b'/');
        self.close(&path);
        self.others.add(&path);
        Ok(())
    }

    /// Closes the folders that do not lead to `path`, since a tar stores the content of a folder
    /// together. The dump is in none of them.
    fn close(&mut self, path: &[u8]) {
        while let Some(folder) = self.open.pop_if(|folder| !leads(folder, path)) {
            self.others.add(&[&folder[..], b"/"].concat());
        }
    }

    /// Returns true if the tar has no members.
    pub(crate) fn is_empty(&self) -> bool {
        self.path.is_none() && self.open.is_empty() && self.others.is_empty()
    }

    /// Returns the members beside the dump, by their names relative to its folder.
    pub(crate) fn others(self) -> Others {
        let dump = self.path.filter(|path| !path.is_empty()).map(|path| [&path[..], b"/"].concat());
        self.others.seen_from(&dump.unwrap_or_default())
    }
}

/// Returns the last part of a path, which identifies a dump's file.
pub(crate) fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Returns true if `folder` equals `to` or contains it.
fn leads(folder: &[u8], to: &[u8]) -> bool {
    folder.is_empty() || to.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn split(path: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Flaw> {
    let mut parts = parts(path)?;
    let name = parts.pop().unwrap_or_default().to_owned();
    Ok((parts.join(&b'/'), name))
}

/// Splits a path into its parts, without empty parts and `.`.
fn parts(path: &[u8]) -> Result<Vec<&[u8]>, Flaw> {
    let parts: Vec<_> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    match path {
        [b'/', ..] => Err(format!("is a path from the root; {PACK_ANEW}")),
        _ if parts.contains(&&b".."[..]) => Err(format!("is a path that leads out of its folder; {PACK_ANEW}")),
        _ => Ok(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::name::Name;

    /// Returns the members beside the dump in a tar with these members.
    fn others(members: &[&str]) -> Result<Vec<String>, Flaw> {
        let mut folder = Folder::default();
        for member in members {
            let path = member.as_bytes();
            match Name::parse(name(path)) {
                _ if member.ends_with('/') => folder.folder(path)?,
                Some(_) => drop(folder.file(path)?),
                None => folder.other(path)?,
            }
        }
        Ok(folder.others().names)
    }

    #[test]
    fn the_files_of_a_dump_are_in_one_folder() {
        for members in [
            &["1.dat", "2.dat"][..],
            &["./", "./1.dat", "./2.dat"],
            &["d/", "d/1.dat", "d/2.dat"],
            &["x/d/1.dat", "x/d/2.dat"],
            &["x/", "x/d/", "x/d/1.dat"],
            &["x/d/1.dat", "x/", "x/d/"],
        ] {
            assert_eq!(others(members), Ok(Vec::new()), "{members:?}");
        }
        for members in
            [&["1.dat", "d/2.dat"][..], &["d/1.dat", "e/2.dat"], &["d/1.dat", "dd/2.dat"], &["d/1.dat", "2.dat"]]
        {
            assert!(others(members).unwrap_err().contains("give one of the folders"), "{members:?}");
        }
    }

    #[test]
    fn what_else_there_is_has_its_name_beside_the_dump() {
        for (members, expected) in [
            (&["README", "1.dat", "SUMS"][..], &["README", "SUMS"][..]),
            (&["./", "./a/", "./a/b", "./1.dat", "./c/"], &["a/b", "a/", "c/"]),
            (
                &["x/", "x/README", "x/e/", "x/e/f/", "x/d/", "x/d/1.dat", "x/d/note", "x/d/g/"],
                &["x/README", "x/e/f/", "x/e/", "note", "g/"],
            ),
            (&["d/1.dat", "dd/", "dd/a"], &["dd/", "dd/a"]),
        ] {
            assert_eq!(others(members).unwrap(), expected, "{members:?}");
        }
    }

    #[test]
    fn no_path_leads_out() {
        for member in ["/1.dat", "../1.dat", "d/../1.dat", "/README", "../README", "/d/", "d/../../"] {
            assert!(others(&[member]).unwrap_err().contains("pack it with: tar"), "{member}");
        }
    }
}
