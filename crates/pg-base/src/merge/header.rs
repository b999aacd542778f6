//! The headers that the server did not write, or not so.

use std::collections::BTreeSet;

use bytes::Bytes;
use tar::EntryType;

use crate::tar_header::{Block, NAME_BYTES, PREFIX_BYTES, write_name};

/// The name of the manifest.
pub(super) const MANIFEST: &str = "backup_manifest";

/// The headers that a merge adds, and their models.
#[derive(Debug, Default)]
pub(super) struct Headers {
    /// The OIDs of all tablespaces so far.
    tablespaces: BTreeSet<u32>,
    /// The OIDs of the tablespaces whose directories are not in the tar yet.
    unwritten: Vec<u32>,
    /// The server's last header: added headers have its owner and time.
    last: Option<Box<Block>>,
}

impl Headers {
    /// Adds a tablespace, unless there is one of this OID.
    pub(super) fn add_tablespace(&mut self, oid: u32) -> bool {
        let added = self.tablespaces.insert(oid);
        if added {
            self.unwritten.push(oid);
        }
        added
    }

    /// Decides if a path below the data directory is in the directory of a tablespace so far, or
    /// that directory.
    pub(super) fn contains(&self, path: &[u8]) -> bool {
        let oid = path.strip_prefix(b"pg_tblspc/").and_then(|path| path.split(|byte| *byte == b'/').next());
        let oid = oid.and_then(|oid| std::str::from_utf8(oid).ok()?.parse().ok());
        oid.is_some_and(|oid| self.tablespaces.contains(&oid))
    }

    /// Takes a header of the server, and returns those that come before it: of the directories
    /// `pg_tblspc/<oid>`.
    pub(super) fn take(&mut self, block: &Block) -> Vec<Bytes> {
        self.last = Some(Box::new(*block));
        let directory = |oid| header(block, &format!("pg_tblspc/{oid}/"), EntryType::Directory, 0o700, 0);
        std::mem::take(&mut self.unwritten).into_iter().map(directory).collect()
    }

    /// Returns the header of the manifest, unless the server sent none of a member.
    pub(super) fn manifest(&self, bytes: u64) -> Option<Bytes> {
        self.last.as_ref().map(|model| header(model, MANIFEST, EntryType::Regular, 0o600, bytes))
    }
}

/// Returns a header with the owner and time of another.
fn header(model: &Block, name: &str, kind: EntryType, mode: u32, size: u64) -> Bytes {
    let mut header = tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(model);
    header.as_old_mut().linkname.fill(0);
    write_name(&mut header, b"", name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_cksum();
    Bytes::copy_from_slice(header.as_bytes())
}

/// Returns the header of a tablespace's member with the path below the data directory. Returns
/// `None` if the path does not fit.
pub(super) fn moved(block: &Block, oid: u32) -> Option<Bytes> {
    let mut header = tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(block);
    let directory = format!("pg_tblspc/{oid}").into_bytes();
    let path = header.path_bytes().into_owned();
    let path = path.strip_prefix(b"./").unwrap_or(&path);
    let whole = [&directory, &b"/"[..], path].concat();
    if whole.len() <= NAME_BYTES {
        write_name(&mut header, b"", &whole);
    } else {
        // A name of the server fits the name's field, and no server writes a prefix.
        let ustar = header.as_ustar()?;
        let has_prefix = ustar.prefix.first() != Some(&0);
        if has_prefix || path.len() > NAME_BYTES || directory.len() > PREFIX_BYTES {
            return None;
        }
        write_name(&mut header, &directory, path);
    }
    header.set_cksum();
    Some(Bytes::copy_from_slice(header.as_bytes()))
}
