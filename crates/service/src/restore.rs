//! Bringing backups home: one subject, or all that a run made, globals first.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use longshore_core::catalog::Backup;
use longshore_core::pipeline::open;
use longshore_core::plugin::{Identities, Target};
use longshore_core::stage::{Restore, Store};
use longshore_core::stream::{ByteStream, transform};
use longshore_core::{Error, Kind, Result, Stage};

use crate::config::Config;
use crate::fleet::{Quay, means, readable};
use crate::registry::Registry;

/// Which backups to bring home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The newest good backup of what the words mean, no newer than `at`.
    Subject {
        /// A database, `globals`, `cluster/subject`, or a backup's name.
        words: String,
        /// The newest time allowed.
        at: Option<DateTime<Utc>>,
        /// Whether the globals that it needs come first.
        globals: Globals,
    },
    /// All that one run made: its id, or `latest`.
    Run(String),
}

/// Whether a database's restore begins with the globals of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Globals {
    /// They come first.
    First,
    /// They stay as they are.
    Leave,
}

/// A backup that was chosen, and the destination it comes from.
pub struct Chosen {
    /// The backup.
    pub backup: Backup,
    /// The destination's name.
    pub destination: String,
    store: Arc<dyn Store>,
}

/// Chooses what to bring home, in the order in which to restore it.
pub async fn choose(config: &Config, what: &What, from: Option<&str>) -> Result<Vec<Chosen>> {
    let quays = readable(config, from).await?;
    match what {
        What::Run(run) => of_run(&quays, run),
        What::Subject { words, at, globals } => {
            let chosen = of_subject(&quays, words, *at)?;
            let mut all = Vec::new();
            if *globals == Globals::First {
                for need in &chosen.backup.manifest.needs {
                    let needed = all_good(&quays).find(|(_, backup)| backup.name == *need);
                    let missing = || {
                        not_found(need.as_str(), "the backup needs it, and it is at no destination that can be read")
                    };
                    all.push(needed.map(chosen_from).ok_or_else(missing)?);
                }
            }
            all.push(chosen);
            Ok(all)
        }
    }
}

fn all_good(quays: &[Quay]) -> impl Iterator<Item = (&Quay, &Backup)> {
    quays
        .iter()
        .flat_map(|quay| quay.catalog.backups().filter(|backup| backup.is_good()).map(move |backup| (quay, backup)))
}

fn chosen_from((quay, backup): (&Quay, &Backup)) -> Chosen {
    Chosen { backup: backup.clone(), destination: quay.name.clone(), store: Arc::clone(&quay.store) }
}

fn not_found(subject: &str, message: &str) -> Error {
    Error::new(Stage::Catalog, Kind::NotFound, subject, message).hint("`longshore list` shows what there is")
}

/// The newest good backup no newer than `at`: never a later one.
fn of_subject(quays: &[Quay], words: &str, at: Option<DateTime<Utc>>) -> Result<Chosen> {
    let candidates: Vec<_> = all_good(quays).filter(|(_, backup)| means(words, backup)).collect();
    let clusters: std::collections::BTreeSet<_> = candidates
        .iter()
        .map(|(_, backup)| format!("{}/{}", backup.manifest.cluster.name, backup.manifest.subject.segment()))
        .collect();
    if clusters.len() > 1 {
        let message = "means more than one thing";
        let hint = format!("say which: {}", clusters.into_iter().collect::<Vec<_>>().join(", "));
        return Err(Error::new(Stage::Catalog, Kind::Usage, words, message).hint(hint));
    }
    if candidates.is_empty() {
        return Err(not_found(words, "there is no good backup of it"));
    }
    let early_enough =
        candidates.into_iter().filter(|(_, backup)| at.is_none_or(|at| backup.manifest.time.time() <= at));
    // Of copies at several destinations the first is taken, so the comparison must find later ones no better.
    let newest =
        early_enough.reduce(|best, next| if next.1.manifest.time > best.1.manifest.time { next } else { best });
    newest.map(chosen_from).ok_or_else(|| {
        Error::new(Stage::Restore, Kind::Refused, words, "there is no good backup as old as that")
            .hint("`longshore list` shows what there is; a later backup is never taken instead")
    })
}

/// All that a run made, globals first.
fn of_run(quays: &[Quay], run: &str) -> Result<Vec<Chosen>> {
    let latest = all_good(quays).map(|(_, backup)| (backup.manifest.time, &backup.manifest.run)).max();
    let run = match (run, latest) {
        ("latest", Some((_, latest))) => latest,
        _ => run,
    };
    let mut chosen: Vec<Chosen> = Vec::new();
    for (quay, backup) in all_good(quays).filter(|(_, backup)| backup.manifest.run == run) {
        if !chosen.iter().any(|known| known.backup.name == backup.name) {
            chosen.push(chosen_from((quay, backup)));
        }
    }
    if chosen.is_empty() {
        return Err(not_found(run, "there is no run of that id"));
    }
    chosen.sort_by_key(|chosen| chosen.backup.manifest.subject.is_database());
    Ok(chosen)
}

/// The plaintext of a chosen backup.
async fn plaintext(registry: &Registry, chosen: &Chosen, identities: &Identities) -> Result<ByteStream> {
    let opener = crate::verify::opener(registry, identities, &chosen.backup)?;
    open(&*chosen.store, &chosen.backup.manifest, opener.as_deref()).await
}

fn restorer(registry: &Registry, target: &Target) -> Result<Box<dyn Restore>> {
    registry.restore.build(registry.default_restore, target)
}

/// Restores into the target. Everything is looked at before the first byte is fetched. Returns what its owner should hear.
pub async fn restore(
    registry: &Registry,
    chosen: &[Chosen],
    target: &Target,
    identities: &Identities,
    began: &(dyn Fn(&Chosen) + Sync),
) -> Result<Vec<String>> {
    let restorer = restorer(registry, target)?;
    for chosen in chosen {
        crate::verify::opener(registry, identities, &chosen.backup)?;
        restorer.prepare(&chosen.backup.manifest).await?;
    }
    let mut notes = Vec::new();
    for chosen in chosen {
        began(chosen);
        let plaintext = plaintext(registry, chosen, identities).await?;
        notes.extend(restorer.restore(&chosen.backup.manifest, plaintext).await?);
    }
    Ok(notes)
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
    let mut written = transform(plaintext, wrap, move |reader, _| {
        std::io::copy(reader, &mut file)?;
        file.sync_all()
    });
    while let Some(chunk) = written.next().await {
        chunk?;
    }
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
