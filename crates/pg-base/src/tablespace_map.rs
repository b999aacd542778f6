//! `tablespace_map`: the places of tablespaces, which a server links when it first starts.
//!
//! Each line is `<oid> <path>`; backslashes, line feeds and carriage returns in a path have a
//! backslash before them (`do_pg_backup_start` in `src/backend/access/transam/xlog.c`, and
//! `read_tablespace_map` in `xlogrecovery.c`).

use std::fmt;

use crate::error::{Error, Result};

/// The name of the file in the data directory.
pub const NAME: &str = "tablespace_map";

/// The most bytes of a line without its escapes: the server cuts off the rest (`MAXPGPATH`).
const MOST_LINE_BYTES: usize = 1023;

/// The places of a cluster's tablespaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TablespaceMap(Vec<TablespacePlace>);

/// The place of a tablespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablespacePlace {
    /// The OID, which names the link in `pg_tblspc`.
    pub oid: u32,
    /// The path of the directory on the server's host, in the bytes of its file system.
    pub path: Vec<u8>,
}

/// A new place that a map cannot contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPlace {
    oid: u32,
    path: String,
    fault: &'static str,
}

impl TablespaceMap {
    /// Returns the map of these places, each of another tablespace.
    pub fn new(places: Vec<TablespacePlace>) -> Self {
        Self(places)
    }

    /// Parses the content of the file, which is empty for a cluster without tablespaces. Refuses
    /// all that servers do not write.
    pub fn parse(content: &[u8]) -> Result<Self> {
        let mut places: Vec<TablespacePlace> = Vec::new();
        let mut rest = content;
        while !rest.is_empty() {
            let offset = (content.len() - rest.len()) as u64;
            let damaged = |message: String| Error::damaged(NAME, offset, message);
            let (line, after) = split_line(rest).map_err(|fault| damaged(fault.to_owned()))?;
            let place = TablespacePlace::parse(&line).ok_or_else(|| {
                damaged(format!("line `{}`: not an OID, a blank and a path", String::from_utf8_lossy(&line)))
            })?;
            if places.iter().any(|other| other.oid == place.oid) {
                return Err(damaged(format!("tablespace {}: a second line", place.oid)));
            }
            places.push(place);
            rest = after;
        }
        Ok(Self(places))
    }

    /// Returns the places in the order of the file.
    pub fn places(&self) -> &[TablespacePlace] {
        &self.0
    }

    /// Returns the OIDs in the order of the file.
    pub fn oids(&self) -> Vec<u32> {
        self.0.iter().map(|place| place.oid).collect()
    }

    /// Replaces the place of a tablespace.
    ///
    /// # Errors
    /// Fails if the map lacks the tablespace, or the server could not read the path back.
    pub fn set_path(&mut self, oid: u32, path: impl Into<Vec<u8>>) -> Result<(), InvalidPlace> {
        let path = path.into();
        let invalid = |fault| InvalidPlace { oid, path: String::from_utf8_lossy(&path).into_owned(), fault };
        let Some(place) = self.0.iter_mut().find(|place| place.oid == oid) else {
            return Err(invalid("the backup has no such tablespace"));
        };
        if !path.starts_with(b"/") {
            return Err(invalid("the path is not absolute"));
        }
        if path.contains(&0) {
            return Err(invalid("the path contains a zero byte"));
        }
        if oid.to_string().len() + 1 + path.len() > MOST_LINE_BYTES {
            return Err(invalid("the path is longer than PostgreSQL reads"));
        }
        place.path = path;
        Ok(())
    }

    /// Returns the content of the file, byte for byte as a server would write it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut content = Vec::new();
        for place in &self.0 {
            content.extend_from_slice(format!("{} ", place.oid).as_bytes());
            for byte in &place.path {
                if is_escaped(*byte) {
                    content.push(b'\\');
                }
                content.push(*byte);
            }
            content.push(b'\n');
        }
        content
    }
}

impl TablespacePlace {
    fn parse(line: &[u8]) -> Option<Self> {
        let at = line.iter().position(|byte| *byte == b' ')?;
        let (oid, path) = (line.get(..at)?, line.get(at + 1..)?);
        let digits = oid.iter().all(u8::is_ascii_digit) && !oid.starts_with(b"0");
        let oid = std::str::from_utf8(oid).ok().filter(|_| digits)?.parse().ok()?;
        (!path.is_empty() && !path.contains(&0)).then(|| Self { oid, path: path.to_vec() })
    }
}

fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | b'\\')
}

/// Returns the first line without its escapes, and the bytes after its line feed.
fn split_line(content: &[u8]) -> Result<(Vec<u8>, &[u8]), &'static str> {
    let mut line = Vec::new();
    let mut bytes = content.iter();
    loop {
        match bytes.next().ok_or("the last line has no line feed")? {
            b'\n' => return Ok((line, bytes.as_slice())),
            b'\r' => return Err("a carriage return without an escape"),
            b'\\' => match bytes.next() {
                Some(byte) if is_escaped(*byte) => line.push(*byte),
                _ => return Err("a backslash before nothing to escape"),
            },
            byte => line.push(*byte),
        }
    }
}

impl fmt::Display for InvalidPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tablespace {} at `{}`: {}", self.oid, self.path, self.fault)
    }
}

impl std::error::Error for InvalidPlace {}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: &[u8] = b"16398 /srv/a\n16399  /with blank\n4294967295 /new\\\nline\\\r\\\\and \xFF\n";

    #[test]
    fn map_writes_back_the_same_bytes() {
        let map = TablespaceMap::parse(CONTENT).unwrap();
        let places: Vec<_> = map.places().iter().map(|place| (place.oid, place.path.as_slice())).collect();
        let last: &[u8] = b"/new\nline\r\\and \xFF";
        assert_eq!(places, [(16398, &b"/srv/a"[..]), (16399, b" /with blank"), (u32::MAX, last)]);
        assert_eq!(map.to_bytes(), CONTENT);
        assert_eq!(TablespaceMap::parse(b"").unwrap(), TablespaceMap::default());
    }

    #[test]
    fn map_writes_new_places() {
        let mut map = TablespaceMap::parse(CONTENT).unwrap();
        map.set_path(16398, "/new\n\\place").unwrap();
        assert!(map.to_bytes().starts_with(b"16398 /new\\\n\\\\place\n16399  /with"));
        assert_eq!(TablespaceMap::parse(&map.to_bytes()).unwrap(), map);
    }

    #[test]
    fn map_refuses_unreadable_places() {
        let mut map = TablespaceMap::parse(CONTENT).unwrap();
        let long = format!("/{}", "x".repeat(1017));
        for (oid, path) in [(1, "/srv"), (16398, "srv"), (16398, ""), (16398, "/a\0b"), (16398, &long)] {
            assert!(map.set_path(oid, path).is_err(), "{oid} {path}");
        }
        map.set_path(16398, &long[..long.len() - 1]).unwrap();
    }

    #[test]
    fn parse_refuses_other_lines() {
        for content in [
            &b"16398 /srv"[..],
            b"16398 /srv\r\n",
            b"16398 /srv\\",
            b"16398 /s\\rv\n",
            b"\n",
            b"16398\n",
            b"16398 \n",
            b"x /srv\n",
            b"+5 /srv\n",
            b"05 /srv\n",
            b"4294967296 /srv\n",
            b"5 /a\n5 /b\n",
            b"5 /a\0b\n",
        ] {
            let error = TablespaceMap::parse(content).unwrap_err();
            assert_eq!(error.place, NAME, "{}", String::from_utf8_lossy(content));
        }
    }
}
