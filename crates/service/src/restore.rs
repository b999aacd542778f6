//! Bringing backups home: one subject, or all that a run made, globals first.

mod choice;

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{TimeDelta, Utc};
use longshore_core::key::{BackupName, Key};
use longshore_core::mark::Says;
use longshore_core::pipeline::open;
use longshore_core::plugin::{Identities, Target};
use longshore_core::stage::{Restore, Store, Wanted};
use longshore_core::stream::{ByteStream, drain, transform};
use longshore_core::{Error, Result, Stage};

pub use self::choice::{Choice, Chosen, Globals, What, choose};
use crate::hold::mark;
use crate::registry::Registry;

/// The plaintext of a chosen backup.
async fn plaintext(registry: &Registry, chosen: &Chosen, identities: &Identities) -> Result<ByteStream> {
    let opener = crate::verify::opener(registry, identities, &chosen.backup)?;
    open(&*chosen.store, &chosen.backup.manifest, opener.as_deref()).await
}

fn restorer(registry: &Registry, target: &Target) -> Result<Box<dyn Restore>> {
    registry.restore.build(registry.default_restore, target)
}

/// What became of one backup: what its owner should hear, or why it could not be restored.
pub type Restored = Result<Vec<String>>;

/// Restores into the target. Everything is looked at before the first byte is fetched; from then on a database that fails
/// hinders no other, but without what belongs to the whole cluster none is tried. `ended` hears of each.
pub async fn restore(
    registry: &Registry,
    chosen: &[Chosen],
    target: &Target,
    identities: &Identities,
    began: &(dyn Fn(&Chosen) + Sync),
) -> Result<Vec<Restored>> {
    let restorer = restorer(registry, target)?;
    for chosen in chosen {
        crate::verify::opener(registry, identities, &chosen.backup)?;
    }
    let wanted: Vec<_> =
        chosen.iter().map(|chosen| Wanted { manifest: &chosen.backup.manifest, details: None }).collect();
    restorer.prepare(&wanted).await?;
    let mut all = Vec::new();
    for chosen in chosen {
        began(chosen);
        let manifest = &chosen.backup.manifest;
        let lease = lease(&*chosen.store, &chosen.backup.name).await;
        let restored = async {
            let plaintext = plaintext(registry, chosen, identities).await?;
            restorer.restore(manifest, plaintext).await.map(|restored| restored.notes)
        };
        let restored = restored.await;
        if let Some(lease) = lease {
            // It runs out by itself.
            chosen.store.remove(&lease).await.ok();
        }
        let goes_on = restored.is_ok() || manifest.subject.is_database();
        all.push(restored);
        if !goes_on {
            break;
        }
    }
    Ok(all)
}

/// How long a restore is believed to be under way, if nothing is heard of it.
const LEASE: TimeDelta = TimeDelta::hours(48);

/// Asks whoever prunes to leave a backup alone while it is restored. Where that cannot be said, as with credentials that only read, the
/// restore goes on: it is what matters.
pub(crate) async fn lease(store: &dyn Store, backup: &BackupName) -> Option<Key> {
    let now = Utc::now();
    let name = mark(Some(now + LEASE), "").put(store, backup, Says::Restoring, now).await.ok()?;
    name.key().ok()
}

/// What is in a backup, a line each.
pub async fn contents(
    registry: &Registry,
    chosen: &Chosen,
    target: &Target,
    identities: &Identities,
) -> Result<Vec<String>> {
    let plaintext = plaintext(registry, chosen, identities).await?;
    restorer(registry, target)?.contents(&chosen.backup.manifest, plaintext).await
}

/// Writes the plaintext to a file of mode 600 that is not there yet. What could not be written whole is removed.
pub async fn save(registry: &Registry, chosen: &Chosen, path: &Path, identities: &Identities) -> Result<()> {
    let plaintext = plaintext(registry, chosen, identities).await?;
    let name = path.display().to_string();
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|error| Error::io(Stage::Restore, &name, "cannot make the file", error))?;
    let half = Unfinished(Some(path.to_owned()));
    let wrap = move |error| Error::io(Stage::Restore, name, "cannot write the file", error);
    let written = transform(plaintext, wrap, move |reader, _| {
        std::io::copy(reader, &mut file)?;
        file.sync_all()
    });
    drain(written).await?;
    half.finish();
    Ok(())
}

/// A file that is removed unless it is finished.
struct Unfinished(Option<PathBuf>);

impl Unfinished {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // What cannot be removed was said to be unfinished by the error that led here.
            std::fs::remove_file(path).ok();
        }
    }
}
