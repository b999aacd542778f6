//! Ships to an account that is restricted to SFTP, as `type = "sftp"`: no shell is needed, and a
//! chroot is supported.
//!
//! | file | contents |
//! | --- | --- |
//! | `settings.rs` | the settings |
//! | `session.rs` | the SFTP session: opened on first use, and reopened after a failure |
//! | `ascii_names.rs` | non-ASCII names, which would end the session |
//! | `root_dir.rs` | the directory itself: its checks, folders and free space |
//! | `atomic_write.rs` | temporary files, and publishing without overwriting |
//! | `list.rs` | the list, in the order of keys, and leftovers of interrupted writers |
//! | `read.rs` | reading a file, or a range of it |
//! | `failure.rs` | conversion of a server's responses to errors |
//! | `check.rs` | the check before a run |
//!
//! SFTP cannot compute digests on the host, nor flush a directory to disk. SSH protects uploads in
//! transit, and their size is checked at the end; `longshore verify` reads them back. A file is
//! flushed before and after it is renamed; on file systems with a journal, the second flush
//! includes the name.

mod ascii_names;
mod atomic_write;
mod check;
mod failure;
mod list;
mod read;
mod root_dir;
mod session;
mod settings;

use std::ops::Range;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use longshore_core::cleanup::shield;
use longshore_core::key::Key;
use longshore_core::plugin::{Plugin, StoreContext};
use longshore_core::stage::{Capabilities, Entry, FreeSpace, IncompleteUploads, Leftover, Limits, Ship, Store};
use longshore_core::stream::ByteStream;
use longshore_core::wal_key::is_archive_folder;
use longshore_core::{Error, Kind, Result, Stage};

use crate::atomic_write::Upload;
use crate::root_dir::RootDir;
pub use crate::settings::Sftp;

/// A destination behind an SFTP server.
#[derive(Debug)]
struct Account {
    root: RootDir,
}

impl Plugin<dyn Store> for Sftp {
    const TYPE: &'static str = "sftp";

    fn build(self, context: &StoreContext) -> Result<Box<dyn Store>> {
        let options = self.connect_options(context.stall_timeout)?;
        Ok(Box::new(Account { root: RootDir::new(options, longshore_ssh::settings::absolute_path(&self.path)?) }))
    }
}

#[async_trait]
impl Ship for Account {
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        let (root, key) = (self.root.clone(), key.clone());
        let mut upload = shield(async move { Upload::create(root, &key).await }).await?;
        let written = upload.backend.write_all(body).await;
        upload.finish(written).await
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities { free_space: Some(self), incomplete_uploads: Some(self), ..Capabilities::default() }
    }
}

#[async_trait]
impl Store for Account {
    async fn list(&self, under: Option<&Key>) -> Result<BoxStream<'static, Result<Entry>>> {
        let session = self.root.checked_session().await?;
        Ok(list::entries(self.root.clone(), session, under, |_| false))
    }

    async fn list_backups(&self) -> Result<BoxStream<'static, Result<Entry>>> {
        let session = self.root.checked_session().await?;
        Ok(list::entries(self.root.clone(), session, None, is_archive_folder))
    }

    async fn stat(&self, key: &Key) -> Result<Entry> {
        let session = self.root.checked_session().await?;
        let bytes = read::size(&self.root, &session, &self.root.path(key.as_str())).await?;
        Ok(Entry::new(key.clone(), bytes))
    }

    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        read::open(&self.root, key, range).await
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        let session = self.root.checked_session().await?;
        let path = self.root.path(key.as_str());
        match session.fs().symlink_metadata(&path).await {
            Ok(metadata) if metadata.file_type().is_some_and(|kind| kind.is_file()) => {
                self.root.remove(&session, &path).await
            }
            Ok(_) => Ok(()),
            Err(error) if failure::is_not_found(&error) => Ok(()),
            Err(error) => Err(self.root.failure(&session, &path, "cannot inspect the file", error).await),
        }
    }
}

#[async_trait]
impl FreeSpace for Account {
    async fn free_bytes(&self) -> Result<u64> {
        let session = self.root.checked_session().await?;
        self.root.free_bytes(&session).await
    }
}

#[async_trait]
impl IncompleteUploads for Account {
    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let session = self.root.checked_session().await?;
        let files: Vec<_> = list::files(self.root.clone(), session, String::new(), |_| false).collect().await;
        let files: Vec<_> = files.into_iter().collect::<Result<_>>()?;
        Ok(files.into_iter().filter_map(list::DirEntry::leftover).collect())
    }

    async fn discard(&self, leftover: &Leftover) -> Result<()> {
        if !longshore_core::temp_name::is_temp_name(&leftover.name) {
            let message = "not a leftover of an interrupted writer";
            return Err(Error::new(Stage::Ship, Kind::Usage, &leftover.name, message));
        }
        let session = self.root.checked_session().await?;
        self.root.remove(&session, &self.root.path(&leftover.name)).await
    }
}
