//! The streams of one receiver: the slot, the histories, and the end of each timeline.

use std::cell::Cell;
use std::collections::BTreeSet;

use longshore_core::base::Lsn;
use longshore_core::stage::{WalConnection, WalServer, WalSource};
use longshore_core::{Error, Kind, Result, SqlState, Stage};
use longshore_pg_wal::segment::Segment;
use longshore_pg_wal::{ArchiveName, History};

use crate::wal::archiver::FURTHER_TIMEOUT;
use crate::wal::inventory::Gap;
use crate::wal::receive::session::{Ended, Session};
use crate::wal::receive::start::starts;
use crate::wal::receive::storage::Storage;
use crate::wal::receive::{MissingSlot, ReceiveEvent, ReceiveOptions, Stop};

/// A receiver of the WAL of one cluster.
pub(super) struct Receiver<'s, 'a> {
    storage: &'s Storage<'a>,
    source: &'s dyn WalSource,
    options: &'s ReceiveOptions,
    /// True from a failure until the next stream starts.
    is_disconnected: &'s Cell<bool>,
    /// The segment to continue with.
    next: Option<Segment>,
    /// The timeline and the position up to which WAL is durable.
    durable: Option<(u32, Lsn)>,
    /// The number of the first segment that the archive lacks and the server does not send.
    missing: Option<u64>,
    /// The timelines whose histories are archived.
    histories: BTreeSet<u32>,
    /// The timeline of the last stream.
    timeline: Option<u32>,
    has_received: bool,
}

impl<'s, 'a> Receiver<'s, 'a> {
    /// Returns a receiver before its first stream.
    pub(super) fn new(
        storage: &'s Storage<'a>,
        source: &'s dyn WalSource,
        options: &'s ReceiveOptions,
        is_disconnected: &'s Cell<bool>,
    ) -> Self {
        Self {
            storage,
            is_disconnected,
            source,
            options,
            next: None,
            durable: None,
            missing: None,
            histories: BTreeSet::new(),
            timeline: None,
            has_received: false,
        }
    }

    /// Returns true if the last connection sent WAL.
    pub(super) fn has_received(&self) -> bool {
        self.has_received
    }

    /// Receives by one connection, to its end or to that of the timeline.
    ///
    /// # Errors
    ///
    /// Fails if the slot has no WAL, or if the server belongs to another cluster.
    pub(super) async fn receive(&mut self, mut connection: Box<dyn WalConnection>, stop: &Stop) -> Result<Ended> {
        self.has_received = false;
        let server = connection.server().clone();
        self.expect_cluster(&server)?;
        let reserved = self.reserved(&mut *connection).await?;
        let history = match server.timeline {
            1 => History::without_ancestors(1),
            timeline => History::parse(timeline, &connection.history(timeline).await?).map_err(|error| {
                let message = "the server has an invalid history";
                Error::new(Stage::Dump, Kind::Failed, format!("timeline {timeline}"), message).because(error)
            })?,
        };
        let size = self.storage.size;
        let candidates = match self.next {
            Some(next) => vec![next],
            None => {
                let number = Segment::containing(server.timeline, reserved, size).number;
                starts(&self.storage.segments().await, number, &history, size)
            }
        };
        let mut connection = Some(connection);
        let last = candidates.len().saturating_sub(1);
        for (place, segment) in candidates.into_iter().enumerate() {
            let mut connection = match connection.take() {
                Some(connection) => connection,
                None => self.source.connect().await?,
            };
            self.store_histories(&mut *connection, &history, segment.timeline).await?;
            let is_reserved = place == last && self.next.is_none();
            if is_reserved {
                self.report_missing(segment);
            }
            let error = match self.receive_from(segment, reserved, connection, server.timeout, stop).await? {
                Ended::Failed(error) if !self.has_received && error.kind() != Kind::Unavailable => error,
                ended => return Ok(ended),
            };
            if is_reserved {
                return Err(self.refusal(error));
            }
            // The server does not send this segment.
            self.missing = Some(self.missing.map_or(segment.number, |missing| missing.min(segment.number)));
            if self.next.take().is_some() {
                return Ok(Ended::Failed(error));
            }
        }
        Err(self.without_wal())
    }

    /// Receives from a segment on, to the end of the stream.
    async fn receive_from(
        &mut self,
        segment: Segment,
        reserved: Lsn,
        connection: Box<dyn WalConnection>,
        timeout: Option<std::time::Duration>,
        stop: &Stop,
    ) -> Result<Ended> {
        let size = self.storage.size;
        let stream = match connection.start(&self.options.slot, segment.start(size), segment.timeline).await {
            Ok(stream) => stream,
            Err(error) => return Ok(Ended::Failed(error)),
        };
        if self.is_disconnected.take() {
            self.storage.report(ReceiveEvent::Reconnected);
        }
        if self.timeline.replace(segment.timeline) != Some(segment.timeline) {
            self.storage.report(ReceiveEvent::Started { segment: &segment.name(size) });
        }
        let durable = self.durable.filter(|(timeline, _)| *timeline == segment.timeline);
        let durable = durable.map_or(Lsn::INVALID, |(_, durable)| durable);
        let begin = (segment, reserved, durable);
        let mut session = Session::new(self.storage, stream, begin, self.options.partials, timeout);
        let ended = session.run(stop).await?;
        self.has_received = session.has_received;
        match ended {
            Ended::Timeline { next, switch_point } => {
                let timeline = segment.timeline;
                self.storage.report(ReceiveEvent::TimelineEnded { timeline, next, switch_point });
                self.next = Some(Segment::containing(next, switch_point, size));
            }
            Ended::Stopped => session.close().await,
            Ended::Failed(_) if self.has_received => {
                self.next = Some(session.assembly.segment());
                self.durable = Some((segment.timeline, session.durable));
            }
            Ended::Failed(_) => {}
        }
        if self.has_received {
            self.missing = None;
        }
        Ok(ended)
    }

    fn expect_cluster(&self, server: &WalServer) -> Result<()> {
        let expected = self.storage.folder.system_identifier;
        if server.system_identifier == expected {
            return match self.timeline.filter(|timeline| server.timeline < *timeline) {
                None => Ok(()),
                // Another host of the connection string may have it.
                Some(timeline) => {
                    let message = format!(
                        "the server has timeline {}, and the receiver has followed timeline {timeline} already",
                        server.timeline
                    );
                    Err(Error::new(Stage::Connect, Kind::Unavailable, &self.storage.folder.cluster, message)
                        .hint("connect to the present primary, such as with target_session_attrs=read-write"))
                }
            };
        }
        let message = format!(
            "the server has system identifier {} instead of {expected}: the connection reaches another cluster than before",
            server.system_identifier
        );
        Err(Error::new(Stage::Connect, Kind::Refused, &self.storage.folder.cluster, message)
            .hint("name servers of one cluster in the connection string"))
    }

    /// Returns the oldest position that the slot reserves. Creates the slot, if that is wanted.
    async fn reserved(&self, connection: &mut dyn WalConnection) -> Result<Lsn> {
        let name = &self.options.slot;
        let mut slot = connection.slot(name).await?;
        if slot.is_none() && self.options.missing_slot == MissingSlot::Create {
            connection.create_slot(name).await?;
            self.storage.report(ReceiveEvent::SlotCreated);
            slot = connection.slot(name).await?;
        }
        let slot = slot.ok_or_else(|| {
            Error::new(Stage::Connect, Kind::Failed, self.subject(), "does not exist on the server")
                .code(SqlState::UNDEFINED_OBJECT)
                .hint("create it with `longshore wal receive --create-slot`; a slot does not follow a failover")
        })?;
        slot.reserved.map(|(reserved, _)| reserved).ok_or_else(|| self.without_wal())
    }

    /// Stores the histories that recovery needs for a timeline, before any segment of it.
    async fn store_histories(
        &mut self,
        connection: &mut dyn WalConnection,
        history: &History,
        timeline: u32,
    ) -> Result<()> {
        let needed = history.lineage().map(|section| section.timeline).filter(|needed| (2..=timeline).contains(needed));
        for needed in needed {
            if self.histories.contains(&needed) {
                continue;
            }
            match connection.history(needed).await {
                Ok(content) => {
                    let name = ArchiveName::History { timeline: needed };
                    self.storage.store(name, content, FURTHER_TIMEOUT).await?;
                    self.histories.insert(needed);
                }
                // A server that was restored may lack the histories of ancestors.
                Err(error) if needed < timeline && error.sqlstate() == Some(SqlState::UNDEFINED_FILE) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reports the segments before this one that the archive lacks and the server does not send.
    fn report_missing(&mut self, segment: Segment) {
        let Some(missing) = self.missing.take().filter(|first| *first < segment.number) else { return };
        let name = |number| Segment { timeline: segment.timeline, number }.name(self.storage.size);
        let (first, last) = (name(missing), name(segment.number - 1));
        let gap = Gap { first, last, segments: segment.number - missing, last_stored: None };
        self.storage.report(ReceiveEvent::Missing(&gap));
    }

    fn subject(&self) -> String {
        format!("slot {}", self.options.slot)
    }

    /// Returns the error of a stream that the server refuses.
    fn refusal(&self, error: Error) -> Error {
        match error.sqlstate() {
            Some(SqlState::UNDEFINED_FILE | SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) => {
                self.without_wal().because(error)
            }
            _ => error,
        }
    }

    /// Returns the error of a slot without WAL.
    fn without_wal(&self) -> Error {
        let slot = &self.options.slot;
        let message = "the server does not have the WAL that the slot reserved";
        Error::new(Stage::Connect, Kind::Failed, self.subject(), message).hint(format!(
            "drop it (`select pg_drop_replication_slot('{slot}')`), create it anew with `longshore wal receive \
             --create-slot`, and make a base backup with `longshore run`: the archive has a gap, and max_slot_wal_keep_size \
             is too small"
        ))
    }
}
