//! WAL that is received while the server writes it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::stage::{Answer, WalConnection, WalPart, WalServer, WalSlot, WalSource, WalStream};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_replication::command::{SlotLifetime, WalReservation};
use longshore_pg_replication::wal_stream::{ReplyRequest, TimelineEnd};
use longshore_pg_replication::{Connection, WalEvent};
use longshore_pg_wal::Lsn;

use crate::own_client::OwnClient;
use crate::source::{Session, Source};

/// The name by which `synchronous_standby_names` selects the receiver.
const APPLICATION_NAME: &str = "longshore";

/// A connection before the stream.
struct Receiver {
    connection: Connection,
    server: WalServer,
    source: Source,
}

/// A running stream.
struct Stream {
    stream: longshore_pg_replication::WalStream,
    source: Source,
}

#[async_trait]
impl WalSource for OwnClient {
    async fn connect(&self) -> Result<Box<dyn WalConnection>> {
        let source = self.source().clone();
        let mut connection = source.connect_as(Session::Idle, Some(APPLICATION_NAME)).await?;
        let failed = |error| source.error("cannot query the server", error);
        let identity = connection.identify_system().await.map_err(failed)?;
        let segment = connection.show("wal_segment_size").await.map_err(failed)?;
        let timeout = connection.show("wal_sender_timeout").await.map_err(failed)?;
        let unknown = |setting: &str, value: &str| {
            let message = format!("{setting} has the value \"{value}\", which is not known");
            Error::new(Stage::Connect, Kind::Failed, source.name(), message)
        };
        let server = WalServer {
            system_identifier: identity.system_identifier,
            timeline: identity.timeline,
            segment_bytes: scaled(&segment, &SIZES).ok_or_else(|| unknown("wal_segment_size", &segment))?,
            timeout: scaled(&timeout, &TIMES)
                .map(|milliseconds| Some(Duration::from_millis(milliseconds)).filter(|limit| !limit.is_zero()))
                .ok_or_else(|| unknown("wal_sender_timeout", &timeout))?,
        };
        Ok(Box::new(Receiver { connection, server, source }))
    }
}

#[async_trait]
impl WalConnection for Receiver {
    fn server(&self) -> &WalServer {
        &self.server
    }

    async fn slot(&mut self, name: &str) -> Result<Option<WalSlot>> {
        let slot = self.connection.read_slot(name).await;
        let slot = slot.map_err(|error| self.source.error("cannot read the replication slot", error))?;
        Ok(slot.map(|slot| WalSlot { reserved: slot.restart_lsn.zip(slot.restart_timeline) }))
    }

    async fn create_slot(&mut self, name: &str) -> Result<()> {
        let created = self.connection.create_slot(name, SlotLifetime::Permanent, WalReservation::Immediate).await;
        created.map_err(|error| self.source.error("cannot create the replication slot", error))
    }

    async fn history(&mut self, timeline: u32) -> Result<Bytes> {
        let file = self.connection.timeline_history(timeline).await;
        let file =
            file.map_err(|error| self.source.error(&format!("cannot read the history of timeline {timeline}"), error))?;
        Ok(file.content)
    }

    async fn start(self: Box<Self>, slot: &str, from: Lsn, timeline: u32) -> Result<Box<dyn WalStream>> {
        let Self { connection, source, .. } = *self;
        match connection.start_replication(slot, from, timeline).await {
            Ok(stream) => Ok(Box::new(Stream { stream, source })),
            Err(error) => {
                let message = format!("the server does not stream WAL of timeline {timeline} from {from} on");
                Err(source.error(&message, error))
            }
        }
    }
}

#[async_trait]
impl WalStream for Stream {
    async fn next(&mut self) -> Result<WalPart> {
        match self.stream.next().await {
            Ok(WalEvent::Data { start, bytes }) => Ok(WalPart::Data { start, bytes }),
            Ok(WalEvent::Keepalive { end, reply_requested }) => {
                Ok(WalPart::Keepalive { end, wants_report: reply_requested })
            }
            Ok(WalEvent::End(TimelineEnd { next_timeline, switch_point })) => {
                Ok(WalPart::End { next_timeline, switch_point })
            }
            Err(error) => Err(self.source.error("the stream of WAL ended", error)),
        }
    }

    async fn report(&mut self, durable: Lsn, answer: Answer) -> Result<()> {
        let reply = match answer {
            Answer::Unneeded => ReplyRequest::None,
            Answer::Needed => ReplyRequest::Immediate,
        };
        let reported = self.stream.report(durable, reply).await;
        reported.map_err(|error| self.source.error("the stream of WAL ended", error))
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let Self { stream, source } = *self;
        stream.close().await.map_err(|error| source.error("cannot end the session", error))
    }
}

/// The units of sizes, in bytes, and of times, in milliseconds, as `SHOW` prints them.
const SIZES: [(&str, u64); 5] = [("B", 1), ("kB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30), ("TB", 1 << 40)];
const TIMES: [(&str, u64); 6] = [("", 1), ("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Returns the value of a setting that `SHOW` prints with one of these units.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let scale = units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale)?;
    number.parse::<u64>().ok()?.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_with_their_units() {
        assert_eq!(scaled("16MB", &SIZES), Some(16 << 20));
        assert_eq!(scaled("1GB", &SIZES), Some(1 << 30));
        assert_eq!((scaled("1min", &TIMES), scaled("1500ms", &TIMES)), (Some(60_000), Some(1500)));
        assert_eq!(scaled("0", &TIMES), Some(0));
        assert_eq!((scaled("MB", &SIZES), scaled("1min", &SIZES)), (None, None));
    }
}
