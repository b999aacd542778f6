//! The source of a backup: a server with a backup in progress, or a cluster that was shut down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use longshore_core::{Error, Kind, Result, Stage, regular_file};
use longshore_pg_base::control::{Control, State};
use longshore_pg_base::manifest::WalRange;
use longshore_pg_base::tablespace_map::{TablespaceMap, TablespacePlace};
use longshore_pg_client::cluster_files;
use longshore_pg_wal::Lsn;
use longshore_pg_wal::record_end::record_end;
use longshore_pg_wal::segment::Segment;
use serde_json::{Map, Value};

use crate::location::{self, Location, PID_FILE, unreadable};
use crate::session::{BackupEnd, BackupSession};
use crate::snapshot::CrashedCluster;

/// The source of a backup.
pub(crate) enum Source {
    /// A server with a backup in progress.
    Running(Box<BackupSession>),
    /// A cluster that was shut down, whose files are a backup as they are.
    Stopped(StoppedCluster),
    /// A cluster in one snapshot of everything, without a backup at the server.
    Crashed(CrashedCluster),
}

impl Source {
    /// Returns the position where recovery begins. Older damage of a page is not repaired.
    pub(crate) fn start_lsn(&self) -> Lsn {
        match self {
            Self::Running(session) => session.start_lsn,
            Self::Stopped(cluster) => cluster.control.redo,
            Self::Crashed(cluster) => cluster.control.redo,
        }
    }

    /// Returns true if the pages have checksums.
    pub(crate) fn has_checksums(&self) -> bool {
        match self {
            Self::Running(session) => session.facts.data_checksums == "on",
            Self::Stopped(cluster) => cluster.control.data_checksum_version != 0,
            Self::Crashed(cluster) => cluster.control.data_checksum_version != 0,
        }
    }

    /// Fails if the backup has ended by itself.
    pub(crate) async fn expect_alive(&mut self) -> Result<()> {
        match self {
            Self::Running(session) => session.expect_alive().await,
            Self::Stopped(cluster) => cluster.expect_unchanged(),
            Self::Crashed(_) => Ok(()),
        }
    }

    /// Ends the backup after the last file was read.
    pub(crate) async fn end(&mut self) -> Result<BackupEnd> {
        match self {
            Self::Running(session) => session.stop().await,
            Self::Stopped(cluster) => cluster.end(),
            Self::Crashed(cluster) => Ok(cluster.end.clone()),
        }
    }

    /// Releases the WAL of the backup, after it was read.
    pub(crate) async fn release(&mut self) -> Result<()> {
        match self {
            Self::Running(session) => session.release().await,
            Self::Stopped(cluster) => cluster.expect_unchanged(),
            Self::Crashed(_) => Ok(()),
        }
    }

    /// Returns the confidential details: the tablespaces.
    pub(crate) fn details(&self) -> Map<String, Value> {
        match self {
            Self::Running(session) => {
                let tablespaces = &session.facts.tablespaces;
                let names = tablespaces.iter().map(|(oid, (name, _))| (oid.to_string(), name.clone())).collect();
                cluster_files::details(tablespaces.iter().map(|(oid, (_, path))| (*oid, path.as_path())), &names)
            }
            Self::Stopped(cluster) => {
                let tablespaces = cluster.location.tablespaces.iter().map(|(oid, path)| (*oid, path.as_path()));
                cluster_files::details(tablespaces, &BTreeMap::new())
            }
            Self::Crashed(cluster) => cluster.details.clone(),
        }
    }
}

/// Returns the content of `tablespace_map` as a server composes it.
pub(crate) fn tablespace_map(location: &Location) -> Vec<u8> {
    let place = |(oid, path): (&u32, &PathBuf)| TablespacePlace {
        oid: *oid,
        path: path.as_os_str().as_encoded_bytes().to_vec(),
    };
    TablespaceMap::new(location.tablespaces.iter().map(place).collect()).to_bytes()
}

/// A cluster that was shut down.
#[derive(Debug)]
pub(crate) struct StoppedCluster {
    pub(crate) location: Location,
    pub(crate) control: Control,
    /// The content of pg_control.
    content: Vec<u8>,
}

impl StoppedCluster {
    /// Returns the cluster in a folder, if it was shut down and no server runs.
    pub(crate) fn at(data: &Path) -> Result<Option<Self>> {
        if data.join(PID_FILE).exists() {
            return Ok(None);
        }
        let (control, content) = location::control(data)?;
        if control.state != State::ShutDown {
            return Ok(None);
        }
        let location = Location::of(data).map_err(|error| unreadable(data, error))?;
        Ok(Some(Self { location, control, content }))
    }

    /// Returns the major version of PostgreSQL.
    pub(crate) fn version(&self) -> Result<String> {
        let path = self.location.data.join("PG_VERSION");
        let content = regular_file::read(&path).map_err(|error| unreadable(&path, error))?;
        Ok(String::from_utf8_lossy(&content).trim_end().to_owned())
    }

    /// Fails if a server has started meanwhile.
    fn expect_unchanged(&self) -> Result<()> {
        let data = &self.location.data;
        if !data.join(PID_FILE).exists() && location::control(data)?.1 == self.content {
            return Ok(());
        }
        let message = "a server was started on the folder during the backup";
        Err(Error::new(Stage::Dump, Kind::Failed, data.display().to_string(), message).hint("run the backup again"))
    }

    fn end(&self) -> Result<BackupEnd> {
        self.expect_unchanged()?;
        let (timeline, start) = (self.control.timeline, self.control.redo);
        let range = WalRange { timeline, start, end: self.checkpoint_end()? };
        Ok(BackupEnd { range, label: None, tablespace_map: tablespace_map(&self.location), time: None })
    }

    /// Returns the position after the record of the last checkpoint, where a server continues.
    fn checkpoint_end(&self) -> Result<Lsn> {
        let Control { timeline, checkpoint, wal_segment_size: size, .. } = self.control;
        let segment = Segment::containing(timeline, checkpoint, size);
        let path = self.location.data.join("pg_wal").join(segment.name(size));
        let content = regular_file::read(&path).map_err(|error| unreadable(&path, error))?;
        let at = usize::try_from(checkpoint.0 - segment.start(size).0).unwrap_or(usize::MAX);
        let length = content.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied().map(u32::from_le_bytes);
        match length {
            Some(length) if length > 0 => Ok(record_end(checkpoint, length, size)),
            _ => {
                let message = format!("has no record of the checkpoint at {checkpoint}");
                Err(Error::new(Stage::Dump, Kind::Corrupt, path.display().to_string(), message))
            }
        }
    }
}
