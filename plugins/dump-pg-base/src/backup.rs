//! A running base backup as a stream, which ends cleanly only after the server has confirmed the
//! backup.

use std::path::PathBuf;

use futures_util::StreamExt;
use longshore_core::stage::DumpNotes;
use longshore_core::stream::{ByteStream, OnEnd};
use longshore_core::{Error, Stage};
use longshore_pg_replication::{BaseBackup, Event};
use serde_json::{Map, Value};

use crate::failure;
use crate::merged_tar::MergedTar;
use crate::slot::HeldSlot;
use crate::spool::Spool;

/// A base backup whose first byte has not been read.
pub(crate) struct Backup {
    /// The backup.
    pub(crate) backup: BaseBackup,
    /// The slot that reserves the WAL of the backup.
    pub(crate) slot: HeldSlot,
    /// The folder of temporary files; the system's if absent.
    pub(crate) scratch_dir: Option<PathBuf>,
    /// The subject of errors.
    pub(crate) subject: String,
    /// Details for the notes.
    pub(crate) details: Map<String, Value>,
}

impl Backup {
    /// Returns the bytes of the one tar. Dropping the stream closes both connections: the server
    /// aborts the backup and drops the slot.
    pub(crate) fn into_stream(self, notes: OnEnd<DumpNotes>) -> ByteStream {
        let Self { mut backup, slot, scratch_dir, subject, details } = self;
        let spool_error = {
            let subject = subject.clone();
            move |error| Error::io(Stage::Dump, &subject, "cannot use a temporary file for the manifest", error)
        };
        let stream = async_stream::try_stream! {
            let mut tar = MergedTar::new(&subject);
            let mut manifest: Option<Spool> = None;
            loop {
                let event = match backup.next().await {
                    Ok(Some(event)) => event,
                    Ok(None) => break,
                    Err(error) => Err(failure::of_backup(&subject, error, backup.notices()))?,
                };
                match event {
                    Event::Archive { name, .. } => tar.begin_archive(&name)?,
                    Event::Manifest => {
                        tar.end_archive()?;
                        manifest = Some(Spool::create(scratch_dir.as_deref()).map_err(&spool_error)?);
                    }
                    Event::Data(data) => match &mut manifest {
                        Some(manifest) => manifest.write(&data).await.map_err(&spool_error)?,
                        None => tar.push(data)?,
                    },
                    Event::Progress(_) => {}
                }
                while let Some(chunk) = tar.chunk() {
                    yield chunk;
                }
            }
            // All WAL has been sent, so others can use the WAL senders while the manifest passes.
            drop(slot);
            let warnings = failure::warnings(backup.notices());
            drop(backup);
            if let Some(mut manifest) = manifest {
                tar.begin_manifest(manifest.rewind().await.map_err(&spool_error)?)?;
                loop {
                    let bytes = manifest.read().await.map_err(&spool_error)?;
                    if bytes.is_empty() {
                        break;
                    }
                    tar.push(bytes)?;
                    while let Some(chunk) = tar.chunk() {
                        yield chunk;
                    }
                }
            }
            // Fails if there was no manifest.
            tar.finish()?;
            while let Some(chunk) = tar.chunk() {
                yield chunk;
            }
            notes.set(DumpNotes { warnings, not_captured: Vec::new(), details });
        };
        stream.boxed()
    }
}
