//! Restores base backups into a data directory that no server uses yet.
//!
//! A restore writes only into new or empty folders, and never overwrites a file. The restore writes
//! `global/pg_control` last, so that no server can start an incomplete copy. A restore that fails
//! or is interrupted removes everything that it made. Only a restore that shall replace the files
//! of the same cluster begins with existing files; if it fails, it must be repeated.
//!
//! An incremental backup is restored after those that it continues, from the full one on: its
//! changed blocks are written into their files, and files that it lacks are removed.
//!
//! | file | contents |
//! | --- | --- |
//! | `prepare.rs` | the check of the target before a byte is fetched, and the plan of the restore |
//! | `existing_cluster.rs` | the cluster whose files a restore replaces |
//! | `file_writer.rs` | a restored file, written only where it differs |
//! | `folder.rs` | the check of a folder to restore into |
//! | `overlap.rs` | folders that contain each other |
//! | `owner.rs` | the user to own the files |
//! | `tablespace.rs` | the tablespaces of a backup, and their new folders |
//! | `space.rs` | the free space of file systems |
//! | `archive.rs` | the tar of a backup, read once |
//! | `member.rs` | the members of a backup's tar |
//! | `root.rs` | a folder that receives files, and its removal |
//! | `unpack.rs` | the unpacking of a tar |
//! | `patch.rs` | the changed blocks of an incremental file |
//! | `cluster_files.rs` | the files that differ between the backup and the restored cluster |
//! | `restore.rs` | a restore that is undone on interruption |
//! | `abandoned.rs` | the end of a restore whose caller was dropped |
//! | `note.rs` | the notes for the operator |
//! | `start.rs` | the start of a server on the restored files |
//! | `snapshot.rs` | the files of a snapshot instead of a tar |
//! | `list.rs` | the contents of a backup |

mod abandoned;
mod archive;
mod cluster_files;
mod existing_cluster;
mod file_writer;
mod folder;
mod list;
mod member;
mod note;
mod overlap;
mod owner;
mod patch;
mod prepare;
mod restore;
mod root;
mod snapshot;
mod space;
mod start;
mod tablespace;
mod unpack;

use std::time::Instant;

use async_trait::async_trait;
use longshore_core::check::Finding;
use longshore_core::left_out::LeftOut;
use longshore_core::manifest::{Format, Manifest};
use longshore_core::phase::Phase;
use longshore_core::plugin::{DataDirectory, Plugin, RestorePlugin, Target};
use longshore_core::stage::{Restore, RestoreRequest, Restored, SnapshotFiles};
use longshore_core::stream::ByteStream;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Restores base backups. The stage has no settings and needs only the target.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PgBase {}

impl Plugin<dyn Restore> for PgBase {
    const TYPE: &'static str = "pg_base";

    fn build(self, target: &Target) -> Result<Box<dyn Restore>> {
        let target = target.expect_data_directory(Self::TYPE)?.clone();
        Ok(Box::new(Restorer { target }))
    }
}

impl RestorePlugin for PgBase {
    const FORMATS: &'static [Format] = &[Format::Base];
}

/// A stage that restores into one data directory.
struct Restorer {
    target: DataDirectory,
}

impl Restorer {
    /// Starts the server on the restored files, if the target asks for it.
    async fn started(&self, manifest: &Manifest, mut restored: Restored) -> Result<Restored> {
        let DataDirectory { path, recovery, start, .. } = &self.target;
        if let Some(start) = start {
            let begun = Instant::now();
            // The last note explains how to start the server.
            restored.notes.pop();
            restored.notes.push(start::start(path, manifest, start, recovery.as_ref()).await?);
            let seconds = begun.elapsed().as_secs_f64();
            restored.phases.push(Phase { name: "start".to_owned(), seconds, restores: true });
        }
        Ok(restored)
    }
}

#[async_trait]
impl Restore for Restorer {
    async fn prepare(&self, requests: &[RestoreRequest<'_>]) -> Result<Vec<Finding>> {
        let [request] = requests else {
            let message = format!("{} backups cannot be restored into one data directory", requests.len());
            return Err(Error::new(Stage::Restore, Kind::Usage, self.target.path.display().to_string(), message)
                .hint("restore one base backup at a time, each into a directory of its own"));
        };
        expect_base(request.manifest)?;
        Ok(prepare::check(&self.target, request).findings)
    }

    async fn restore(&self, request: RestoreRequest<'_>, plaintext: ByteStream) -> Result<Restored> {
        expect_base(request.manifest)?;
        let checked = prepare::check(&self.target, &request);
        let restored = restore::restore(checked.into_plan()?, request.manifest, plaintext).await?;
        self.started(request.manifest, restored).await
    }

    async fn restore_snapshot(&self, request: RestoreRequest<'_>, files: SnapshotFiles) -> Result<Restored> {
        expect_base(request.manifest)?;
        let checked = prepare::check(&self.target, &request);
        let restored = restore::restore_files(checked.into_plan()?, request.manifest, files).await?;
        self.started(request.manifest, restored).await
    }

    async fn contents(&self, manifest: &Manifest, plaintext: ByteStream) -> Result<Vec<String>> {
        expect_base(manifest)?;
        list::files(plaintext).await
    }

    fn comparable_details(&self, _details: &Map<String, Value>, _left_out: &[LeftOut]) -> Option<Map<String, Value>> {
        None
    }
}

/// Fails if the backup is not a base backup.
fn expect_base(manifest: &Manifest) -> Result<()> {
    if (&manifest.subject, &manifest.artifact.format) == (&Subject::Base, &Format::Base) {
        return Ok(());
    }
    let message = format!("a backup in format \"{}\" is not a base backup", manifest.artifact.format);
    Err(Error::new(Stage::Restore, Kind::Usage, manifest.subject.to_string(), message)
        .hint("restore dumps into a running server: --to CONNECTION"))
}

#[cfg(test)]
mod tests;
