//! Base backups: the server's archives and its manifest, as they arrive.
//!
//! A backup is good only if the server confirms it at the very end: a page with a wrong checksum
//! is reported after the last byte of the last archive. [`BaseBackup::next`] returns `None` only
//! after the server confirmed everything.
//!
//! ```no_run
//! use longshore_pg_replication::base_backup::Options;
//! use longshore_pg_replication::{Event, Parameters, Result, connect};
//!
//! # async fn example(parameters: Parameters) -> Result<()> {
//!
//! let mut backup = connect(&parameters).await?.base_backup(&Options::default()).await?;
//! let mut data_bytes = 0;
//! while let Some(event) = backup.next().await? {
//!     if let Event::Data(data) = event {
//!         data_bytes += data.len();
//!     }
//! }
//! let start = backup.start();
//! let (end, connection) = backup.finish()?;
//! assert!(start.position <= end.position);
//! connection.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! | file | contents |
//! | --- | --- |
//! | `options.rs` | the options of a backup |
//! | `event.rs` | the parts of a backup, as the server sends them |
//! | `upload.rs` | the manifest of the previous backup, for an incremental one |
//!
//! Source: BASE_BACKUP on the page "Streaming Replication Protocol" of PostgreSQL's manual,
//! `basebackup.c` and `basebackup_copy.c`.

mod event;
mod options;
#[cfg(test)]
mod tests;
mod upload;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use longshore_pg_wal::Lsn;
use postgres_protocol::message::backend::Message;

use crate::command::{column, number, only_row};
use crate::connection::{Connection, Rows, unexpected};
use crate::error::{Error, Result};
use crate::notice::Notices;

pub use event::Event;
pub use options::{
    BackupKind, Checkpoint, ManifestChecksums, Options, PageChecksums, SizeEstimates, TablespaceMap, Wal,
};

/// The SQLSTATE of pages with wrong checksums.
const DATA_CORRUPTED: &str = "XX001";

/// The subject of errors.
const SUBJECT: &str = "base backup";

/// A position in the WAL, and its timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalPosition {
    /// The position.
    pub position: Lsn,
    /// The timeline.
    pub timeline: u32,
}

/// A tablespace of the cluster, other than `pg_default` and `pg_global`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tablespace {
    /// The OID, which is also the name of its archive.
    pub oid: u32,
    /// The directory on the server.
    pub path: PathBuf,
    /// The estimated size in units of 1024 bytes, if [`SizeEstimates::Measure`].
    pub size_kib: Option<u64>,
}

/// A running base backup. Dropping it closes the connection, and the server then ends the backup.
#[derive(Debug)]
pub struct BaseBackup {
    connection: Connection,
    start: WalPosition,
    tablespaces: Vec<Tablespace>,
    data_directory_kib: Option<u64>,
    page_checksums: PageChecksums,
    phase: Phase,
    has_archive: bool,
    has_manifest: bool,
}

/// The place in the server's answer.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Archives and the manifest.
    Copy,
    /// The result with the end of the backup.
    EndRow(Option<WalPosition>),
    /// The confirmation of the whole command.
    Confirmation(WalPosition),
    /// The server accepts the next command.
    Ended(WalPosition),
    /// A message was an error.
    Failed,
}

impl Connection {
    /// Starts a base backup. The checkpoint at its beginning may take minutes
    /// ([`Checkpoint::Spread`]).
    ///
    /// # Errors
    /// [`Error::Argument`] if an option is out of range, or if the server's version does not know
    /// it.
    pub async fn base_backup(mut self, options: &Options) -> Result<BaseBackup> {
        if options.kind == BackupKind::Incremental {
            upload::require_incremental(&self)?;
        }
        self.send_command(&options.command()?).await?;
        let start = wal_position(&self.receive_rows().await?)?;
        let (tablespaces, data_directory_kib) = tablespaces(&self.receive_rows().await?)?;
        match self.receive().await? {
            Message::CopyOutResponse(_) => Ok(BaseBackup {
                connection: self,
                start,
                tablespaces,
                data_directory_kib,
                page_checksums: options.page_checksums,
                phase: Phase::Copy,
                has_archive: false,
                has_manifest: false,
            }),
            _ => Err(unexpected(SUBJECT)),
        }
    }
}

impl BaseBackup {
    /// Returns the position from which a restore replays WAL.
    pub fn start(&self) -> WalPosition {
        self.start
    }

    /// Returns the tablespaces.
    pub fn tablespaces(&self) -> &[Tablespace] {
        &self.tablespaces
    }

    /// Returns the estimated size of the data directory without tablespaces, in units of 1024
    /// bytes, if [`SizeEstimates::Measure`].
    pub fn data_directory_kib(&self) -> Option<u64> {
        self.data_directory_kib
    }

    /// Returns the notices so far, such as the warnings that name pages with wrong checksums.
    pub fn notices(&self) -> &Notices {
        self.connection.notices()
    }

    /// Returns the next part of the backup, or `None` after the server confirmed that the backup is
    /// complete. If the future is dropped, no part is lost.
    ///
    /// # Errors
    /// [`Error::Server`] if the server reports an error, even after the last byte: SQLSTATE XX001
    /// means pages with wrong checksums. [`Error::Lost`] if the connection ends early. After an
    /// error, the backup is void.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        if let Phase::Ended(_) = self.phase {
            return Ok(None);
        }
        let next = self.receive().await;
        if next.is_err() {
            self.phase = Phase::Failed;
        }
        next
    }

    async fn receive(&mut self) -> Result<Option<Event>> {
        if matches!(self.phase, Phase::Failed) {
            return Err(Error::protocol(SUBJECT, "has failed already"));
        }
        loop {
            let message = match (self.phase, self.connection.receive().await) {
                // The server reports wrong checksums after it has sent everything.
                (Phase::Confirmation(_), Err(Error::Server(error)))
                    if self.page_checksums == PageChecksums::Report
                        && error.sqlstate == DATA_CORRUPTED
                        && !error.ends_connection() =>
                {
                    continue;
                }
                (_, message) => message?,
            };
            match (self.phase, message) {
                (Phase::Copy, Message::CopyData(body)) => match event::decode(body.into_bytes())? {
                    Event::Data(data) if data.is_empty() => {}
                    Event::Data(_) if !self.has_archive && !self.has_manifest => return Err(unexpected(SUBJECT)),
                    event => {
                        self.has_archive |= matches!(event, Event::Archive { .. });
                        self.has_manifest |= matches!(event, Event::Manifest);
                        return Ok(Some(event));
                    }
                },
                (Phase::Copy, Message::CopyDone) if self.has_archive && self.has_manifest => {
                    self.phase = Phase::EndRow(None);
                }
                (Phase::Copy, Message::CopyDone) => {
                    let missing = if self.has_archive { "manifest" } else { "archive" };
                    return Err(Error::protocol(SUBJECT, format!("the server sent no {missing}")));
                }
                (Phase::EndRow(None), Message::RowDescription(_)) => {}
                (Phase::EndRow(None), Message::DataRow(row)) => {
                    let row = crate::connection::columns(&row)?;
                    self.phase = Phase::EndRow(Some(wal_position(&vec![row])?));
                }
                (Phase::EndRow(Some(end)), Message::CommandComplete(_)) => self.phase = Phase::Confirmation(end),
                (Phase::Confirmation(_), Message::CommandComplete(_)) => {}
                (Phase::Confirmation(end), Message::ReadyForQuery(_)) => {
                    self.phase = Phase::Ended(end);
                    return Ok(None);
                }
                _ => return Err(unexpected(SUBJECT)),
            }
        }
    }

    /// Returns the end of the backup, up to which a restore must replay WAL, and the connection.
    ///
    /// # Errors
    /// If [`Self::next`] has not returned `None` before.
    pub fn finish(self) -> Result<(WalPosition, Connection)> {
        match self.phase {
            Phase::Ended(end) => Ok((end, self.connection)),
            _ => Err(Error::protocol(SUBJECT, "has not ended")),
        }
    }
}

fn wal_position(rows: &Rows) -> Result<WalPosition> {
    let row = only_row(SUBJECT, rows)?;
    Ok(WalPosition { position: number(SUBJECT, row, 0)?, timeline: number(SUBJECT, row, 1)? })
}

/// Returns the tablespaces and the size of the data directory, which is the row without an OID.
fn tablespaces(rows: &Rows) -> Result<(Vec<Tablespace>, Option<u64>)> {
    let (mut tablespaces, mut data_directory_kib) = (Vec::new(), None);
    for row in rows {
        let size_kib = column(row, 2).is_some().then(|| number(SUBJECT, row, 2)).transpose()?;
        match column(row, 1) {
            Some(path) if column(row, 0).is_some() => {
                let path = PathBuf::from(OsString::from_vec(path.to_vec()));
                tablespaces.push(Tablespace { oid: number(SUBJECT, row, 0)?, path, size_kib });
            }
            _ => data_directory_kib = size_kib,
        }
    }
    Ok((tablespaces, data_directory_kib))
}
