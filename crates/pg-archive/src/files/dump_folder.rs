//! The folder of a dump's files within a tar, and the other members of the tar. pg_restore reads
//! only the files of the dump's folder.

use crate::copy_data::Flaw;
use crate::facts::ExtraFiles;
use crate::files::tar_reader::REPACK_HINT;

/// The folder that contains all files of a dump, found from the first of them.
#[derive(Default)]
pub(crate) struct DumpFolder {
    path: Option<Vec<u8>>,
    /// Before the folder is known: the folders that may contain it, each within the one before.
    open: Vec<Vec<u8>>,
    extra_files: ExtraFiles,
}

impl DumpFolder {
    /// Records a file of the dump, and returns its name in the folder.
    pub(crate) fn add_file(&mut self, path: &[u8]) -> Result<Vec<u8>, Flaw> {
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
    pub(crate) fn add_folder(&mut self, path: &[u8]) -> Result<(), Flaw> {
        let folder = parts(path)?.join(&b'/');
        self.close(&folder);
        match &self.path {
            None => self.open.push(folder),
            Some(dump) if contains(&folder, dump) => {}
            Some(_) => self.extra_files.add(&[&folder[..], b"/"].concat()),
        }
        Ok(())
    }

    /// Records another member.
    pub(crate) fn add_other(&mut self, path: &[u8]) -> Result<(), Flaw> {
        let path = parts(path)?.join(&b'/');
        self.close(&path);
        self.extra_files.add(&path);
        Ok(())
    }

    /// Closes the folders that do not lead to `path`, since a tar stores the content of a folder
    /// together. The dump is in none of them.
    fn close(&mut self, path: &[u8]) {
        while let Some(folder) = self.open.pop_if(|folder| !contains(folder, path)) {
            self.extra_files.add(&[&folder[..], b"/"].concat());
        }
    }

    /// Returns true if the tar has no members.
    pub(crate) fn is_empty(&self) -> bool {
        self.path.is_none() && self.open.is_empty() && self.extra_files.is_empty()
    }

    /// Returns the members beside the dump, by their names relative to its folder.
    pub(crate) fn extra_files(self) -> ExtraFiles {
        let dump = self.path.filter(|path| !path.is_empty()).map(|path| [&path[..], b"/"].concat());
        self.extra_files.relative_to(&dump.unwrap_or_default())
    }
}

/// Returns the last part of a path, which identifies a dump's file.
pub(crate) fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Returns true if `folder` equals `path` or contains it.
fn contains(folder: &[u8], path: &[u8]) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
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
        [b'/', ..] => Err(format!("is a path from the root; {REPACK_HINT}")),
        _ if parts.contains(&&b".."[..]) => Err(format!("is a path that leads out of its folder; {REPACK_HINT}")),
        _ => Ok(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::file_name::FileName;

    /// Returns the members beside the dump in a tar with these members.
    fn extra_files(members: &[&str]) -> Result<Vec<String>, Flaw> {
        let mut folder = DumpFolder::default();
        for member in members {
            let path = member.as_bytes();
            match FileName::parse(file_name(path)) {
                _ if member.ends_with('/') => folder.add_folder(path)?,
                Some(_) => drop(folder.add_file(path)?),
                None => folder.add_other(path)?,
            }
        }
        Ok(folder.extra_files().names)
    }

    #[test]
    fn dump_files_must_share_one_folder() {
        for members in [
            &["1.dat", "2.dat"][..],
            &["./", "./1.dat", "./2.dat"],
            &["d/", "d/1.dat", "d/2.dat"],
            &["x/d/1.dat", "x/d/2.dat"],
            &["x/", "x/d/", "x/d/1.dat"],
            &["x/d/1.dat", "x/", "x/d/"],
        ] {
            assert_eq!(extra_files(members), Ok(Vec::new()), "{members:?}");
        }
        for members in
            [&["1.dat", "d/2.dat"][..], &["d/1.dat", "e/2.dat"], &["d/1.dat", "dd/2.dat"], &["d/1.dat", "2.dat"]]
        {
            assert!(extra_files(members).unwrap_err().contains("give one of the folders"), "{members:?}");
        }
    }

    #[test]
    fn extra_files_are_named_relative_to_dump() {
        for (members, expected) in [
            (&["README", "1.dat", "SUMS"][..], &["README", "SUMS"][..]),
            (&["./", "./a/", "./a/b", "./1.dat", "./c/"], &["a/b", "a/", "c/"]),
            (
                &["x/", "x/README", "x/e/", "x/e/f/", "x/d/", "x/d/1.dat", "x/d/note", "x/d/g/"],
                &["x/README", "x/e/f/", "x/e/", "note", "g/"],
            ),
            (&["d/1.dat", "dd/", "dd/a"], &["dd/", "dd/a"]),
        ] {
            assert_eq!(extra_files(members).unwrap(), expected, "{members:?}");
        }
    }

    #[test]
    fn rejects_path_outside_of_folder() {
        for member in ["/1.dat", "../1.dat", "d/../1.dat", "/README", "../README", "/d/", "d/../../"] {
            assert!(extra_files(&[member]).unwrap_err().contains("pack it with: tar"), "{member}");
        }
    }
}
