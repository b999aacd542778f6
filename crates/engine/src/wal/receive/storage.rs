//! Storing what was received. A destination that fails is tried again until it has the file:
//! meanwhile the server keeps the WAL, because nothing is reported as durable.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use longshore_config::{Config, WalArchive};
use longshore_core::retry::{Retries, lasting};
use longshore_core::wal_key::WalFolder;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::ArchiveName;
use longshore_pg_wal::segment::{Segment, SegmentSize};

use crate::wal::archiver::{Archiver, FURTHER_TIMEOUT, Stored};
use crate::wal::blocking;
use crate::wal::file::WalFile;
use crate::wal::push_state::PushState;
use crate::wal::receive::ReceiveEvent;

/// The time that further destinations have for a partial segment, once the required ones have it:
/// transactions may wait for the report.
const FURTHER_TIMEOUT_OF_PARTIAL: Duration = Duration::from_secs(1);

/// The archive of a cluster, for the WAL of a receiver.
pub(super) struct Storage<'a> {
    config: &'a Config,
    settings: &'a WalArchive,
    pub(super) folder: WalFolder,
    pub(super) size: SegmentSize,
    archiver: RefCell<Rc<Archiver<'a>>>,
    /// The destinations that failed last, with the kind of the error.
    failing: RefCell<BTreeMap<String, Kind>>,
    /// Buffers of segments that were stored. New ones would accumulate in the allocator.
    buffers: RefCell<Vec<Vec<u8>>>,
    observer: &'a dyn Fn(ReceiveEvent<'_>),
}

impl<'a> Storage<'a> {
    /// Opens the archive.
    pub(super) fn open(
        (config, settings): (&'a Config, &'a WalArchive),
        folder: WalFolder,
        size: SegmentSize,
        observer: &'a dyn Fn(ReceiveEvent<'_>),
    ) -> Result<Self> {
        let archiver = RefCell::new(Rc::new(open(config, settings, &folder)?));
        Ok(Self {
            config,
            settings,
            folder,
            size,
            archiver,
            failing: RefCell::default(),
            buffers: RefCell::default(),
            observer,
        })
    }

    /// Reports an event.
    pub(super) fn report(&self, event: ReceiveEvent<'_>) {
        (self.observer)(event);
    }

    /// Returns a buffer for a segment, with any content.
    pub(super) fn buffer(&self) -> Vec<u8> {
        let used = self.buffers.borrow_mut().pop();
        used.unwrap_or_else(|| Vec::with_capacity(self.size.bytes() as usize))
    }

    /// Keeps the buffer of a segment that was stored, unless it is still in use.
    fn recycle(&self, content: Bytes) {
        if content.len() == self.size.bytes() as usize
            && let Ok(content) = content.try_into_mut()
        {
            self.buffers.borrow_mut().push(content.into());
        }
    }

    /// Stores a whole segment.
    pub(super) async fn store_segment(&self, segment: Segment, content: Bytes) -> Result<()> {
        let name = segment_name(&segment.name(self.size))?;
        self.store(name, content, FURTHER_TIMEOUT).await
    }

    /// Stores the beginning of a segment, with zeros up to its size.
    pub(super) async fn store_partial(&self, segment: Segment, content: Bytes) -> Result<()> {
        let name = segment_name(&format!("{}.partial", segment.name(self.size)))?;
        self.store(name, content, FURTHER_TIMEOUT_OF_PARTIAL).await
    }

    /// Stores a file at every required destination, however long that takes.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Refused`] if the content does not belong to the name.
    pub(super) async fn store(&self, name: ArchiveName, content: Bytes, further: Duration) -> Result<()> {
        let (system_identifier, size) = (self.folder.system_identifier, self.size);
        let file = blocking(move || WalFile::of(name, content, system_identifier, size)).await?;
        // A partial segment may end within a record.
        if let Some(damage) = file.damage.as_ref().filter(|_| matches!(name, ArchiveName::Segment(_))) {
            self.report(ReceiveEvent::Damaged { name, damage });
        }
        let mut retries = Retries::new(name.to_string(), lasting());
        loop {
            let archiver = Rc::clone(&self.archiver.borrow());
            let stored = archiver.store(&file, further).await;
            archiver.note(&stored);
            self.report_changes(name, &stored);
            let first = match stored.failed.into_iter().next() {
                Some((_, error)) if !stored.is_archived => error,
                _ => {
                    self.recycle(file.bytes);
                    return Ok(());
                }
            };
            // The archive does not end, however long the destination is away.
            retries.pause(&first).await;
            // A destination that could not be opened is opened again.
            self.archiver.replace(Rc::new(open(self.config, self.settings, &self.folder)?));
        }
    }

    /// Reports each destination that fails now and did not before, and the other way round.
    fn report_changes(&self, name: ArchiveName, stored: &Stored) {
        let mut failing = self.failing.borrow_mut();
        for (destination, error) in &stored.failed {
            if failing.insert(destination.clone(), error.kind()).is_none() {
                let is_required = !stored.is_archived;
                self.report(ReceiveEvent::NotStored { name, destination, error, is_required });
            }
        }
        for destination in &stored.stored {
            if failing.remove(destination).is_some() {
                self.report(ReceiveEvent::StoredAgain { destination });
            }
        }
    }

    /// Returns the whole segments that the required destinations have. A destination that cannot be
    /// listed counts as empty: its segments are received again.
    pub(super) async fn segments(&self) -> BTreeSet<Segment> {
        let archiver = Rc::clone(&self.archiver.borrow());
        let mut found: BTreeMap<Segment, BTreeSet<String>> = BTreeMap::new();
        for (destination, archive) in archiver.archives() {
            let listed = async { archive.as_ref().map_err(Clone::clone)?.list_all().await };
            match listed.await {
                Ok(files) => {
                    for (file, _) in files {
                        if let ArchiveName::Segment(name) = file.name
                            && let Ok(segment) = name.segment(self.size)
                        {
                            found.entry(segment).or_default().insert(destination.clone());
                        }
                    }
                }
                Err(error) => self.report(ReceiveEvent::NotListed { destination, error: &error }),
            }
        }
        found.into_iter().filter(|(_, at)| archiver.is_met(at)).map(|(segment, _)| segment).collect()
    }
}

fn open<'a>(config: &Config, settings: &'a WalArchive, folder: &WalFolder) -> Result<Archiver<'a>> {
    Archiver::open(config, settings, folder.clone(), PushState::open(config, folder))
}

fn segment_name(name: &str) -> Result<ArchiveName> {
    name.parse()
        .map_err(|error| Error::new(Stage::Ship, Kind::Failed, name, "not the name of a segment").because(error))
}
