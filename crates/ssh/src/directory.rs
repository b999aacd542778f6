//! A directory on a host whose account has a POSIX shell. The operations are small, readable shell
//! scripts.
//!
//! | module | contents |
//! | --- | --- |
//! | `atomic_write` | uploads: hidden, verified on the host, published without overwriting |
//! | `list` | the keys and the temporary files in the directory |
//! | `read` | reads of a file, or of a range of it |
//! | `script` | the scripts, their output, and their exit statuses |

mod atomic_write;
mod list;
mod read;
mod script;

use std::ops::Range;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt};
use longshore_core::atomic_upload::AtomicUpload;
use longshore_core::check::Finding;
use longshore_core::cleanup::shield;
use longshore_core::key::Key;
use longshore_core::meter::Digest;
use longshore_core::root_dir::world_writable_folders;
use longshore_core::stage::{Entry, Leftover};
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};

use crate::failure;
use crate::host::Host;
pub use atomic_write::{Location, Upload};
use script::Script;

/// A directory on a host. Longshore never creates it, so that an unmounted disk is noticed.
#[derive(Debug, Clone)]
pub struct Directory {
    host: Arc<Host>,
    root: String,
}

impl Directory {
    /// Returns the directory at `root`, a path as returned by
    /// [`settings::absolute_path`](crate::settings::absolute_path).
    pub fn new(host: Arc<Host>, root: String) -> Self {
        Self { host, root }
    }

    /// Returns the directory's host.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Returns the directory's name in errors: `host:/path`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.host.name(), self.root)
    }

    /// Uploads `body` with the guarantees of [`Ship::ship`](longshore_core::stage::Ship::ship).
    pub async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        let (directory, location) = (self.clone(), Location::of(key));
        let mut upload = shield(async move { Upload::create(directory, location).await }).await?;
        let written = upload.backend.write_all(body).await;
        upload.finish(written).await
    }

    /// Returns the upload of a temporary file at `location` that another program writes. `digest`
    /// is that of the complete file.
    pub fn upload(&self, location: Location, digest: Digest) -> AtomicUpload<Upload> {
        Upload::written(self.clone(), location, digest)
    }

    /// Verifies that nothing exists at `location`, and creates the folders that lead to it.
    pub async fn prepare(&self, location: &Location) -> Result<()> {
        self.run(Script::Prepare, &[&location.folder, &location.temp_name, &location.name]).await.map(drop)
    }

    /// Lists all files, or those below the folder `under`, in the order of their keys. The whole
    /// list is read into memory first.
    pub async fn list(&self, under: Option<&Key>) -> Result<BoxStream<'static, Result<Entry>>> {
        let files = list::read(self, "keys", under).await?;
        let mut entries: Vec<_> = files.into_iter().filter_map(list::ListedFile::entry).collect();
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(stream::iter(entries.into_iter().map(Ok)).boxed())
    }

    /// Returns the size of a file.
    pub async fn stat(&self, key: &Key) -> Result<Entry> {
        let output = self.run(Script::Stat, &[key.as_str()]).await?;
        let output = String::from_utf8_lossy(&output);
        let bytes = output.trim().parse();
        let invalid = |_| self.error(Kind::Failed, &format!("cannot parse the size of a file: {output:?}"));
        Ok(Entry::new(key.clone(), bytes.map_err(invalid)?))
    }

    /// Reads a file, or a range of it.
    pub async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        read::open(self, key, range).await
    }

    /// Deletes a file. Deleting a missing file succeeds.
    pub async fn remove(&self, key: &Key) -> Result<()> {
        let Location { folder, name, .. } = Location::of(key);
        self.run(Script::Remove, &[&folder, &name]).await.map(drop)
    }

    /// Returns the free space, in bytes.
    pub async fn free_bytes(&self) -> Result<u64> {
        let output = self.run(Script::Free, &[]).await?;
        let output = String::from_utf8_lossy(&output).into_owned();
        parse_free_bytes(&output)
            .ok_or_else(|| self.error(Kind::Failed, &format!("cannot parse the output of df: {output}")))
    }

    /// Lists the temporary files, including those that are being written.
    pub async fn leftovers(&self) -> Result<Vec<Leftover>> {
        Ok(list::read(self, "drafts", None).await?.into_iter().filter_map(list::ListedFile::leftover).collect())
    }

    /// Deletes a temporary file.
    pub async fn discard(&self, leftover: &Leftover) -> Result<()> {
        let name = &leftover.name;
        if !longshore_core::temp_name::is_temp_name(name) {
            return Err(Error::new(Stage::Ship, Kind::Usage, name, "not a temporary file"));
        }
        let folder = name.rsplit_once('/').map_or(".", |(folder, _)| folder);
        self.run(Script::Remove, &[folder, name]).await.map(drop)
    }

    /// Checks the connection and the directory.
    pub async fn check(&self) -> Vec<Finding> {
        let temp_names = [longshore_core::temp_name::unique_name(""), longshore_core::temp_name::unique_name("")];
        let exposed = match self.run(Script::Probe, &[&temp_names[0], &temp_names[1]]).await {
            Ok(exposed) => exposed,
            Err(error) => return vec![Finding::failed(self.name(), &error)],
        };
        let good = "the host is reachable over SSH, and the directory exists and is writable";
        let exposed = String::from_utf8_lossy(&exposed).into_owned();
        let exposed = exposed.lines().filter_map(|line| line.strip_prefix("./")).map(str::to_owned).collect();
        let exposed = world_writable_folders(&self.name(), exposed);
        std::iter::once(Finding::good(self.name(), good)).chain(exposed).collect()
    }

    fn error(&self, kind: Kind, message: &str) -> Error {
        Error::new(Stage::Ship, kind, self.name(), message)
    }

    /// Returns the name of a file in errors.
    fn subject(&self, name: &str) -> String {
        format!("{}/{name}", self.name().trim_end_matches('/'))
    }
}

/// Parses the free bytes from the output of `df -Pk`: the number of kilobytes before the only
/// percentage.
fn parse_free_bytes(output: &str) -> Option<u64> {
    let fields: Vec<_> = output.lines().nth(1)?.split_whitespace().collect();
    let percent =
        fields.iter().position(|field| field.ends_with('%') && field[..field.len() - 1].parse::<u64>().is_ok())?;
    fields.get(percent.checked_sub(1)?)?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_free_space_of_any_device_name() {
        let head = "Filesystem 1024-blocks Used Available Capacity Mounted on\n";
        for (line, bytes) in [
            ("/dev/vda 263174212 51834448 44219712 55% /", Some(44_219_712 * 1024)),
            ("//nas/my share 100 40 60 40% /mnt/my share", Some(60 * 1024)),
            ("overlay - - - - /", None),
        ] {
            assert_eq!(parse_free_bytes(&format!("{head}{line}\n")), bytes, "{line}");
        }
    }
}
