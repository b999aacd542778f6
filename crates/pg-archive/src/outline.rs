//! The head of an archive: the entries of its TOC, and the place of their SQL.
//!
//! An entry without data can be restored from the head alone, since `pg_restore` reads no further
//! for it. [`head`] extracts the head of the custom format, of the `toc.dat` of a directory, and of
//! a tar.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;

use crate::error::{Error, Result};
use crate::facts::{Contents, Origin};
use crate::header::{Header, WITH_SECTION};
use crate::input::Input;
use crate::sql::roles;
use crate::toc::{Entry, Toc, names_roles};

/// The size of a tar block in bytes.
const TAR_BLOCK_BYTES: usize = 512;
/// The name of a tar's first file, which contains the TOC.
const TAR_TOC: &[u8] = b"toc.dat\0";

/// The table of contents of an archive, with its bytes.
#[derive(Debug, Clone)]
pub struct Outline {
    /// The entries, in the archive's order.
    pub items: Vec<Item>,
    /// The encoding of the SQL, such as `UTF8`.
    pub encoding: String,
    /// An archive that consists of its head alone, which `pg_restore` accepts.
    pub head: Vec<u8>,
}

/// An entry of the table of contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Item {
    /// The entry's id.
    pub id: i32,
    /// The entry's kind, such as `TABLE DATA` or `EVENT TRIGGER`.
    pub kind: String,
    /// The schema of the entry, if any.
    pub schema: Option<String>,
    /// The name of the entry. For a comment or privilege, the name of its object, such as
    /// `TABLE orders`.
    pub name: String,
    /// The role that owns the entry. Empty if none does.
    pub owner: String,
    /// The tablespace of the entry. Empty for the database's own.
    pub tablespace: String,
    /// The roles in the SQL of the entry, except the owner.
    pub roles: Vec<String>,
    /// The section of the entry.
    pub section: Section,
    /// The line of the entry in `pg_restore --list`.
    pub line: String,
    definition: Range<usize>,
}

/// The section of a restore that an entry belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Before the data.
    #[default]
    PreData,
    /// The data.
    Data,
    /// After the data.
    PostData,
}

impl Item {
    /// Returns the place of the entry's SQL in the head.
    pub fn definition(&self) -> Range<usize> {
        self.definition.clone()
    }
}

impl Outline {
    /// Returns the SQL of an entry, in the archive's encoding.
    pub fn definition(&self, item: &Item) -> &[u8] {
        self.head.get(item.definition.clone()).unwrap_or_default()
    }
}

/// Reads the table of contents from the first bytes of an archive. Returns `None` if the bytes end
/// before the table of contents.
pub fn head(bytes: &[u8]) -> Result<Option<Outline>> {
    let toc_offset = if bytes.starts_with(TAR_TOC) { TAR_BLOCK_BYTES } else { 0 };
    let source = Prefix { bytes: bytes.get(toc_offset..).unwrap_or_default() };
    match read(BufReader::new(source)) {
        Ok(read) => Ok(read.into_outline(bytes, toc_offset)),
        Err(error) if error.io().is_some_and(|error| error.kind() == io::ErrorKind::WouldBlock) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the contents from the first bytes of an archive of any version. Returns `None` if the
/// bytes end before the table of contents.
pub fn contents(bytes: &[u8]) -> Result<Option<Contents>> {
    let toc_offset = if bytes.starts_with(TAR_TOC) { TAR_BLOCK_BYTES } else { 0 };
    let mut input = Input::new(BufReader::new(Prefix { bytes: bytes.get(toc_offset..).unwrap_or_default() }));
    match Header::read(&mut input).and_then(|header| Toc::read(&mut input, &header)) {
        Ok(toc) => {
            let (lines, definitions) = (toc.lines(), toc.definitions());
            Ok(Some(Contents { toc: lines, definitions, sequences: toc.references.sequences }))
        }
        Err(error) if error.io().is_some_and(|error| error.kind() == io::ErrorKind::WouldBlock) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the origin from the header of an archive, from the first bytes of the archive. Returns
/// `None` if the bytes end before the header.
///
/// # Errors
///
/// Fails if the bytes are not the beginning of an archive, or if the archive's version is not
/// supported.
pub fn origin(bytes: &[u8]) -> Result<Option<Origin>> {
    let toc_offset = if bytes.starts_with(TAR_TOC) { TAR_BLOCK_BYTES } else { 0 };
    let source = Prefix { bytes: bytes.get(toc_offset..).unwrap_or_default() };
    match Header::read(&mut Input::new(BufReader::new(source))) {
        Ok(header) => Ok(Some(header.origin)),
        Err(error) if error.io().is_some_and(|error| error.kind() == io::ErrorKind::WouldBlock) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A table of contents without its bytes.
struct ParsedToc {
    toc: Toc,
    bytes: usize,
}

fn read(inner: impl BufRead) -> Result<ParsedToc> {
    let mut input = Input::new(inner);
    let header = Header::read(&mut input)?;
    if header.version < WITH_SECTION {
        let message = "its entries have no section: PostgreSQL before 8.4 wrote the archive";
        return Err(Error::unsupported(5, "header", message));
    }
    let toc = Toc::read(&mut input, &header)?;
    Ok(ParsedToc { bytes: usize::try_from(input.offset()).unwrap_or(usize::MAX), toc })
}

impl ParsedToc {
    /// Returns the outline if `bytes` contains the whole head. The archive begins at offset
    /// `toc_offset`.
    fn into_outline(self, bytes: &[u8], toc_offset: usize) -> Option<Outline> {
        let toc_end = toc_offset + self.bytes;
        let mut head = bytes.get(..toc_end)?.to_vec();
        if toc_offset > 0 {
            // The rest of the block and two empty blocks end a tar.
            head.resize(toc_end.next_multiple_of(TAR_BLOCK_BYTES) + 2 * TAR_BLOCK_BYTES, 0);
        }
        let mut section = Section::PreData;
        let mut items = Vec::with_capacity(self.toc.entries.len());
        let mut encoding = String::new();
        for entry in &self.toc.entries {
            section = section_of(entry).unwrap_or(section);
            let buffer_offset = |at: u64| toc_offset + usize::try_from(at).unwrap_or(usize::MAX);
            let definition = buffer_offset(entry.definition.start)..buffer_offset(entry.definition.end);
            let sql = head.get(definition.clone()).unwrap_or_default();
            if entry.description == "ENCODING" {
                encoding = String::from_utf8_lossy(sql).split('\'').nth(1).unwrap_or_default().to_owned();
            }
            let roles = match names_roles(&entry.description) {
                true => roles(sql, self.toc.references.strings()),
                false => Vec::new(),
            };
            items.push(Item {
                id: entry.id,
                kind: entry.description.clone(),
                schema: entry.schema().map(str::to_owned),
                name: entry.name.clone(),
                owner: entry.owner.clone(),
                tablespace: entry.tablespace.clone(),
                roles: roles.into_iter().map(|role| String::from_utf8_lossy(&role.name).into_owned()).collect(),
                section,
                line: entry.list_line(),
                definition,
            });
        }
        Some(Outline { items, encoding, head })
    }
}

/// Returns the section of an entry, or `None` for entries that inherit the previous section, such
/// as comments and privileges.
fn section_of(entry: &Entry) -> Option<Section> {
    match entry.section {
        2 => Some(Section::PreData),
        3 => Some(Section::Data),
        4 => Some(Section::PostData),
        _ => None,
    }
}

/// A reader of bytes whose end is not the end of the archive.
struct Prefix<'a> {
    bytes: &'a [u8],
}

impl Read for Prefix<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.bytes.read(buffer)? {
            0 if !buffer.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            length => Ok(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(number: i32) -> Vec<u8> {
        [&[0][..], &number.to_le_bytes()].concat()
    }

    fn text(text: &str) -> Vec<u8> {
        [int(text.len() as i32), text.as_bytes().to_vec()].concat()
    }

    const NULL: [u8; 5] = [1, 1, 0, 0, 0];

    fn entry(id: i32, kind: &str, name: &str, section: i32, sql: &str) -> Vec<u8> {
        let no_data = [&[3][..], &[0; 8]].concat();
        let head = [int(id), int(0), text("0"), text("0"), text(name), text(kind), int(section), text(sql)].concat();
        let fields = [text(""), NULL.to_vec(), text("public"), NULL.to_vec(), NULL.to_vec()].concat();
        [head, fields, text("app"), text("false"), NULL.to_vec(), no_data].concat()
    }

    /// Returns an archive of the custom format, version 1.14, with bytes after its TOC.
    fn archive() -> Vec<u8> {
        let header = [&b"PGDMP"[..], &[1, 14, 0, 4, 8, 1]].concat();
        let created = [0, 0, 0, 1, 0, 125, 0].map(int).concat();
        let origin = [text("d"), text("15.1"), text("15.1")].concat();
        let entries = [
            entry(1, "ENCODING", "ENCODING", 2, "SET client_encoding = 'LATIN1';\n"),
            entry(7, "VIEW", "v", 2, "CREATE VIEW public.v AS SELECT 1;\n"),
            entry(9, "ACL", "TABLE v", 1, "GRANT SELECT ON TABLE public.v TO bob;\n"),
            entry(8, "INDEX", "i", 4, "CREATE INDEX i ON public.t (a);\n"),
        ];
        [header, int(0), created, origin, int(4), entries.concat(), b"data".to_vec()].concat()
    }

    #[test]
    fn reads_head_once_complete() {
        let bytes = archive();
        for length in 0..bytes.len() - 4 {
            assert!(head(&bytes[..length]).unwrap().is_none(), "{length}");
            assert!(contents(&bytes[..length]).unwrap().is_none(), "{length}");
        }
        let outline = head(&bytes).unwrap().unwrap();
        assert_eq!((outline.encoding.as_str(), &outline.head[..]), ("LATIN1", &bytes[..bytes.len() - 4]));
        let acl = &outline.items[2];
        assert_eq!(outline.definition(acl), b"GRANT SELECT ON TABLE public.v TO bob;\n");
        assert_eq!((acl.roles.as_slice(), acl.section), (&["bob".to_owned()][..], Section::PreData));
        assert_eq!(acl.line, "9; 0 0 ACL public TABLE v app");
        assert_eq!(outline.items[3].section, Section::PostData);
        let contents = contents(&bytes).unwrap().unwrap();
        assert_eq!(contents.toc, outline.items[1..].iter().map(|item| item.line.clone()).collect::<Vec<_>>());
        assert_eq!(contents.definitions.listed.len(), contents.toc.len());
        assert_eq!(contents.definitions.others[0].entry, "ENCODING public ENCODING app");
    }

    #[test]
    fn digest_changes_only_for_changed_definition() {
        let digests = |bytes: &[u8]| contents(bytes).unwrap().unwrap().definitions.listed;
        let whole = archive();
        for (word, by, changes) in [("AS SELECT 1", "AS SELECT 2", 0), ("TO bob", "TO tom", 1), ("t (a)", "t (b)", 2)] {
            let at = whole.windows(word.len()).position(|bytes| bytes == word.as_bytes()).unwrap();
            let mut changed = whole.clone();
            changed[at..at + by.len()].copy_from_slice(by.as_bytes());
            let (before, after) = (digests(&whole), digests(&changed));
            let differ: Vec<_> = (0..3).filter(|entry| before[*entry] != after[*entry]).collect();
            assert_eq!(differ, [changes], "{word}");
        }
    }

    #[test]
    fn head_of_tar_is_a_tar() {
        let toc = archive();
        let toc = &toc[..toc.len() - 4];
        let mut block = [0; TAR_BLOCK_BYTES];
        block[..TAR_TOC.len()].copy_from_slice(TAR_TOC);
        let padding = vec![0; toc.len().next_multiple_of(TAR_BLOCK_BYTES) - toc.len()];
        let whole = [&block[..], toc, &padding, b"the next file"].concat();
        let outline = head(&whole).unwrap().unwrap();
        assert_eq!(outline.definition(&outline.items[1]), b"CREATE VIEW public.v AS SELECT 1;\n");
        assert!(outline.head.starts_with(&whole[..whole.len() - 13]) && outline.head.ends_with(&[0; 1024]));
    }

    #[test]
    fn reads_origin_before_toc_is_complete() {
        let bytes = archive();
        let known = (0..bytes.len()).find(|length| matches!(origin(&bytes[..*length]), Ok(Some(_)))).unwrap();
        let found = origin(&bytes[..known]).unwrap().unwrap();
        assert_eq!(found.database.as_deref(), Some("d"));
        assert_eq!(found.created.as_deref(), Some("2025-01-01 00:00:00"));
        assert!(origin(&bytes[..known - 1]).unwrap().is_none());
        assert!(origin(b"CREATE TABLE t ();").is_err());
    }

    #[test]
    fn rejects_script() {
        assert!(head(b"CREATE TABLE t ();").is_err());
    }
}
