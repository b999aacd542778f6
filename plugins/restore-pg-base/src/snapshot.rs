//! The files of a snapshot on this host as the members of a backup. Restored files share their
//! blocks with the snapshot where the file system can.

use std::fs::{File, OpenOptions};
use std::path::Path;

use longshore_core::stage::{SnapshotContent, SnapshotMember};
use longshore_core::{Result, regular_file};

use crate::archive::{Content, Members, PIECE_BYTES, Visit};
use crate::member::{Member, MemberKind};
use crate::root::failure;

/// The files that complete a snapshot.
const REQUIRED: [&str; 1] = ["backup_label"];

/// The files of a snapshot.
pub(crate) struct Files(pub(crate) Vec<SnapshotMember>);

impl Members for Files {
    const REQUIRED: &'static [&'static str] = &REQUIRED;

    fn read_next(&mut self, visit: Visit<'_>) -> Result<()> {
        let mut buffer = vec![0; PIECE_BYTES];
        for SnapshotMember { path, content } in self.0.drain(..) {
            let unreadable = |at: &Path, error| failure(at, "cannot be read", error);
            match content {
                SnapshotContent::Folder => {
                    let member = Member { path, kind: MemberKind::Folder, bytes: 0 };
                    visit(&member, Content::new(&member, &mut std::io::empty(), &mut buffer))?;
                }
                SnapshotContent::File(at) => {
                    let opened = regular_file::open(&at, OpenOptions::new().read(true));
                    let mut file: File = opened.map_err(|error| unreadable(&at, error))?;
                    let bytes = file.metadata().map_err(|error| unreadable(&at, error))?.len();
                    let shared = file.try_clone().map_err(|error| unreadable(&at, error))?;
                    let member = Member { path, kind: MemberKind::File, bytes };
                    visit(&member, Content::new(&member, &mut file, &mut buffer).of_file(&shared))?;
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}
