//! An archive's header.

use std::io::BufRead;

use crate::error::{Error, Result};
use crate::facts::{Compression, HeaderDetails, Origin};
use crate::input::{Input, Widths};

/// The first bytes of every archive.
pub(crate) const MAGIC: &[u8; 5] = b"PGDMP";

const PLACE: &str = "header";

/// The oldest and newest supported versions: PostgreSQL 8.0 to 18.
const OLDEST: Version = Version { major: 1, minor: 10 };
const NEWEST: Version = Version { major: 1, minor: 16 };

/// The version of the archive format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u8,
    minor: u8,
}

/// Since this version, entries have a section.
pub(crate) const WITH_SECTION: Version = Version { major: 1, minor: 11 };
/// Since this version, every large object has a TOC entry.
pub(crate) const WITH_LARGE_OBJECT_ENTRIES: Version = Version { major: 1, minor: 12 };
/// Since this version, entries have a table access method.
pub(crate) const WITH_ACCESS_METHOD: Version = Version { major: 1, minor: 14 };
/// Since this version, the header contains the compression algorithm instead of its level.
const WITH_ALGORITHM: Version = Version { major: 1, minor: 15 };
/// Since this version, entries have the kind of relation.
pub(crate) const WITH_RELATION_KIND: Version = Version { major: 1, minor: 16 };

/// The layout of the data after the header, by the format byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The data follows the TOC in the same file.
    Custom,
    /// The data is in separate files: a directory, or a tar.
    Files,
}

/// The parsed header.
pub(crate) struct Header {
    pub(crate) version: Version,
    pub(crate) widths: Widths,
    pub(crate) layout: Layout,
    pub(crate) compression: Compression,
    pub(crate) origin: Origin,
}

impl Header {
    /// Reads the header. Fails for unsupported versions.
    pub(crate) fn read<R: BufRead>(input: &mut Input<R>) -> Result<Self> {
        let mut magic = [0; 5];
        input.exact(&mut magic, PLACE, "the word PGDMP")?;
        if &magic != MAGIC {
            return Err(Error::damaged(0, PLACE, "does not begin with the word PGDMP"));
        }
        let mut bytes = [0; 6];
        input.exact(&mut bytes, PLACE, "the version of the format")?;
        let [major, minor, revision, int, offset, layout] = bytes;
        let version = Version { major, minor };
        if !(OLDEST..=NEWEST).contains(&version) {
            let message = format!(
                "format {major}.{minor}, where {}.{} to {}.{} are supported",
                OLDEST.major, OLDEST.minor, NEWEST.major, NEWEST.minor
            );
            return Err(Error::unsupported(5, PLACE, message));
        }
        if !matches!(int, 4 | 8) || !matches!(offset, 4 | 8) {
            let message = format!("numbers of {int} and offsets of {offset} bytes, where 4 or 8 were expected");
            return Err(Error::damaged(8, PLACE, message));
        }
        let layout = match layout {
            1 => Layout::Custom,
            3 => Layout::Files,
            other => {
                let message = format!("contains format {other}, where 1 (custom) or 3 (tar, directory) was expected");
                return Err(Error::damaged(10, PLACE, message));
            }
        };
        let widths = Widths { int, offset };
        let (compression, level) = compression(input, version, widths)?;
        let (created, summer_time) = created(input, widths)?;
        let mut name = |expected| {
            let text = input.text(widths, PLACE, expected)?;
            Ok::<_, Error>(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
        };
        let origin = Origin {
            version: Some(format!("{major}.{minor}-{revision}")),
            created: Some(created),
            database: name("the database's name")?,
            server_version: name("the server's version")?,
            tool_version: name("pg_dump's version")?,
            header: Some(HeaderDetails { integer_bytes: int, offset_bytes: offset, level, summer_time }),
        };
        Ok(Self { version, widths, layout, compression, origin })
    }
}

/// Reads the compression, and its level if the header has one.
fn compression<R: BufRead>(
    input: &mut Input<R>,
    version: Version,
    widths: Widths,
) -> Result<(Compression, Option<i32>)> {
    const EXPECTED: &str = "the compression";
    let at = input.offset();
    let (number, known) = if version < WITH_ALGORITHM {
        // A zlib level; -1 is the default.
        match input.int(widths, PLACE, EXPECTED)? {
            0 => return Ok((Compression::None, Some(0))),
            level @ (-1 | 1..=9) => return Ok((Compression::Gzip, Some(level))),
            level => (level, "-1 to 9"),
        }
    } else {
        match input.byte(PLACE, EXPECTED)? {
            0 => return Ok((Compression::None, None)),
            1 => return Ok((Compression::Gzip, None)),
            2 => return Ok((Compression::Lz4, None)),
            3 => return Ok((Compression::Zstd, None)),
            algorithm => (i32::from(algorithm), "0 to 3"),
        }
    };
    Err(Error::damaged(at, PLACE, format!("{EXPECTED} is {number}, where {known} was expected")))
}

/// Reads the local time when the dump began, and whether daylight saving time was in effect, if
/// recorded.
fn created<R: BufRead>(input: &mut Input<R>, widths: Widths) -> Result<(String, Option<bool>)> {
    const EXPECTED: &str = "the time of the dump";
    let at = input.offset();
    let mut fields = [0; 7];
    for field in &mut fields {
        *field = input.int(widths, PLACE, EXPECTED)?;
    }
    let [second, minute, hour, day, month, year, summer] = fields;
    let plausible = (0..=60).contains(&second)
        && (0..60).contains(&minute)
        && (0..24).contains(&hour)
        && (1..=31).contains(&day)
        && (0..12).contains(&month)
        && (0..8100).contains(&year)
        && (-1..=1).contains(&summer);
    if !plausible {
        return Err(Error::damaged(at, PLACE, format!("{EXPECTED} is not a valid time: {fields:?}")));
    }
    let created = format!("{:04}-{:02}-{day:02} {hour:02}:{minute:02}:{second:02}", year + 1900, month + 1);
    Ok((created, (summer >= 0).then_some(summer > 0)))
}
