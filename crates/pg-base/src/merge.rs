//! The archives of a base backup, merged into one tar that unpacks to a data directory.
//!
//! A server sends a tar for each tablespace, `<oid>.tar`, then `base.tar`, then the manifest. The
//! one tar has the members of `<oid>.tar` at `pg_tblspc/<oid>/…`, those of `base.tar` as they are,
//! then `backup_manifest`, and two blocks of zeros. `pg_verifybackup -n` accepts the unpacked
//! folder.
//!
//! A [`Merge`] takes pieces of any size and returns slices of them; it copies nothing but headers.
//!
//! | module | contents |
//! |---|---|
//! | `archive` | one of the server's archives |
//! | `header` | the headers that the server did not write |

mod archive;
mod header;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::tar_header::BLOCK_BYTES;

use archive::Archive;
use header::{Headers, MANIFEST};

/// A merge in progress.
///
/// The calls follow the server's messages: for each archive [`Merge::begin_archive`],
/// [`Merge::push`], [`Merge::end_archive`]; for the manifest [`Merge::manifest_header`] and
/// [`Merge::push`]; at the end [`Merge::finish`]. The bytes that the calls return are the merged
/// tar, in order. After an error, the tar is useless.
#[derive(Debug, Default)]
pub struct Merge {
    phase: Phase,
    headers: Headers,
}

#[derive(Debug, Default)]
enum Phase {
    /// Archives of tablespaces may follow.
    #[default]
    Tablespaces,
    /// An archive is incomplete.
    Archive(Archive),
    /// All archives are complete.
    Complete,
    /// The manifest is incomplete or has just ended.
    Manifest { bytes: u64, missing_bytes: u64 },
}

/// The place of errors that belong to no archive.
const PLACE: &str = "base backup";

impl Merge {
    /// Returns a merge of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the archive of a tablespace, or the one of the data directory, which must be the
    /// last.
    pub fn begin_archive(&mut self, tablespace: Option<u32>) -> Result<()> {
        match &self.phase {
            Phase::Tablespaces => {}
            Phase::Archive(archive) => return Err(archive.damaged("another archive begins before its end")),
            Phase::Complete | Phase::Manifest { .. } => {
                return Err(Error::damaged(PLACE, 0, "an archive after that of the data directory"));
            }
        }
        if let Some(oid) = tablespace
            && !self.headers.add_tablespace(oid)
        {
            return Err(Error::damaged(PLACE, 0, format!("a second archive of tablespace {oid}")));
        }
        self.phase = Phase::Archive(Archive::new(tablespace));
        Ok(())
    }

    /// Takes bytes of the archive or manifest, and returns the next pieces of the tar: slices of
    /// `piece`, and headers.
    pub fn push(&mut self, piece: Bytes) -> Result<Vec<Bytes>> {
        match &mut self.phase {
            Phase::Archive(archive) => archive.push(&piece, &mut self.headers),
            Phase::Manifest { bytes, missing_bytes } => {
                let Some(missing) = missing_bytes.checked_sub(piece.len() as u64) else {
                    let message = format!("longer than the {bytes} bytes in its header");
                    return Err(Error::damaged(MANIFEST, *bytes, message));
                };
                *missing_bytes = missing;
                Ok(if piece.is_empty() { Vec::new() } else { vec![piece] })
            }
            Phase::Tablespaces | Phase::Complete => Err(Error::damaged(PLACE, 0, "data outside of an archive")),
        }
    }

    /// Ends the archive. Fails if the archive is truncated.
    pub fn end_archive(&mut self) -> Result<()> {
        let Phase::Archive(archive) = &self.phase else {
            return Err(Error::damaged(PLACE, 0, "the end of an archive that did not begin"));
        };
        archive.check_end()?;
        let was_last = archive.is_data_directory();
        self.phase = if was_last { Phase::Complete } else { Phase::Tablespaces };
        Ok(())
    }

    /// Begins the manifest of `bytes` bytes, and returns the manifest's header.
    pub fn manifest_header(&mut self, bytes: u64) -> Result<Bytes> {
        match &self.phase {
            Phase::Complete => {}
            Phase::Manifest { .. } => return Err(Error::damaged(MANIFEST, 0, "a second manifest")),
            Phase::Archive(archive) => return Err(archive.damaged("the manifest begins before its end")),
            Phase::Tablespaces => {
                return Err(Error::damaged(PLACE, 0, "a manifest before the archive of the data directory"));
            }
        }
        let header = self.headers.manifest(bytes);
        self.phase = Phase::Manifest { bytes, missing_bytes: bytes };
        header.ok_or_else(|| Error::damaged(PLACE, 0, "a manifest of archives without members"))
    }

    /// Ends the tar after the manifest's last byte: returns the padding and two blocks of zeros.
    pub fn finish(self) -> Result<Bytes> {
        match self.phase {
            Phase::Manifest { bytes, missing_bytes: 0 } => {
                let padding = (bytes.wrapping_neg() % BLOCK_BYTES as u64) as usize;
                Ok(Bytes::from(vec![0; padding + 2 * BLOCK_BYTES]))
            }
            Phase::Manifest { bytes, missing_bytes } => {
                let message = format!("the manifest ends here, with {bytes} bytes in its header");
                Err(Error::damaged(MANIFEST, bytes - missing_bytes, message))
            }
            Phase::Archive(archive) => Err(archive.damaged("the backup ends before the archive")),
            Phase::Tablespaces | Phase::Complete => Err(Error::damaged(PLACE, 0, "the backup has no manifest")),
        }
    }
}

#[cfg(test)]
mod tests;
