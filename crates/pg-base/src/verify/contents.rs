//! The contents of an archive, one member after another.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::archive::Archive;
use super::checksum::Hasher;
use super::files::{Files, SortedFiles, State};
use super::pages::{PageTap, Pages};
use super::wal::{SegmentTap, Segments};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::label::BackupLabel;
use crate::manifest::Sha2;
use crate::tablespace_map::TablespaceMap;
use crate::tar_header::Member;

/// The files that are kept, with the most bytes of each.
const KEPT: [(&str, u64); 4] =
    [("backup_label", 64 << 10), ("tablespace_map", 16 << 20), ("PG_VERSION", 64), ("global/pg_control", 8192)];

/// A reader of an archive's members.
pub(super) struct Contents {
    files: Files,
    hasher: Hasher,
    seen: Seen,
}

/// The facts of the members, to be compared with each other and with the manifest.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) label: Option<BackupLabel>,
    pub(super) tablespace_map: Option<TablespaceMap>,
    /// The content of `PG_VERSION`.
    pub(super) version: Option<Vec<u8>>,
    pub(super) control: Option<Control>,
    pub(super) pages: Pages,
    pub(super) segments: Segments,
    /// The sizes of the files of each tablespace, by its OID.
    pub(super) tablespaces: BTreeMap<u32, u64>,
    pub(super) files: u64,
    pub(super) file_bytes: u64,
    /// The path of the first incremental file.
    pub(super) incremental_file: Option<String>,
}

impl Contents {
    pub(super) fn new(sha2: Option<Sha2>) -> Self {
        Self { files: Files::new(sha2), hasher: Hasher::new(sha2), seen: Seen::default() }
    }

    /// Reads a file.
    pub(super) fn read_file<R: BufRead>(&mut self, archive: &mut Archive<R>, member: &Member) -> Result<()> {
        let mut kept = self.seen.kept(member)?;
        let mut page_tap = PageTap::for_file(&member.path, member.size_bytes);
        let mut segment_tap = SegmentTap::for_path(&member.path);
        let Self { files, hasher, seen } = self;
        let mut data = archive.data(member);
        data.for_each(&mut |bytes| {
            hasher.update(bytes);
            if let Some(tap) = &mut page_tap {
                tap.push(member, bytes, &mut seen.pages)?;
            }
            if let Some(tap) = &mut segment_tap {
                tap.push(bytes);
            }
            if let Some(kept) = &mut kept {
                kept.extend_from_slice(bytes);
            }
            Ok(())
        })?;
        data.finish()?;
        files.push(&member.path, State::of_file(&member.path), member.size_bytes, &hasher.finish())?;
        seen.count(member)?;
        if let Some(tap) = page_tap {
            seen.incremental_file = seen.incremental_file.take().or(tap.finish(member)?);
        }
        segment_tap.into_iter().for_each(|tap| seen.segments.push(tap));
        kept.map_or(Ok(()), |kept| seen.keep(&member.path, kept))
    }

    /// Adds a directory.
    pub(super) fn add_directory(&mut self, member: &Member) -> Result<()> {
        if let Some(oid) = tablespace(&member.path) {
            self.seen.tablespaces.entry(oid).or_default();
        }
        self.files.push_directory(&member.path)
    }

    /// Returns the files for comparison, and all else.
    pub(super) fn into_parts(self) -> Result<(SortedFiles, Seen)> {
        Ok((self.files.sorted()?, self.seen))
    }
}

impl Seen {
    /// Returns a buffer for the content of a file that is kept.
    fn kept(&self, member: &Member) -> Result<Option<Vec<u8>>> {
        let Some((_, most_bytes)) = KEPT.iter().find(|(path, _)| path.as_bytes() == member.path) else {
            return Ok(None);
        };
        if member.size_bytes > *most_bytes {
            let message = format!("{} bytes, more than {most_bytes}", member.size_bytes);
            return Err(Error::damaged(member.name(), 0, message));
        }
        Ok(Some(Vec::new()))
    }

    fn keep(&mut self, path: &[u8], content: Vec<u8>) -> Result<()> {
        match path {
            b"backup_label" => {
                let label = BackupLabel::parse(&content)?;
                self.pages.set_start(label.start_lsn);
                self.label = Some(label);
            }
            b"tablespace_map" => self.tablespace_map = Some(TablespaceMap::parse(&content)?),
            b"PG_VERSION" => self.version = Some(content),
            _ => self.control = Some(Control::parse(&content)?),
        }
        Ok(())
    }

    fn count(&mut self, member: &Member) -> Result<()> {
        let too_many = || Error::damaged(member.name(), 0, "files of more than 2^64 bytes");
        self.files += 1;
        self.file_bytes = self.file_bytes.checked_add(member.size_bytes).ok_or_else(too_many)?;
        if let Some(oid) = tablespace(&member.path) {
            let bytes = self.tablespaces.entry(oid).or_default();
            *bytes = bytes.checked_add(member.size_bytes).ok_or_else(too_many)?;
        }
        Ok(())
    }
}

/// Returns the OID in a path of `pg_tblspc`.
fn tablespace(path: &[u8]) -> Option<u32> {
    let oid = path.strip_prefix(b"pg_tblspc/")?.split(|byte| *byte == b'/').next()?;
    let digits = std::str::from_utf8(oid).ok().filter(|oid| oid.bytes().all(|digit| digit.is_ascii_digit()))?;
    digits.parse().ok()
}
