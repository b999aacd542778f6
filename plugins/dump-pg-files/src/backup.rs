//! A backup as a stream, which ends cleanly only after the server has confirmed the backup.

use std::collections::BTreeMap;
use std::mem;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use longshore_core::stage::DumpNotes;
use longshore_core::stream::{ByteStream, OnEnd};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::control::{self, Control};
use longshore_pg_base::label;
use longshore_pg_base::settings::{DamagedPages, Wal};
use longshore_pg_base::tablespace_map;
use longshore_pg_base::write::{Listing as InManifest, Origin};
use tokio::time::Instant;

use crate::BASE;
use crate::listing::{Entry, Listing};
use crate::location::{self, Location};
use crate::reader::{Block, Choices, Part, Reader};
use crate::session::{BackupEnd, QUERY_INTERVAL};
use crate::snapshot::Held;
use crate::source::Source;
use crate::tar::Tar;
use crate::wal::{self, STATUS_FOLDER};

/// The first major version whose manifests contain the system identifier.
const IDENTIFIED_SINCE: u32 = 17;

/// The most pages that an error names.
const MOST_NAMED: usize = 20;

/// A backup whose files have been listed.
pub(crate) struct Backup {
    pub(crate) source: Source,
    /// The live data directory.
    pub(crate) live_data: PathBuf,
    /// The folders to read.
    pub(crate) location: Location,
    pub(crate) listing: Listing,
    pub(crate) choices: Choices,
    pub(crate) major: u32,
    pub(crate) wal: Wal,
    pub(crate) damaged_pages: DamagedPages,
    /// The snapshot to read, if the files are not the live ones.
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) warnings: Vec<String>,
}

/// A snapshot of a backup that the server has already stopped.
pub(crate) struct Snapshot {
    /// The snapshot, if it is to be removed after the last file.
    pub(crate) held: Option<Held>,
    pub(crate) end: BackupEnd,
}

/// A part of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Files,
    Wal,
}

/// The pages whose checksums are wrong.
#[derive(Debug, Default)]
struct Damage {
    count: usize,
    first: Vec<String>,
}

impl Damage {
    fn add(&mut self, path: &[u8], block: &Block) {
        for number in &block.damaged {
            self.count += 1;
            if self.first.len() < MOST_NAMED {
                self.first.push(format!("block {number} of {}", String::from_utf8_lossy(path)));
            }
        }
    }

    /// Fails if there are such pages.
    fn expect_none(&self) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let more = self.count.saturating_sub(self.first.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let error = Error::new(Stage::Dump, Kind::Corrupt, BASE, "the files contain pages with wrong checksums");
        Err(error.because(format!("{}{more}", self.first.join(", "))).hint(
            "check the server's disk and repair the damaged files; damaged_pages = \"record\" backs the cluster up as \
             it is",
        ))
    }
}

impl Backup {
    /// Returns the bytes of the tar. Dropping the stream ends the session: the server then ends the
    /// backup, and drops the slot.
    pub(crate) fn into_stream(self, notes: OnEnd<DumpNotes>) -> ByteStream {
        let Self {
            mut source,
            live_data,
            location,
            mut listing,
            choices,
            major,
            wal,
            damaged_pages,
            snapshot,
            mut warnings,
        } = self;
        let live = Location { data: live_data, tablespaces: BTreeMap::new() };
        let (held, mut end) = snapshot.map_or((None, None), |Snapshot { held, end }| (held, Some(end)));
        // The live files precede the end of the backup. Those of a snapshot follow it, so that the
        // server need not keep the WAL while they are read.
        let passes = if end.is_some() { [Pass::Wal, Pass::Files] } else { [Pass::Files, Pass::Wal] };
        let stream = async_stream::try_stream! {
            warnings.extend(listing.warning());
            let mut tar = Tar::default();
            let mut damage = Damage::default();
            let mut member: Box<[u8]> = Box::default();
            let mut next_query = Instant::now() + QUERY_INTERVAL;
            let mut range = None;
            let mut wal_names = Vec::new();
            let mut control_file = None;
            for pass in passes {
                let mut reader = match pass {
                    Pass::Files => start(&location, mem::take(&mut listing.entries), choices)?,
                    Pass::Wal => {
                        let (control, content) = read_control(&location.data).await?;
                        let end = match &mut end {
                            Some(end) => &*end,
                            none => none.insert(source.end().await?),
                        };
                        if let Some(label) = &end.label {
                            tar.whole_file(label::NAME, label, InManifest::Listed)?;
                        }
                        if !end.tablespace_map.is_empty() {
                            tar.whole_file(tablespace_map::NAME, &end.tablespace_map, InManifest::Listed)?;
                        }
                        range = Some((end.range, control.system_identifier));
                        control_file = Some(content);
                        if wal == Wal::Include {
                            wal_names = wal::files(&live.data, end.range, control.wal_segment_size)?;
                        }
                        let entries = wal_names.iter().map(|name| Entry::File(wal::member(name))).collect();
                        start(&live, entries, Choices { check_pages_since: None, ..choices })?
                    }
                };
                while let Some(part) = reader.next().await? {
                    match (part, pass) {
                        (Part::Directory(path, attributes), _) => tar.directory(&path, attributes)?,
                        (Part::File { path, size_bytes, attributes }, pass) => {
                            member.clone_from(&path);
                            let listed = if pass == Pass::Wal { InManifest::Unlisted } else { InManifest::Listed };
                            tar.begin_file(path, size_bytes, attributes, listed)?;
                        }
                        (Part::Data(block), _) => {
                            damage.add(&member, &block);
                            tar.data(&block);
                        }
                        (Part::FileEnd, _) => tar.end_file()?,
                        // A relation that was dropped, which replay of the WAL drops, too.
                        (Part::Missing(_), Pass::Files) => {}
                        (Part::Missing(path), Pass::Wal) => Err(wal::missing(&path))?,
                    }
                    while let Some(chunk) = tar.chunk() {
                        yield chunk;
                    }
                    if end.is_none() && Instant::now() >= next_query {
                        source.expect_alive().await?;
                        next_query = Instant::now() + QUERY_INTERVAL;
                    }
                }
                if pass == Pass::Wal {
                    // As a server does it, so that a restored cluster archives no segment again.
                    for name in &wal_names {
                        tar.whole_file(&format!("{STATUS_FOLDER}/{name}.done"), b"", InManifest::Unlisted)?;
                    }
                    source.release().await?;
                }
            }
            let (range, system_identifier) = range.ok_or_else(|| Error::new(Stage::Dump, Kind::Failed, BASE, "has no WAL"))?;
            tar.whole_file(control::PATH, &control_file.unwrap_or_default(), InManifest::Listed)?;
            if damaged_pages == DamagedPages::Fail {
                damage.expect_none()?;
            }
            if let Some(held) = held
                && let Err(error) = held.remove().await
            {
                warnings.push(format!("the snapshot is left behind, and the next run removes it: {}", error.chain()));
            }
            let system_identifier = (major >= IDENTIFIED_SINCE).then_some(system_identifier);
            tar.finish(Origin { system_identifier }, range)?;
            while let Some(chunk) = tar.chunk() {
                yield chunk;
            }
            let (finished, details) = (end.and_then(|end| end.time), source.details());
            notes.set(DumpNotes { warnings, finished, details, ..DumpNotes::default() });
        };
        stream.boxed()
    }
}

fn start(location: &Location, entries: Vec<Entry>, choices: Choices) -> Result<Reader> {
    Reader::start(location.clone(), entries, choices)
        .map_err(|error| Error::io(Stage::Dump, BASE, "cannot start the threads that read files", error))
}

/// Reads pg_control on a thread that may block.
async fn read_control(data: &Path) -> Result<(Control, Vec<u8>)> {
    let data = data.to_owned();
    let read = tokio::task::spawn_blocking(move || location::control(&data)).await;
    read.map_err(|error| Error::new(Stage::Dump, Kind::Failed, BASE, "cannot read pg_control").because(error))?
}
