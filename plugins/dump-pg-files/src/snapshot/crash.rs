//! Backups from one snapshot of everything, without a backup at the server: a server that starts on
//! the copy recovers as after a crash.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_base::control::{Control, State};
use longshore_pg_base::manifest::WalRange;
use longshore_pg_client::cluster_files;
use longshore_pg_wal::segment::Segment;
use longshore_pg_wal::walk::{self, ReadError};
use longshore_pg_wal::{History, Lsn};
use serde_json::{Map, Value};

use crate::location::{self, Location, unreadable};
use crate::session::{BackupEnd, ServerFacts};
use crate::source::tablespace_map;
use crate::wal;

/// A cluster in a snapshot that was made while its server wrote.
#[derive(Debug)]
pub(crate) struct CrashedCluster {
    pub(crate) control: Control,
    /// The content of the backup that no server composed.
    pub(crate) end: BackupEnd,
    /// The confidential details: the tablespaces.
    pub(crate) details: Map<String, Value>,
}

impl CrashedCluster {
    /// Reads the state of a cluster in a snapshot. `facts` and `live` are those of the server.
    pub(crate) fn read(snapshot: &Location, facts: &ServerFacts, live: &Location) -> Result<Self> {
        let (control, _) = location::control(&snapshot.data)?;
        let subject = snapshot.data.display().to_string();
        if control.state != State::InProduction {
            let message = "not the files of a primary in production, which is all that the setting supports";
            return Err(Error::new(Stage::Dump, Kind::Refused, subject, message)
                .hint("set consistency = \"backup\", or run the backup again"));
        }
        let range = WalRange { timeline: control.timeline, start: control.redo, end: end_of_wal(snapshot, &control)? };
        let names: BTreeMap<_, _> =
            facts.tablespaces.iter().map(|(oid, (name, _))| (oid.to_string(), name.clone())).collect();
        let paths = live.tablespaces.iter().map(|(oid, path)| (*oid, path.as_path()));
        Ok(Self {
            end: BackupEnd { range, label: None, tablespace_map: tablespace_map(live), time: None },
            details: cluster_files::details(paths, &names),
            control,
        })
    }
}

/// Returns the position after the last record, where a server that recovers continues to write.
///
/// # Errors
///
/// Fails if the snapshot lacks WAL that the recovery needs.
fn end_of_wal(snapshot: &Location, control: &Control) -> Result<Lsn> {
    let Control { timeline, redo, checkpoint, wal_segment_size: size, .. } = *control;
    let folder = wal::folder(&snapshot.data);
    let refused = |message: String| {
        Error::new(Stage::Dump, Kind::Refused, folder.display().to_string(), message)
            .hint("set consistency = \"backup\": then the WAL is read from the server")
    };
    for entry in folder.read_dir().map_err(|error| unreadable(&folder, error))? {
        let name = entry.map_err(|error| unreadable(&folder, error))?.file_name().into_string().unwrap_or_default();
        if History::timeline_in_name(&name).is_some_and(|other| other > timeline) {
            return Err(refused("the server was promoted, and has made no checkpoint since".to_owned())
                .hint("run the backup again after a checkpoint"));
        }
    }
    let mut segment = Segment::containing(timeline, redo, size);
    let (mut end, mut missing_bytes) = (Lsn::INVALID, None);
    loop {
        let path = wal::path(&snapshot.data, &segment.name(size));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(unreadable(&path, error)),
        };
        let found = match walk::read(file) {
            Ok(found) => found,
            Err(ReadError::Io(error)) => return Err(unreadable(&path, error)),
            // A segment that the server has prepared.
            Err(ReadError::Header(_)) => break,
        };
        // Else the segment has its former content, or does not continue the one before.
        let continues = missing_bytes.is_none_or(|missing| missing == found.continuation_bytes);
        if found.start != segment.start(size) || !continues {
            break;
        }
        end = end.max(found.end_of_records);
        if !found.is_complete() {
            break;
        }
        missing_bytes = Some(found.unfinished_record.map_or(0, |record| record.missing_bytes));
        segment.number += 1;
    }
    match end > checkpoint {
        true => Ok(end),
        false => Err(refused(format!("the snapshot lacks the WAL of the last checkpoint, at {checkpoint}"))),
    }
}
