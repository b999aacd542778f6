//! The one archive of a base backup, written from the files of a data directory.
//!
//! The archive has the form that [`crate::merge`] gives to the archives of a server, with a
//! manifest that is computed here. A [`Writer`] returns headers and padding only; the caller puts
//! the data of files between them.
//!
//! | module | contents |
//! |---|---|
//! | `manifest` | the text of `backup_manifest` |

mod manifest;

use bytes::Bytes;
use crc_fast::CrcAlgorithm;

use crate::error::{Error, Result};
use crate::manifest::{NAME as MANIFEST, WalRange, path};
use crate::tar_header::{self, BLOCK_BYTES, Kind};

use self::manifest::{Document, Listed};

pub use self::manifest::Origin;
pub use crate::tar_header::Attributes;

/// The permissions of files and directories that a backup adds.
const FILE_MODE: u32 = 0o600;

/// The CRC-32C of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crc32c {
    crc: u64,
    bytes: u64,
}

impl Crc32c {
    /// The CRC of no bytes.
    const EMPTY: Self = Self { crc: 0, bytes: 0 };

    /// Returns the CRC of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { crc: crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes), bytes: bytes.len() as u64 }
    }

    /// Returns the CRC of these bytes and of those of `next` after them.
    fn then(self, next: Self) -> Self {
        let crc = match self.bytes {
            0 => next.crc,
            _ => crc_fast::checksum_combine(CrcAlgorithm::Crc32Iscsi, self.crc, next.crc, next.bytes),
        };
        Self { crc, bytes: self.bytes.saturating_add(next.bytes) }
    }

    fn value(self) -> u32 {
        u32::try_from(self.crc).expect("a CRC of 32 bits")
    }
}

/// The presence of a file in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// The manifest lists the file.
    Listed,
    /// The manifest does not list the file, as those of `pg_wal`.
    Unlisted,
}

/// An archive in progress.
#[derive(Debug, Default)]
pub struct Writer {
    listed: Vec<Listed>,
    file: Option<OpenFile>,
    /// The attributes of the last member, which added members have, too.
    last: Attributes,
}

/// A file whose data is incomplete.
#[derive(Debug)]
struct OpenFile {
    path: Box<[u8]>,
    size_bytes: u64,
    modified: i64,
    listing: Listing,
    crc: Crc32c,
}

impl Writer {
    /// Returns an archive without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory. Returns its header.
    pub fn directory(&mut self, path: &[u8], attributes: Attributes) -> Result<Bytes> {
        self.last = attributes;
        header(path, Kind::Directory, 0, attributes)
    }

    /// Begins a file. Returns its header.
    pub fn begin_file(
        &mut self,
        path: impl Into<Box<[u8]>>,
        size_bytes: u64,
        attributes: Attributes,
        listing: Listing,
    ) -> Result<Bytes> {
        let path = path.into();
        let header = header(&path, Kind::File, size_bytes, attributes)?;
        self.last = attributes;
        self.file = Some(OpenFile { path, size_bytes, modified: attributes.modified, listing, crc: Crc32c::EMPTY });
        Ok(header)
    }

    /// Adds data of the file, which the caller writes itself.
    pub fn add_data(&mut self, data: Crc32c) {
        if let Some(file) = &mut self.file {
            file.crc = file.crc.then(data);
        }
    }

    /// Ends the file. Returns the padding after its data. Fails if the file has another size than
    /// its header.
    pub fn end_file(&mut self) -> Result<Bytes> {
        let Some(file) = self.file.take() else {
            return Err(Error::damaged("base backup", 0, "the end of a file that did not begin"));
        };
        if file.crc.bytes != file.size_bytes {
            let (found, expected) = (file.crc.bytes, file.size_bytes);
            let message = format!("{found} bytes, but {expected} in its header");
            return Err(Error::damaged(String::from_utf8_lossy(&file.path), 0, message));
        }
        if file.listing == Listing::Listed {
            let crc32c = file.crc.value();
            self.listed.push(Listed { path: file.path, size_bytes: file.size_bytes, modified: file.modified, crc32c });
        }
        Ok(padding(file.size_bytes))
    }

    /// Adds a whole file. Returns header, data and padding.
    pub fn whole_file(&mut self, path: &str, content: &[u8], listing: Listing) -> Result<Bytes> {
        let attributes = Attributes { mode: FILE_MODE, ..self.last };
        let header = self.begin_file(path.as_bytes(), content.len() as u64, attributes, listing)?;
        self.add_data(Crc32c::of(content));
        Ok([&header[..], content, &self.end_file()?].concat().into())
    }

    /// Ends the archive. Returns the manifest and the end, which the caller writes.
    pub fn finish(self, origin: Origin, ranges: &[WalRange]) -> Result<Trailer> {
        let document = Document::new(self.listed, origin, ranges);
        let bytes = document.bytes();
        let header = header(MANIFEST.as_bytes(), Kind::File, bytes, Attributes { mode: FILE_MODE, ..self.last })?;
        let end = [&padding(bytes)[..], &[0; 2 * BLOCK_BYTES]].concat();
        Ok(Trailer { header: Some(header), document, end: Some(end.into()) })
    }
}

/// The manifest and the end of an archive, in pieces.
#[derive(Debug)]
pub struct Trailer {
    header: Option<Bytes>,
    document: Document,
    end: Option<Bytes>,
}

impl Iterator for Trailer {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.header.take().or_else(|| self.document.next_piece()).or_else(|| self.end.take())
    }
}

/// Returns the header of a member.
fn header(member: &[u8], kind: Kind, size_bytes: u64, attributes: Attributes) -> Result<Bytes> {
    let name = || String::from_utf8_lossy(member);
    if let Some(fault) = path::fault(member) {
        return Err(Error::unsupported(name(), 0, fault));
    }
    let header = tar_header::encode(member, kind, size_bytes, attributes);
    header.map(|block| Bytes::copy_from_slice(&block)).ok_or_else(|| {
        Error::unsupported(name(), 0, "the path is too long for an archive: rename the file, or remove it")
    })
}

/// Returns the zeros after data of `bytes` bytes.
fn padding(bytes: u64) -> Bytes {
    Bytes::from_static(&[0; BLOCK_BYTES]).slice(..(bytes.wrapping_neg() % BLOCK_BYTES as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_pg_wal::Lsn;

    const ATTRIBUTES: Attributes = Attributes { mode: 0o600, uid: 105, gid: 113, modified: 1_700_000_000 };

    /// Writes a file of 600 bytes in two parts, and one of WAL. Returns the archive.
    fn archive(system_identifier: Option<u64>) -> Vec<u8> {
        let mut writer = Writer::new();
        let mut all = writer.directory(b"base", ATTRIBUTES).unwrap().to_vec();
        all.extend(writer.begin_file(&b"base/1"[..], 600, ATTRIBUTES, Listing::Listed).unwrap());
        for part in [[7; 512].as_slice(), &[8; 88]] {
            writer.add_data(Crc32c::of(part));
            all.extend(part);
        }
        all.extend(writer.end_file().unwrap());
        all.extend(writer.whole_file("pg_wal/x", b"wal", Listing::Unlisted).unwrap());
        all.extend(writer.whole_file("caf\u{e9}", b"", Listing::Listed).unwrap());
        let range = WalRange { timeline: 2, start: Lsn(0x100_0028), end: Lsn(0x100_0100) };
        writer.finish(Origin { system_identifier }, &[range]).unwrap().for_each(|piece| all.extend(piece));
        all
    }

    #[test]
    fn manifest_can_be_read_and_lists_files() {
        for system_identifier in [None, Some(42)] {
            let all = archive(system_identifier);
            let at = all.windows(16).position(|window| window == b"backup_manifest\0").unwrap();
            let header: &[u8; BLOCK_BYTES] = all[at..].first_chunk().unwrap();
            let member = tar_header::Member::parse(header).unwrap();
            let text = &all[at + BLOCK_BYTES..][..member.size_bytes as usize];
            let mut files = Vec::new();
            let manifest = crate::manifest::read(text, &mut |entry| {
                files.push((String::from_utf8(entry.path.to_vec()).unwrap(), entry.size_bytes, entry.checksum));
                Ok(())
            });
            let manifest = manifest.unwrap();
            assert_eq!(
                (manifest.version, manifest.system_identifier),
                (1 + u32::from(system_identifier.is_some()), system_identifier)
            );
            assert_eq!(manifest.stop(), Some((2, Lsn(0x100_0100))));
            let content = [[7; 512].as_slice(), &[8; 88]].concat();
            let crc32c = |content: &[u8]| crate::manifest::Checksum::Crc32c(Crc32c::of(content).value());
            assert_eq!(files, [("base/1".to_owned(), 600, crc32c(&content)), ("caf\u{e9}".to_owned(), 0, crc32c(b""))]);
            assert_eq!(all.len() % BLOCK_BYTES, 0);
            assert!(all[all.len() - 2 * BLOCK_BYTES..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn file_of_another_size_is_an_error() {
        let mut writer = Writer::new();
        writer.begin_file(&b"base/1"[..], 10, ATTRIBUTES, Listing::Listed).unwrap();
        writer.add_data(Crc32c::of(b"short"));
        assert!(writer.end_file().unwrap_err().message.contains("5 bytes, but 10"));
    }

    #[test]
    fn crc_of_parts_is_that_of_the_whole() {
        let bytes: Vec<u8> = (0..70_000_u32).map(|number| (number % 251) as u8).collect();
        let parts = bytes.chunks(4096).map(Crc32c::of).fold(Crc32c::EMPTY, Crc32c::then);
        assert_eq!(parts, Crc32c::of(&bytes));
        assert_eq!(Crc32c::EMPTY, Crc32c::of(b""));
    }

    #[test]
    fn paths_that_do_not_fit_are_named() {
        let mut writer = Writer::new();
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(99));
        let block: [u8; BLOCK_BYTES] = writer.directory(long.as_bytes(), ATTRIBUTES).unwrap()[..].try_into().unwrap();
        assert_eq!(tar_header::Member::parse(&block).unwrap().path, long.as_bytes());
        let error = writer.directory("f".repeat(101).as_bytes(), ATTRIBUTES).unwrap_err();
        assert!(error.place.starts_with("fff") && error.message.contains("too long"), "{error}");
        assert!(writer.directory(b"../x", ATTRIBUTES).is_err());
    }
}
