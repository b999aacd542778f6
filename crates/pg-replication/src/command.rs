//! Replication commands with small results: facts, settings, replication slots.
//!
//! Source: the page "Streaming Replication Protocol" of PostgreSQL's manual, and `repl_gram.y`.

mod literal;

use bytes::Bytes;
use longshore_pg_wal::Lsn;

use crate::connection::{Connection, Rows};
use crate::error::{Error, Result};

pub(crate) use literal::{identifier, string};

/// The identity of a server, and the end of its WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemIdentity {
    /// The number that `initdb` gave the cluster. Standbys and restored copies have the same.
    pub system_identifier: u64,
    /// The current timeline.
    pub timeline: u32,
    /// The flushed WAL position, or the replayed one of a standby.
    pub position: Lsn,
}

/// A physical replication slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The oldest WAL that the slot reserves, if it reserves any.
    pub restart_lsn: Option<Lsn>,
    /// The timeline of `restart_lsn`.
    pub restart_timeline: Option<u32>,
}

/// The lifetime of a replication slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotLifetime {
    /// The slot exists until it is dropped. It reserves WAL meanwhile, without a limit by default.
    Permanent,
    /// The server drops the slot when the connection ends.
    Temporary,
}

/// The WAL that a new slot reserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalReservation {
    /// The WAL from now on.
    Immediate,
    /// No WAL before a client streams from the slot.
    Deferred,
}

impl Connection {
    /// Returns the identity of the server.
    pub async fn identify_system(&mut self) -> Result<SystemIdentity> {
        const SUBJECT: &str = "IDENTIFY_SYSTEM";
        let rows = self.query(SUBJECT).await?;
        let row = only_row(SUBJECT, &rows)?;
        Ok(SystemIdentity {
            system_identifier: number(SUBJECT, row, 0)?,
            timeline: number(SUBJECT, row, 1)?,
            position: number(SUBJECT, row, 2)?,
        })
    }

    /// Returns the value of a server setting, such as `wal_segment_size`, in the form that `SHOW`
    /// prints.
    pub async fn show(&mut self, setting: &str) -> Result<String> {
        let name: Vec<String> = setting.split('.').map(identifier).collect();
        let rows = self.query(&format!("SHOW {}", name.join("."))).await?;
        number("SHOW", only_row("SHOW", &rows)?, 0)
    }

    /// Creates a physical replication slot.
    ///
    /// # Errors
    /// SQLSTATE 42710 if the slot exists, 53400 if `max_replication_slots` are in use.
    pub async fn create_slot(&mut self, name: &str, lifetime: SlotLifetime, reservation: WalReservation) -> Result<()> {
        let temporary = if lifetime == SlotLifetime::Temporary { " TEMPORARY" } else { "" };
        let reserve = if reservation == WalReservation::Immediate { " (RESERVE_WAL true)" } else { "" };
        let name = identifier(name);
        let rows = self.query(&format!("CREATE_REPLICATION_SLOT {name}{temporary} PHYSICAL{reserve}")).await?;
        only_row("CREATE_REPLICATION_SLOT", &rows).map(|_| ())
    }

    /// Returns a physical replication slot, or `None` if there is no slot of that name.
    ///
    /// # Errors
    /// SQLSTATE 0A000 if the slot is a logical one.
    pub async fn read_slot(&mut self, name: &str) -> Result<Option<Slot>> {
        const SUBJECT: &str = "READ_REPLICATION_SLOT";
        let rows = self.query(&format!("{SUBJECT} {}", identifier(name))).await?;
        let row = only_row(SUBJECT, &rows)?;
        if column(row, 0).is_none() {
            return Ok(None);
        }
        let restart_lsn = column(row, 1).is_some().then(|| number(SUBJECT, row, 1)).transpose()?;
        let restart_timeline = column(row, 2).is_some().then(|| number(SUBJECT, row, 2)).transpose()?;
        Ok(Some(Slot { restart_lsn, restart_timeline }))
    }

    /// Drops a replication slot.
    ///
    /// # Errors
    /// SQLSTATE 42704 if there is no such slot, 55006 if it is in use.
    pub async fn drop_slot(&mut self, name: &str) -> Result<()> {
        self.query(&format!("DROP_REPLICATION_SLOT {}", identifier(name))).await.map(|_| ())
    }
}

/// Returns the only row of a result.
pub(crate) fn only_row<'a>(subject: &str, rows: &'a Rows) -> Result<&'a [Option<Bytes>]> {
    match rows.as_slice() {
        [row] => Ok(row),
        _ => Err(Error::protocol(subject, format!("{} rows instead of 1", rows.len()))),
    }
}

/// Returns the value of a column, unless it is null or missing.
pub(crate) fn column(row: &[Option<Bytes>], index: usize) -> Option<&Bytes> {
    row.get(index).and_then(Option::as_ref)
}

/// Parses the text of a column, which must not be null.
pub(crate) fn number<T: std::str::FromStr>(subject: &str, row: &[Option<Bytes>], index: usize) -> Result<T> {
    let text = column(row, index).map(|value| String::from_utf8_lossy(value));
    let parsed = text.as_ref().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Error::protocol(subject, format!("column {index} is {text:?}")))
}
