//! What the names of files tell.

use crate::decode::Form;
use crate::rows::Flaw;

/// A file that pg_dump writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// `toc.dat`.
    Toc,
    /// `restore.sql`.
    Script,
    /// `blobs.toc`, or since PostgreSQL 17 `blobs_ID.toc`.
    List(Option<i32>),
    /// `blob_OID.dat`, perhaps compressed.
    LargeObject(u32, Form),
    /// `ID.dat`, perhaps compressed.
    Table(i32, Form),
}

impl Name {
    /// Tells a file by its name, without its folder. Nothing if pg_dump does not write such a one.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        match name {
            "toc.dat" => return Some(Self::Toc),
            "restore.sql" => return Some(Self::Script),
            "blobs.toc" => return Some(Self::List(None)),
            _ => {}
        }
        if let Some(id) = name.strip_prefix("blobs_").and_then(|rest| rest.strip_suffix(".toc")) {
            return number(id).map(|id| Self::List(Some(id)));
        }
        let (stem, ending) = name.split_once(".dat")?;
        let form =
            [Form::Plain, Form::Gzip, Form::Lz4, Form::Zstd].into_iter().find(|form| self::ending(*form) == ending)?;
        match stem.strip_prefix("blob_") {
            Some(oid) => number(oid).map(|oid| Self::LargeObject(oid, form)),
            None => number(stem).map(|id| Self::Table(id, form)),
        }
    }
}

/// What a compression adds to the name of a file.
pub(crate) fn ending(form: Form) -> &'static str {
    match form {
        Form::Plain | Form::Zlib => "",
        Form::Gzip => ".gz",
        Form::Lz4 => ".lz4",
        Form::Zstd => ".zst",
    }
}

/// A positive number, as it is printed.
pub(crate) fn number<N: std::str::FromStr + ToString + Default + PartialOrd>(digits: &str) -> Option<N> {
    digits.parse().ok().filter(|number: &N| *number > N::default() && number.to_string() == digits)
}

/// The one folder that all files are in, which a tar that was made by hand may name.
#[derive(Default)]
pub(crate) struct Folder {
    path: Option<Vec<u8>>,
    has_files: bool,
}

impl Folder {
    /// Takes note of a file, and returns its name in the folder.
    pub(crate) fn file(&mut self, path: &[u8]) -> Result<Vec<u8>, Flaw> {
        let mut parts = parts(path)?;
        let name = parts.pop().filter(|_| !path.ends_with(b"/")).ok_or("is no name of a file")?;
        let folder = parts.join(&b'/');
        // GNU tar names the folder before its files; other programs name the files alone.
        if self.path.get_or_insert_with(|| folder.clone()) != &folder {
            return Err("is in another folder than what comes before it".to_owned());
        }
        self.has_files = true;
        Ok(name.to_owned())
    }

    /// Takes note of a folder: each must lead to the files.
    pub(crate) fn folder(&mut self, path: &[u8]) -> Result<(), Flaw> {
        let folder = parts(path)?.join(&b'/');
        let leads = match &self.path {
            None => true,
            Some(outer) if outer.is_empty() => !self.has_files || folder.is_empty(),
            Some(outer) if self.has_files => *outer == folder,
            Some(outer) => folder.strip_prefix(outer.as_slice()).is_some_and(|rest| rest.starts_with(b"/")),
        };
        if !leads {
            return Err("is a folder that no file is in".to_owned());
        }
        self.path = Some(folder);
        Ok(())
    }
}

/// The parts of a path, without those that lead nowhere.
fn parts(path: &[u8]) -> Result<Vec<&[u8]>, Flaw> {
    if path.starts_with(b"/") {
        return Err("is a path from the root, which no tar should have".to_owned());
    }
    let parts: Vec<_> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.contains(&&b".."[..]) {
        return Err("leads out of its folder".to_owned());
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_a_file_is() {
        for (name, expected) in [
            ("toc.dat", Some(Name::Toc)),
            ("blobs.toc", Some(Name::List(None))),
            ("blobs_12.toc", Some(Name::List(Some(12)))),
            ("blob_4294967295.dat.lz4", Some(Name::LargeObject(u32::MAX, Form::Lz4))),
            ("12.dat", Some(Name::Table(12, Form::Plain))),
            ("12.dat.gz", Some(Name::Table(12, Form::Gzip))),
            ("012.dat", None),
            ("+12.dat", None),
            ("0.dat", None),
            ("-1.dat", None),
            ("99999999999.dat", None),
            ("blob_4294967296.dat", None),
            ("12.dat.bz2", None),
            ("12.dat.dat", None),
            ("toc.dat.gz", None),
            (".dat", None),
            ("", None),
        ] {
            assert_eq!(Name::parse(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn files_are_in_one_folder() {
        let names = |members: &[&str]| -> Result<Vec<Vec<u8>>, Flaw> {
            let mut folder = Folder::default();
            let mut names = Vec::new();
            for member in members {
                match member.strip_suffix('/') {
                    Some(_) => folder.folder(member.as_bytes())?,
                    None => names.push(folder.file(member.as_bytes())?),
                }
            }
            Ok(names)
        };
        for members in [
            &["a", "b"][..],
            &["./", "./a", "./b"],
            &["d/", "d/a", "d/b"],
            &["x/d/a", "x/d/b"],
            &["x/", "x/d/", "x/d/a"],
        ] {
            assert!(names(members).is_ok(), "{members:?}");
        }
        for members in [
            &["a", "d/b"][..],
            &["d/a", "e/b"],
            &["../a"],
            &["/a"],
            &["d/", "a"],
            &["d/", "e/"],
            &["a", "d/"],
            &["d/", "dd/"],
            &["d/../a"],
        ] {
            assert!(names(members).is_err(), "{members:?}");
        }
    }
}
