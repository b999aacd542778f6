//! Verifies the one archive of a base backup while it passes, and reports the contents.
//!
//! [`crate::merge`] writes the archive: the members of tablespaces at `pg_tblspc/<oid>/…`, those of
//! the data directory, `backup_manifest`, two blocks of zeros. Each byte is read once. The manifest
//! comes last, so each file leaves its size, its checksums and a hash of its path, and is compared
//! at the end.
//!
//! The verdict is that of `pg_verifybackup` of the backup's release, and stricter: pages, headers
//! of WAL, `pg_control` and `backup_label` are checked too, and files that `pg_verifybackup`
//! ignores (`postgresql.auto.conf`, `standby.signal`, `recovery.signal`, listed files in `pg_wal`)
//! are compared if the manifest lists them.
//!
//! | module | contents |
//! |---|---|
//! | `archive` | the members of the tar |
//! | `contents` | one member after another |
//! | `checksum` | the checksums of a file |
//! | `files` | the files until the manifest comes, and the comparison |
//! | `pages` | the checksums of data pages |
//! | `wal` | the headers of WAL segments |
//! | `cluster` | the agreement of manifest, `backup_label`, `pg_control`, `PG_VERSION` and WAL |

mod archive;
mod checksum;
mod cluster;
mod contents;
mod files;
mod pages;
mod wal;

use std::io::BufRead;

use crate::error::{Error, Result};
use crate::facts::Facts;
use crate::manifest::{self, Manifest, Sha2};
use crate::tar_header::{Kind, Member};

use archive::Archive;
use contents::Contents;
use files::SortedFiles;

/// The choices that must be made before an archive is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// The algorithm of the SHA-2 family to compute beside CRC-32C, for backups that were taken
    /// with `MANIFEST_CHECKSUMS`. The manifest, which names the algorithm, comes too late.
    pub sha2: Option<Sha2>,
}

/// The member that is read next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The path of the member, with replacement characters if it is not UTF-8.
    pub path: String,
    /// The size of the member.
    pub size_bytes: u64,
    /// The number of bytes of the archive before the member.
    pub archive_bytes: u64,
}

/// Reads an archive to its end. Calls `on_progress` before each member.
///
/// # Errors
/// Damage of every kind but wrong checksums of pages, which the facts contain: these are damage of
/// the cluster, and the caller decides whether a backup of such a cluster is better than none.
/// Unsupported: releases before 15 and after 18, pages of another size than 8 KiB, checksums of an
/// algorithm that the options do not name.
///
/// Changes without meaning are not found: the character after a header's checksum (a blank or a
/// zero byte), the case of the digits of the manifest's checksum, and WAL after the end of the
/// range that the manifest names. Neither are changes in records of WAL, which are not checked
/// here, a segment whose end was lost and became zeros, as if it had ended early, and changes that
/// no checksum covers: owners, modes and times of members with a fitting header checksum, and
/// missing directories.
pub fn read<R: BufRead>(inner: R, options: &Options, on_progress: &mut dyn FnMut(&Progress)) -> Result<Facts> {
    let mut archive = Archive::new(inner);
    let mut contents = Contents::new(options.sha2);
    let member = loop {
        let offset = archive.offset();
        let Some(member) = archive.next_member()? else {
            return Err(Error::damaged(manifest::NAME, offset, "missing: the archive has no manifest"));
        };
        on_progress(&Progress { path: member.name(), size_bytes: member.size_bytes, archive_bytes: offset });
        match (member.path.as_slice() == manifest::NAME.as_bytes(), member.kind) {
            (true, Kind::File) => break member,
            (true, Kind::Directory | Kind::Link) => return Err(Error::damaged(manifest::NAME, 0, "a directory")),
            (false, Kind::File) => contents.read_file(&mut archive, &member)?,
            (false, Kind::Directory | Kind::Link) => contents.add_directory(&member)?,
        }
    };
    let (files, seen) = contents.into_parts()?;
    let (manifest, files_without_checksum) = compare(&mut archive, &member, files)?;
    if let Some(later) = archive.next_member()? {
        return Err(Error::damaged(later.name(), 0, "member after backup_manifest, which must be the last"));
    }
    let facts = cluster::facts(seen, manifest)?;
    Ok(Facts { files_without_checksum, archive_bytes: archive.offset(), ..facts })
}

/// Reads the manifest and compares all files with it.
fn compare<R: BufRead>(archive: &mut Archive<R>, member: &Member, mut files: SortedFiles) -> Result<(Manifest, u64)> {
    let mut files_without_checksum = 0;
    let mut data = archive.data(member);
    let manifest = manifest::stream(&mut data, &mut |entry| {
        if entry.checksum == manifest::Checksum::None {
            files_without_checksum += 1;
        }
        files.compare(&entry)
    })?;
    data.finish()?;
    files.finish()?;
    Ok((manifest, files_without_checksum))
}
