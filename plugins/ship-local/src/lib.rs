//! Ships to a directory of a local or mounted file system, as `type = "local"`.
//!
//! | file | contents |
//! | --- | --- |
//! | `settings.rs` | the settings and their validation |
//! | `root_dir.rs` | the directory itself: its checks, folders, flushes, free space and errors |
//! | `atomic_write.rs` | temporary files, and publishing without overwriting |
//! | `list.rs` | the list, in the order of keys |
//! | `read.rs` | reading a file, or a range of it |
//! | `check.rs` | the check before a run |

mod atomic_write;
mod check;
mod list;
mod read;
mod root_dir;
mod settings;

use std::fs;
use std::io;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use longshore_core::key::{Key, encode_name};
use longshore_core::lock::{self, Holder, Lock};
use longshore_core::plugin::{Plugin, StoreContext};
use longshore_core::stage::{Capabilities, Entry, ExclusiveLock, FreeSpace, Limits, Ship, Store};
use longshore_core::stream::ByteStream;
use longshore_core::wal_key::is_archive_folder;
use longshore_core::{Error, Kind, Result, Stage};

use crate::atomic_write::TempFile;
use crate::root_dir::{RootDir, failure};
pub use crate::settings::{Local, Mode};

/// The maximum number of available chunks written at once.
const CHUNKS_AT_ONCE: usize = 8;

/// A destination on a file system. Operations that wait for a disk run on blocking threads.
#[derive(Debug)]
struct Directory {
    root: RootDir,
}

impl Plugin<dyn Store> for Local {
    const TYPE: &'static str = "local";

    fn build(self, _: &StoreContext) -> Result<Box<dyn Store>> {
        let permissions = self.permissions()?;
        let root = RootDir { permissions, reserve: self.min_free.bytes(), path: self.path };
        Ok(Box::new(Directory { root }))
    }
}

#[async_trait]
impl Ship for Directory {
    async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        let (root, target) = (self.root.clone(), self.root.location(key));
        let mut file = blocking(move || TempFile::create(&root, target)).await?;
        let mut body = body.ready_chunks(CHUNKS_AT_ONCE);
        while let Some(chunks) = body.next().await {
            let chunks: Vec<Bytes> = chunks.into_iter().collect::<Result<_>>()?;
            file = blocking(move || file.write(&chunks).map(|()| file)).await?;
        }
        // If this future is dropped, so is its result, which removes the file.
        blocking(move || file.publish()).await?.keep();
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities {
            exclusive_lock: Some(self),
            free_space: Some(self),
            folder: Some(&self.root.path),
            ..Capabilities::default()
        }
    }
}

#[async_trait]
impl Store for Directory {
    async fn list(&self, under: Option<&Key>) -> Result<BoxStream<'static, Result<Entry>>> {
        let root = self.root.clone();
        blocking(move || root.check()).await?;
        Ok(list::entries(self.root.path.clone(), under, |_| false))
    }

    async fn list_backups(&self) -> Result<BoxStream<'static, Result<Entry>>> {
        let root = self.root.clone();
        blocking(move || root.check()).await?;
        Ok(list::entries(self.root.path.clone(), None, is_archive_folder))
    }

    async fn stat(&self, key: &Key) -> Result<Entry> {
        let (root, location) = (self.root.clone(), self.root.location(key));
        let bytes = blocking(move || {
            root.check()?;
            read::size(&location.path)
        });
        Ok(Entry::new(key.clone(), bytes.await?))
    }

    async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        let (root, location) = (self.root.clone(), self.root.location(key));
        let reader = blocking(move || {
            root.check()?;
            read::FileReader::open(location.path, range)
        });
        Ok(reader.await?.into_stream())
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        let (root, location) = (self.root.clone(), self.root.location(key));
        blocking(move || {
            root.check()?;
            match fs::remove_file(&location.path) {
                Ok(()) => root.fsync(&location.folder),
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(()),
                Err(error) if is_not_found(&error) => match location.folder.symlink_metadata() {
                    // The previous remover may have died before it flushed the removal.
                    Ok(folder) if folder.is_dir() => root.fsync(&location.folder),
                    _ => Ok(()),
                },
                Err(error) => Err(failure(&location.path, "cannot remove the file", error)),
            }
        })
        .await
    }
}

#[async_trait]
impl ExclusiveLock for Directory {
    async fn claim(&self, name: &str, holder: &Holder) -> Result<Lock> {
        let path = self.root.path.join(format!(".longshore-{}.lock", encode_name(name)));
        let (root, holder) = (self.root.clone(), holder.clone());
        blocking(move || {
            root.check()?;
            lock::acquire(&path, &holder)
        })
        .await
    }
}

#[async_trait]
impl FreeSpace for Directory {
    async fn free_bytes(&self) -> Result<u64> {
        let root = self.root.clone();
        blocking(move || {
            root.check()?;
            root.free_bytes()
        })
        .await
    }
}

/// Returns true if an error proves that the file, or its folder, does not exist.
fn is_not_found(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Runs work that waits for a disk on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(Error::new(Stage::Ship, Kind::Failed, "", "a file operation was aborted").because(error))
    })
}
