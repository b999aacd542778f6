//! WAL while the server writes it, and the histories of its timelines.
//!
//! ```no_run
//! use longshore_pg_replication::wal_stream::ReplyRequest;
//! use longshore_pg_replication::{Connection, Result, WalEvent};
//! use longshore_pg_wal::Lsn;
//!
//! # async fn example(connection: Connection, from: Lsn) -> Result<()> {
//! let mut stream = connection.start_replication("longshore", from, 1).await?;
//! loop {
//!     match stream.next().await? {
//!         WalEvent::Data { start, bytes } => {
//!             let durable = Lsn(start.0 + bytes.len() as u64);
//!             stream.report(durable, ReplyRequest::None).await?;
//!         }
//!         WalEvent::Keepalive { .. } => {}
//!         WalEvent::End(end) => break println!("timeline {} begins", end.next_timeline),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Source: START_REPLICATION and TIMELINE_HISTORY on the page "Streaming Replication Protocol" of
//! PostgreSQL's manual, and `walsender.c`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use longshore_pg_wal::Lsn;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend::{self, CopyData};

use crate::command::{column, identifier, number, only_row};
use crate::connection::{Connection, Rows, columns, lost, unexpected};
use crate::error::{Error, Result};

/// The subject of errors.
const SUBJECT: &str = "START_REPLICATION";

/// The time between the Unix epoch and that of PostgreSQL, 2000-01-01, in microseconds.
const POSTGRESQL_EPOCH_MICROSECONDS: u128 = 946_684_800_000_000;

/// A part of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalEvent {
    /// WAL that the server has flushed to its disk.
    Data {
        /// The position of the first byte.
        start: Lsn,
        /// The WAL, at most 1 MiB.
        bytes: Bytes,
    },
    /// A sign of life.
    Keepalive {
        /// The end of the WAL at the server.
        end: Lsn,
        /// True if the server wants a report at once: it closes the connection after
        /// `wal_sender_timeout`, and waits for the flush of all WAL before it shuts down.
        reply_requested: bool,
    },
    /// The end of the timeline. No further event follows.
    End(TimelineEnd),
}

/// The end of a timeline that the server has left for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelineEnd {
    /// The next timeline in the server's history.
    pub next_timeline: u32,
    /// The position at which the next timeline begins.
    pub switch_point: Lsn,
}

/// The history file of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryFile {
    /// The name of the file, such as `00000002.history`.
    pub name: String,
    /// The content.
    pub content: Bytes,
}

/// A request for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyRequest {
    /// The server answers when it has something to send.
    None,
    /// The server answers at once with a [`WalEvent::Keepalive`].
    Immediate,
}

/// WAL from a position on. Dropping it closes the connection.
#[derive(Debug)]
pub struct WalStream {
    connection: Connection,
    phase: Phase,
}

/// The place in the server's answer.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// WAL and keepalives.
    Copy,
    /// The server has ended the copy, and waits for the end of this side's copy.
    CopyDone,
    /// The result with the next timeline.
    EndRow(Option<TimelineEnd>),
    /// The server accepts the next command.
    Ended(TimelineEnd),
}

impl Connection {
    /// Starts to stream WAL of a timeline from a position on. The slot then reserves the WAL after
    /// the positions that are [reported](WalStream::report).
    ///
    /// # Errors
    /// SQLSTATE 58P01 if the server has removed the WAL, here or as the first event, 55000 if the
    /// slot is invalid, 55006 if it is in use, 42704 if there is no such slot.
    pub async fn start_replication(mut self, slot: &str, from: Lsn, timeline: u32) -> Result<WalStream> {
        let slot = identifier(slot);
        self.send_command(&format!("{SUBJECT} SLOT {slot} PHYSICAL {from} TIMELINE {timeline}")).await?;
        let phase = match self.receive_copy_both().await? {
            None => Phase::Copy,
            // The timeline ends at this position.
            Some(Message::RowDescription(_)) => Phase::EndRow(None),
            Some(_) => return Err(unexpected(SUBJECT)),
        };
        Ok(WalStream { connection: self, phase })
    }

    /// Returns the history of a timeline, which the first one does not have.
    ///
    /// # Errors
    /// SQLSTATE 58P01 if the server has no such file.
    pub async fn timeline_history(&mut self, timeline: u32) -> Result<HistoryFile> {
        const SUBJECT: &str = "TIMELINE_HISTORY";
        let rows = self.query(&format!("{SUBJECT} {timeline}")).await?;
        let row = only_row(SUBJECT, &rows)?;
        let content = column(row, 1).ok_or_else(|| Error::protocol(SUBJECT, "the content is null"))?;
        Ok(HistoryFile { name: number(SUBJECT, row, 0)?, content: content.clone() })
    }
}

impl WalStream {
    /// Returns the next event. If the future is dropped, no event is lost.
    ///
    /// # Errors
    /// [`Error::Lost`] if the connection ends, also if the server shuts down.
    pub async fn next(&mut self) -> Result<WalEvent> {
        loop {
            if let Phase::CopyDone = self.phase {
                let mut done = BytesMut::new();
                frontend::copy_done(&mut done);
                // If the future is dropped here, CopyDone is sent twice, which is permitted.
                self.connection.send(&done).await?;
                self.phase = Phase::EndRow(None);
            }
            if let Phase::Ended(end) = self.phase {
                return Ok(WalEvent::End(end));
            }
            match (self.phase, self.connection.receive().await?) {
                (Phase::Copy, Message::CopyData(body)) => return event(body.into_bytes()),
                (Phase::Copy, Message::CopyDone) => self.phase = Phase::CopyDone,
                // The server shuts down.
                (Phase::Copy, Message::CommandComplete(_)) => {
                    return Err(lost(std::io::ErrorKind::ConnectionAborted.into()));
                }
                // Sent before the server received the end of this side's copy.
                (Phase::EndRow(None), Message::RowDescription(_)) => {}
                (Phase::EndRow(None), Message::DataRow(row)) => {
                    self.phase = Phase::EndRow(Some(timeline_end(&vec![columns(&row)?])?));
                }
                (Phase::EndRow(Some(_)), Message::CommandComplete(_)) => {}
                (Phase::EndRow(Some(end)), Message::ReadyForQuery(_)) => self.phase = Phase::Ended(end),
                _ => return Err(unexpected(SUBJECT)),
            }
        }
    }

    /// Reports that all WAL before `flushed` is durable: the server may remove it, and transactions
    /// that wait for it (`synchronous_standby_names`) return. With 0/0, nothing is durable yet.
    pub async fn report(&mut self, flushed: Lsn, reply: ReplyRequest) -> Result<()> {
        if !matches!(self.phase, Phase::Copy) {
            return Ok(());
        }
        let mut status = BytesMut::with_capacity(34);
        status.put_u8(b'r');
        // WAL in memory counts as neither written nor flushed, and none is applied.
        for position in [flushed, flushed, Lsn::INVALID] {
            status.put_u64(position.0);
        }
        status.put_i64(microseconds());
        status.put_u8((reply == ReplyRequest::Immediate).into());
        let mut message = BytesMut::new();
        CopyData::new(status.freeze()).map_err(lost)?.write(&mut message);
        self.connection.send(&message).await
    }

    /// Returns the connection after the end of the timeline.
    ///
    /// # Errors
    /// If [`Self::next`] has not returned [`WalEvent::End`] before.
    pub fn finish(self) -> Result<Connection> {
        match self.phase {
            Phase::Ended(_) => Ok(self.connection),
            _ => Err(Error::protocol(SUBJECT, "the timeline has not ended")),
        }
    }

    /// Ends the session amid the stream.
    pub async fn close(self) -> Result<()> {
        self.connection.close().await
    }
}

/// Decodes a message of the stream.
fn event(mut body: Bytes) -> Result<WalEvent> {
    let truncated = || Error::protocol(SUBJECT, "the server sent a truncated message");
    match body.try_get_u8().map_err(|_| truncated())? {
        b'w' if body.len() >= 24 => {
            let start = Lsn(body.get_u64());
            // The end of the server's WAL, and its time.
            body.advance(16);
            Ok(WalEvent::Data { start, bytes: body })
        }
        b'k' if body.len() >= 17 => {
            let end = Lsn(body.get_u64());
            body.advance(8);
            Ok(WalEvent::Keepalive { end, reply_requested: body.get_u8() != 0 })
        }
        b'w' | b'k' => Err(truncated()),
        kind => Err(Error::protocol(SUBJECT, format!("the server sent data of the unknown kind {kind:#04x}"))),
    }
}

fn timeline_end(rows: &Rows) -> Result<TimelineEnd> {
    let row = only_row(SUBJECT, rows)?;
    Ok(TimelineEnd { next_timeline: number(SUBJECT, row, 0)?, switch_point: number(SUBJECT, row, 1)? })
}

/// Returns the time in microseconds since PostgreSQL's epoch. The server only displays it.
fn microseconds() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_micros().saturating_sub(POSTGRESQL_EPOCH_MICROSECONDS).try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_decoded() {
        let mut data = BytesMut::from(&b"w"[..]);
        [0x16_B374_D848, 7, 7].into_iter().for_each(|number| data.put_u64(number));
        data.put_slice(b"wal");
        let expected = WalEvent::Data { start: Lsn(0x16_B374_D848), bytes: Bytes::from_static(b"wal") };
        assert_eq!(event(data.clone().freeze()).unwrap(), expected);
        let mut keepalive = BytesMut::from(&b"k"[..]);
        [0x100_0028, 7].into_iter().for_each(|number| keepalive.put_u64(number));
        keepalive.put_u8(1);
        let expected = WalEvent::Keepalive { end: Lsn(0x100_0028), reply_requested: true };
        assert_eq!(event(keepalive.clone().freeze()).unwrap(), expected);
        for whole in [&data[..25], &keepalive] {
            for length in 0..whole.len() {
                let truncated = event(Bytes::copy_from_slice(&whole[..length]));
                assert!(truncated.is_err(), "{length}");
            }
        }
        assert!(event(Bytes::from_static(b"z")).is_err());
    }
}
