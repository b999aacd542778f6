//! A running base backup as a stream, which ends cleanly only after the server has confirmed the
//! backup.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt;
use longshore_core::error::printable;
use longshore_core::stage::DumpNotes;
use longshore_core::stream::{ByteStream, OnEnd};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::incremental::truncation::{Search, StaleBlock};
use longshore_pg_client::client::Client;
use longshore_pg_client::cluster_files;
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
    /// A client for SQL, which the role may be unable to use.
    pub(crate) client: Client,
    /// The names of tablespaces before the backup, by OID; empty if unknown.
    pub(crate) names: BTreeMap<String, String>,
    /// Details for the notes.
    pub(crate) details: Map<String, Value>,
    /// The search for blocks that an incremental backup lacks.
    pub(crate) stale_blocks: Search,
}

/// The values that are known at the end of the stream.
pub(crate) struct Results {
    /// Notes about the backup.
    pub(crate) notes: OnEnd<DumpNotes>,
    /// The server's manifest.
    pub(crate) manifest: OnEnd<Arc<File>>,
}

impl Backup {
    /// Returns the bytes of the one tar. Dropping the stream closes both connections: the server
    /// aborts the backup and drops the slot.
    pub(crate) fn into_stream(self, results: Results) -> ByteStream {
        let Self { mut backup, slot, scratch_dir, subject, client, names, details, mut stale_blocks } = self;
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
                    expect_no_stale_block(&mut stale_blocks, &chunk, &subject)?;
                    yield chunk;
                }
            }
            expect_no_new_tablespace(&client, &names, &subject).await?;
            // All WAL has been sent, so others can use the WAL senders while the manifest passes.
            drop(slot);
            let finished = cluster_files::time(&client).await;
            let warnings = failure::warnings(backup.notices());
            drop(backup);
            if let Some(manifest) = &mut manifest {
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
            results.notes.set(DumpNotes { warnings, finished, details, ..DumpNotes::default() });
            if let Some(manifest) = manifest {
                results.manifest.set(Arc::new(manifest.into_file().await));
            }
        };
        stream.boxed()
    }
}

/// Fails if an incremental backup lacks a block whose earlier content is wrong.
fn expect_no_stale_block(search: &mut Search, chunk: &[u8], subject: &str) -> Result<()> {
    let Some(StaleBlock { path, block }) = search.push(chunk).map_err(|error| failure::of_merge(subject, error))?
    else {
        return Ok(());
    };
    let message = format!(
        "block {block} is missing from {}, and its earlier content was truncated: deleted rows would return in a \
         restore (a defect of PostgreSQL)",
        printable(&path)
    );
    Err(Error::new(Stage::Dump, Kind::Refused, subject, message).hint("take a full backup"))
}

/// Fails if a tablespace was created during the backup. The WAL of the backup contains its
/// directory at the source, and a server that replays the WAL on the same host would write there.
async fn expect_no_new_tablespace(client: &Client, before: &BTreeMap<String, String>, subject: &str) -> Result<()> {
    if before.is_empty() {
        return Ok(());
    }
    let after = cluster_files::tablespace_names(client).await;
    match after.iter().find(|(oid, _)| !before.contains_key(*oid)) {
        None => Ok(()),
        Some((oid, name)) => {
            let message = format!("tablespace \"{}\" ({oid}) was created during the backup", printable(name));
            Err(Error::new(Stage::Dump, Kind::Failed, subject, message).hint("run the backup again"))
        }
    }
}
