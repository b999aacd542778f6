//! The names of a dump's files.

use crate::decode::Form;

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
    /// Parses a file name without its folder. Returns `None` for a name that pg_dump never writes.
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

/// Returns the suffix that a compression adds to a file name.
pub(crate) fn ending(form: Form) -> &'static str {
    match form {
        Form::Plain | Form::Zlib => "",
        Form::Gzip => ".gz",
        Form::Lz4 => ".lz4",
        Form::Zstd => ".zst",
    }
}

/// Parses a positive number in its canonical form.
pub(crate) fn number<N: std::str::FromStr + ToString + Default + PartialOrd>(digits: &str) -> Option<N> {
    digits.parse().ok().filter(|number: &N| *number > N::default() && number.to_string() == digits)
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
}
