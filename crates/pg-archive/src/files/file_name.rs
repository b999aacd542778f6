//! The names of a dump's files.

use crate::decode::Codec;

/// A file that pg_dump writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileName {
    /// `toc.dat`.
    Toc,
    /// `restore.sql`.
    RestoreSql,
    /// `blobs.toc`, or since PostgreSQL 17 `blobs_ID.toc`.
    LargeObjectList(Option<i32>),
    /// `blob_OID.dat`, perhaps compressed.
    LargeObject(u32, Codec),
    /// `ID.dat`, perhaps compressed.
    Table(i32, Codec),
}

impl FileName {
    /// Parses a file name without its folder. Returns `None` for a name that pg_dump never writes.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        match name {
            "toc.dat" => return Some(Self::Toc),
            "restore.sql" => return Some(Self::RestoreSql),
            "blobs.toc" => return Some(Self::LargeObjectList(None)),
            _ => {}
        }
        if let Some(id) = name.strip_prefix("blobs_").and_then(|rest| rest.strip_suffix(".toc")) {
            return parse_number(id).map(|id| Self::LargeObjectList(Some(id)));
        }
        let (stem, suffix) = name.split_once(".dat")?;
        let codec = [Codec::Plain, Codec::Gzip, Codec::Lz4, Codec::Zstd]
            .into_iter()
            .find(|codec| self::suffix(*codec) == suffix)?;
        match stem.strip_prefix("blob_") {
            Some(oid) => parse_number(oid).map(|oid| Self::LargeObject(oid, codec)),
            None => parse_number(stem).map(|id| Self::Table(id, codec)),
        }
    }
}

/// Returns the suffix that a compression adds to a file name.
pub(crate) fn suffix(codec: Codec) -> &'static str {
    match codec {
        Codec::Plain | Codec::Zlib => "",
        Codec::Gzip => ".gz",
        Codec::Lz4 => ".lz4",
        Codec::Zstd => ".zst",
    }
}

/// Parses a positive number in its canonical form.
pub(crate) fn parse_number<N: std::str::FromStr + ToString + Default + PartialOrd>(digits: &str) -> Option<N> {
    digits.parse().ok().filter(|number: &N| *number > N::default() && number.to_string() == digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_file_names() {
        for (name, expected) in [
            ("toc.dat", Some(FileName::Toc)),
            ("blobs.toc", Some(FileName::LargeObjectList(None))),
            ("blobs_12.toc", Some(FileName::LargeObjectList(Some(12)))),
            ("blob_4294967295.dat.lz4", Some(FileName::LargeObject(u32::MAX, Codec::Lz4))),
            ("12.dat", Some(FileName::Table(12, Codec::Plain))),
            ("12.dat.gz", Some(FileName::Table(12, Codec::Gzip))),
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
            assert_eq!(FileName::parse(name.as_bytes()), expected, "{name}");
        }
    }
}
