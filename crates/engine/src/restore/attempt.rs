//! Attempts to restore a backup from several destinations.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use longshore_catalog::catalog::Backup;
use longshore_core::pipeline::Source;

use super::choice::Chosen;

/// An attempt to restore a backup, without the destinations that earlier attempts found damaged.
pub(super) struct Attempt<'a> {
    /// The backups to read: those that the backup continues, and itself.
    links: Vec<&'a Chosen>,
    /// The number of skipped destinations of each link.
    skipped: Vec<usize>,
    /// The index of the link that is being read.
    position: Arc<AtomicUsize>,
}

impl<'a> Attempt<'a> {
    /// Returns the first attempt.
    pub(super) fn new(chosen: &'a Chosen) -> Self {
        let links: Vec<_> = chosen.links().collect();
        // A damage of a difference that no stream reports is its own.
        let position = if chosen.backup.manifest.is_difference() { chosen.earlier.len() } else { 0 };
        Self { skipped: vec![0; links.len()], links, position: Arc::new(AtomicUsize::new(position)) }
    }

    /// Returns the backups to read, each with the remaining destinations.
    pub(super) fn links(&self) -> impl Iterator<Item = (&'a Backup, Vec<Source>)> {
        let remaining = |(link, skipped): (&&'a Chosen, &usize)| {
            (&link.backup, link.sources.get(*skipped..).unwrap_or_default().to_vec())
        };
        self.links.iter().zip(&self.skipped).map(remaining)
    }

    /// Returns the index of the link that is being read, for the reader to change.
    pub(super) fn position(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.position)
    }

    /// Skips the destination whose bytes were damaged. Returns the next one, if there is one.
    pub(super) fn skip_damaged(&mut self) -> Option<&'a Source> {
        let position = self.position.load(Ordering::Relaxed);
        let (link, skipped) = (self.links.get(position)?, self.skipped.get_mut(position)?);
        *skipped += 1;
        link.sources.get(*skipped)
    }
}
