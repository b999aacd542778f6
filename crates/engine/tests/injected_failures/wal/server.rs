//! A server that streams the WAL of both timelines, and checks each report: WAL that the receiver
//! reports as durable is at every destination.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::base::Lsn;
use longshore_core::stage::{Answer, WalConnection, WalPart, WalServer, WalSlot, WalSource, WalStream};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::History;

use super::base::number;
use super::source::{SEGMENT_BYTES, SOURCE};
use crate::env::{DESTINATIONS, Shared};
use crate::stage::Source;

/// The size of a part of the stream: neither a divisor nor a multiple of a segment.
const PART_BYTES: u64 = 300_000;

/// A connection before the stream.
struct Connection {
    shared: Arc<Shared>,
    server: WalServer,
}

/// The WAL of one timeline, from a position on.
struct Stream {
    shared: Arc<Shared>,
    timeline: u32,
    position: u64,
}

#[async_trait]
impl WalSource for Source {
    async fn connect(&self) -> Result<Box<dyn WalConnection>> {
        let turn = self.0.injector.begin("server connect".to_owned()).await?;
        let server = WalServer {
            system_identifier: system_identifier(),
            segment_bytes: SEGMENT_BYTES as u64,
            timeline: 2,
            timeout: None,
        };
        turn.end().await?;
        Ok(Box::new(Connection { shared: Arc::clone(&self.0), server }))
    }
}

#[async_trait]
impl WalConnection for Connection {
    fn server(&self) -> &WalServer {
        &self.server
    }

    async fn slot(&mut self, _: &str) -> Result<Option<WalSlot>> {
        let reported = self.shared.reported().max(begin());
        Ok(Some(WalSlot { reserved: Some((Lsn(reported), if reported < switch_point() { 1 } else { 2 })) }))
    }

    async fn create_slot(&mut self, _: &str) -> Result<()> {
        Err(Error::new(Stage::Connect, Kind::Refused, "slot", "exists"))
    }

    async fn history(&mut self, timeline: u32) -> Result<Bytes> {
        Ok(SOURCE.files[&format!("{timeline:08X}.history")].clone().into())
    }

    async fn start(self: Box<Self>, _: &str, from: Lsn, timeline: u32) -> Result<Box<dyn WalStream>> {
        Ok(Box::new(Stream { shared: self.shared, timeline, position: from.0 }))
    }
}

#[async_trait]
impl WalStream for Stream {
    async fn next(&mut self) -> Result<WalPart> {
        let last = if self.timeline == 1 { switch_point() } else { end() };
        if self.position >= last {
            if self.timeline == 1 {
                return Ok(WalPart::End { next_timeline: 2, switch_point: Lsn(last) });
            }
            std::future::pending::<()>().await;
        }
        let turn = self.shared.injector.begin(format!("server wal {}", self.position)).await?;
        let start = self.position;
        let segment_end = (start / SEGMENT_BYTES as u64 + 1) * SEGMENT_BYTES as u64;
        let until = last.min(start + PART_BYTES);
        let mut bytes = content(start, until.min(segment_end)).to_vec();
        if until > segment_end {
            bytes.extend_from_slice(content(segment_end, until));
        }
        turn.end().await?;
        self.position = until;
        Ok(WalPart::Data { start: Lsn(start), bytes: bytes.into() })
    }

    async fn report(&mut self, durable: Lsn, _: Answer) -> Result<()> {
        if durable != Lsn::INVALID {
            assert!(durable.0 <= self.position, "{durable} was not sent");
            self.shared.expect_durable(durable.0);
            self.shared.set_reported(durable.0);
        }
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Shared {
    /// Checks that every destination has all WAL before a position.
    fn expect_durable(&self, position: u64) {
        for destination in DESTINATIONS {
            let keys = self.stores[destination].inner().keys();
            let has = |name: &str| keys.iter().any(|key| key.file_name().starts_with(name));
            for name in SOURCE.files.keys() {
                let Some(number) = number(name).filter(|_| is_on_the_way(name)) else { continue };
                let [start, end] = [number, number + 1].map(|number| number * SEGMENT_BYTES as u64);
                let is_stored = match position {
                    _ if position >= end => has(&format!("{name}-")),
                    // The beginning is also that of the segment of the other timeline.
                    _ if position > start => keys.iter().any(|key| key.file_name().get(8..24) == name.get(8..24)),
                    _ => true,
                };
                assert!(is_stored, "{} is reported, and \"{destination}\" lacks {name}", Lsn(position));
            }
        }
    }
}

/// Returns the WAL between two positions of one segment.
fn content(start: u64, end: u64) -> &'static [u8] {
    let number_of_it = start / SEGMENT_BYTES as u64;
    let file = SOURCE.files.iter().find(|(name, _)| number(name) == Some(number_of_it) && is_on_the_way(name));
    let (_, file) = file.unwrap_or_else(|| panic!("no segment has the position {}", Lsn(start)));
    let offset = number_of_it * SEGMENT_BYTES as u64;
    &file[(start - offset) as usize..(end - offset) as usize]
}

/// Returns true for a segment of the last timeline that has its number: the segment with the switch
/// point is archived by the second one.
fn is_on_the_way(name: &str) -> bool {
    let first = name.starts_with("00000001");
    number(name).is_some_and(|number| first == (number < switch_point() / SEGMENT_BYTES as u64))
}

/// Returns the position at which the second timeline begins.
fn switch_point() -> u64 {
    let history = History::parse(2, &SOURCE.files["00000002.history"]).unwrap();
    history.switch_point(1).unwrap().0
}

/// Returns the position of the first segment.
pub(super) fn begin() -> u64 {
    let (name, _) = SOURCE.files.first_key_value().unwrap();
    number(name).unwrap() * SEGMENT_BYTES as u64
}

/// Returns the position after the last segment.
pub(super) fn end() -> u64 {
    let last = SOURCE.files.keys().filter_map(|name| number(name)).max().unwrap();
    (last + 1) * SEGMENT_BYTES as u64
}

/// Returns the system identifier of the cluster, with which its control file begins.
pub(super) fn system_identifier() -> u64 {
    u64::from_le_bytes(SOURCE.control[0][..8].try_into().unwrap())
}
