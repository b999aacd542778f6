//! A directory on a host whose account has a POSIX shell: what a destination needs of it, as small scripts that a person can read.
//!
//! | module | holds |
//! | --- | --- |
//! | `draft` | a file on its way: hidden while it is written, judged on the other side, published over nothing |
//! | `list` | the keys and the drafts in it |
//! | `read` | the bytes of a file, or of a range |
//! | `errand` | the scripts, what they answer, and what their exit statuses mean |

mod draft;
mod errand;
mod list;
mod read;

use std::ops::Range;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt};
use longshore_core::aftercare::see_through;
use longshore_core::check::Finding;
use longshore_core::key::Key;
use longshore_core::meter::{Algorithm, Digest, meter};
use longshore_core::root::exposed_folders;
use longshore_core::stage::{Entry, Leftover};
use longshore_core::stream::ByteStream;
use longshore_core::{Error, Kind, Result, Stage};

use crate::failure;
use crate::host::Host;
use draft::Draft;
pub use draft::{Place, Published};
use errand::Script;

/// A directory on a host. It is never made, so that a disk that is not mounted there is noticed.
#[derive(Debug, Clone)]
pub struct Directory {
    host: Arc<Host>,
    root: String,
}

impl Directory {
    /// The directory at `root`, as [`settings::root`](crate::settings::root) has it.
    pub fn new(host: Arc<Host>, root: String) -> Self {
        Self { host, root }
    }

    /// The host that it is on.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The same directory on another host.
    pub fn on(&self, host: Arc<Host>) -> Self {
        Self { host, root: self.root.clone() }
    }

    /// What errors call it: `host:/path`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.host.name(), self.root)
    }

    /// Brings `body` there, as [`Ship::ship`](longshore_core::stage::Ship::ship) promises it.
    pub async fn ship(&self, key: &Key, body: ByteStream) -> Result<()> {
        let place = Place::of(key);
        let (directory, begun) = (self.clone(), place.clone());
        let draft = see_through(async move { Draft::begin(directory, begun).await }).await?;
        let (body, digest) = meter(body, Algorithm::Sha256, |_| {});
        draft.fill(body).await?;
        let digest =
            digest.get().cloned().ok_or_else(|| self.error(Kind::Failed, "the body ended without its digest"))?;
        self.publish(place, digest).await
    }

    /// Gives the draft at `place` its name, if it is what `digest` says.
    pub async fn publish(&self, place: Place, digest: Digest) -> Result<()> {
        let directory = self.clone();
        // If this future is dropped while it waits, so is what it would have got, which takes the file back.
        let published = see_through(async move { Published::make(directory, place, digest).await }).await?;
        published.keep();
        Ok(())
    }

    /// Looks whether something may be written to `place`, and makes the folders that lead to it.
    pub async fn prepare(&self, place: &Place) -> Result<()> {
        self.run(Script::Prepare, &[&place.folder, &place.draft, &place.name]).await.map(drop)
    }

    /// Removes a draft whose writer gives up; one that cannot be removed now is found by a sweep.
    pub async fn abandon(self, place: Place) -> Result<()> {
        draft::withdraw(self, place, false).await
    }

    /// Everything in it, in the order of its keys. The list is in memory when it is whole; until then nobody sees it.
    pub async fn list(&self) -> Result<BoxStream<'static, Result<Entry>>> {
        let found = list::read(self, "keys").await?;
        let mut entries: Vec<_> = found.into_iter().filter_map(list::Found::entry).collect();
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(stream::iter(entries.into_iter().map(Ok)).boxed())
    }

    /// Reads a file, or a range of it.
    pub async fn fetch(&self, key: &Key, range: Option<Range<u64>>) -> Result<ByteStream> {
        read::begin(self, key, range).await
    }

    /// Removes a file; nothing there is no error.
    pub async fn remove(&self, key: &Key) -> Result<()> {
        let Place { folder, name, .. } = Place::of(key);
        self.run(Script::Remove, &[&folder, &name]).await.map(drop)
    }

    /// How much can still be written, in bytes.
    pub async fn free_bytes(&self) -> Result<u64> {
        let told = self.run(Script::Free, &[]).await?;
        let told = String::from_utf8_lossy(&told).into_owned();
        free_bytes(&told)
            .ok_or_else(|| self.error(Kind::Failed, &format!("df answers with what is no number of bytes: {told}")))
    }

    /// What interrupted writers left, with what is being written.
    pub async fn leftovers(&self) -> Result<Vec<Leftover>> {
        Ok(list::read(self, "drafts").await?.into_iter().filter_map(list::Found::leftover).collect())
    }

    /// Removes a draft.
    pub async fn discard(&self, leftover: &Leftover) -> Result<()> {
        let name = &leftover.name;
        if !longshore_core::draft::is_draft(name) {
            return Err(Error::new(Stage::Ship, Kind::Usage, name, "not something that an interrupted writer left"));
        }
        let folder = name.rsplit_once('/').map_or(".", |(folder, _)| folder);
        self.run(Script::Remove, &[folder, name]).await.map(drop)
    }

    /// What would fail at 3 a.m.
    pub async fn look(&self) -> Vec<Finding> {
        let drafts = [longshore_core::draft::name(""), longshore_core::draft::name("")];
        let exposed = match self.run(Script::Attempt, &[&drafts[0], &drafts[1]]).await {
            Ok(exposed) => exposed,
            Err(error) => return vec![Finding::failed(self.name(), &error)],
        };
        let good = "the host is reached over SSH, and the directory is there and can be written to";
        let exposed = String::from_utf8_lossy(&exposed).into_owned();
        let exposed = exposed.lines().filter_map(|line| line.strip_prefix("./")).map(str::to_owned).collect();
        let exposed = exposed_folders(&self.name(), exposed);
        std::iter::once(Finding::good(self.name(), good)).chain(exposed).collect()
    }

    fn error(&self, kind: Kind, message: &str) -> Error {
        Error::new(Stage::Ship, kind, self.name(), message)
    }

    /// What errors about a file call it.
    fn subject(&self, name: &str) -> String {
        format!("{}/{name}", self.name().trim_end_matches('/'))
    }
}

/// The available kilobytes of `df -Pk`, which come before the only number with a percent sign, as bytes.
fn free_bytes(told: &str) -> Option<u64> {
    let fields: Vec<_> = told.lines().nth(1)?.split_whitespace().collect();
    let percent =
        fields.iter().position(|field| field.ends_with('%') && field[..field.len() - 1].parse::<u64>().is_ok())?;
    fields.get(percent.checked_sub(1)?)?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_read_whatever_the_device_is_called() {
        let head = "Filesystem 1024-blocks Used Available Capacity Mounted on\n";
        for (line, bytes) in [
            ("/dev/vda 263174212 51834448 44219712 55% /", Some(44_219_712 * 1024)),
            ("//nas/my share 100 40 60 40% /mnt/my share", Some(60 * 1024)),
            ("overlay - - - - /", None),
        ] {
            assert_eq!(free_bytes(&format!("{head}{line}\n")), bytes, "{line}");
        }
    }
}
