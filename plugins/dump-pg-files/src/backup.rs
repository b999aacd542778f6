//! A backup as a stream, which ends cleanly only after the server has confirmed the backup.

use std::path::Path;

use futures_util::StreamExt;
use longshore_core::stage::DumpNotes;
use longshore_core::stream::{ByteStream, OnEnd};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::control::{self, Control};
use longshore_pg_base::label::{self, BackupLabel};
use longshore_pg_base::manifest::WalRange;
use longshore_pg_base::settings::{DamagedPages, Wal};
use longshore_pg_base::tablespace_map;
use longshore_pg_base::write::{Listing as InManifest, Origin};
use longshore_pg_client::cluster_files;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::BASE;
use crate::listing::{Entry, Listing};
use crate::location::{self, Location};
use crate::reader::{Block, Choices, Part, Reader};
use crate::session::{BackupEnd, BackupSession, QUERY_INTERVAL};
use crate::tar::Tar;
use crate::wal::{self, STATUS_FOLDER};

/// The first major version whose manifests contain the system identifier.
const IDENTIFIED_SINCE: u32 = 17;

/// The most pages that an error names.
const MOST_NAMED: usize = 20;

/// A backup whose files have been listed.
pub(crate) struct Backup {
    pub(crate) session: BackupSession,
    pub(crate) location: Location,
    pub(crate) listing: Listing,
    pub(crate) choices: Choices,
    pub(crate) major: u32,
    pub(crate) wal: Wal,
    pub(crate) damaged_pages: DamagedPages,
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
        let Self { mut session, location, listing, choices, major, wal, damaged_pages } = self;
        let stream = async_stream::try_stream! {
            let warnings: Vec<String> = listing.warning().into_iter().collect();
            let mut tar = Tar::default();
            let mut damage = Damage::default();
            let mut member: Box<[u8]> = Box::default();
            let mut reader = start(&location, listing.entries, choices)?;
            let mut next_query = Instant::now() + QUERY_INTERVAL;
            while let Some(part) = reader.next().await? {
                match part {
                    Part::Directory(path, attributes) => tar.directory(&path, attributes)?,
                    Part::File { path, size_bytes, attributes } => {
                        member.clone_from(&path);
                        tar.begin_file(path, size_bytes, attributes, InManifest::Listed)?;
                    }
                    Part::Data(block) => {
                        damage.add(&member, &block);
                        tar.data(&block);
                    }
                    Part::FileEnd => tar.end_file()?,
                    // A relation that was dropped, which replay of the WAL drops, too.
                    Part::Missing(_) => {}
                }
                while let Some(chunk) = tar.chunk() {
                    yield chunk;
                }
                if Instant::now() >= next_query {
                    session.expect_alive().await?;
                    next_query = Instant::now() + QUERY_INTERVAL;
                }
            }
            // A standby is consistent at a position in pg_control, so all other files precede it.
            let (control, control_file) = read_control(&location.data).await?;
            let end = session.stop().await?;
            let label = BackupLabel::parse(&end.label).map_err(malformed)?;
            tar.whole_file(label::NAME, &end.label, InManifest::Listed)?;
            if !end.tablespace_map.is_empty() {
                tar.whole_file(tablespace_map::NAME, &end.tablespace_map, InManifest::Listed)?;
            }
            tar.whole_file(control::PATH, &control_file, InManifest::Listed)?;
            let range = WalRange { timeline: label.start_timeline, start: label.start_lsn, end: end.stop_lsn };
            if wal == Wal::Include {
                let files = wal::files(&location.data, range, control.wal_segment_size)?;
                let names = files.clone();
                let entries = files.into_iter().map(|name| Entry::File(wal::member(&name))).collect();
                let mut reader = start(&location, entries, Choices { check_pages_since: None, ..choices })?;
                while let Some(part) = reader.next().await? {
                    match part {
                        Part::File { path, size_bytes, attributes } => {
                            tar.begin_file(path, size_bytes, attributes, InManifest::Unlisted)?;
                        }
                        Part::Data(block) => tar.data(&block),
                        Part::FileEnd => tar.end_file()?,
                        Part::Missing(path) => Err(wal::missing(&path))?,
                        Part::Directory(..) => {}
                    }
                    while let Some(chunk) = tar.chunk() {
                        yield chunk;
                    }
                }
                // As a server does it, so that a restored cluster archives no segment again.
                for name in names {
                    tar.whole_file(&format!("{STATUS_FOLDER}/{name}.done"), b"", InManifest::Unlisted)?;
                }
            }
            let details = details(&session);
            let BackupEnd { time, .. } = end;
            session.close().await?;
            if damaged_pages == DamagedPages::Fail {
                damage.expect_none()?;
            }
            let system_identifier = (major >= IDENTIFIED_SINCE).then_some(control.system_identifier);
            tar.finish(Origin { system_identifier }, range)?;
            while let Some(chunk) = tar.chunk() {
                yield chunk;
            }
            notes.set(DumpNotes { warnings, finished: Some(time), details, ..DumpNotes::default() });
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

fn malformed(error: longshore_pg_base::Error) -> Error {
    Error::new(Stage::Dump, Kind::Failed, BASE, "the server sent a malformed backup_label").because(error.to_string())
}

/// Returns the confidential details: the tablespaces.
fn details(session: &BackupSession) -> Map<String, Value> {
    let tablespaces = &session.facts.tablespaces;
    let names = tablespaces.iter().map(|(oid, (name, _))| (oid.to_string(), name.clone())).collect();
    cluster_files::details(tablespaces.iter().map(|(oid, (_, path))| (*oid, path.as_path())), &names)
}
