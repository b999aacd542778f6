//! A stream of WAL while it runs: receiving, storing and reporting, each without waiting for the
//! others.

use std::future::pending;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use longshore_core::base::Lsn;
use longshore_core::stage::{Answer, WalPart, WalStream};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_wal::segment::Segment;
use tokio::time::{Instant, sleep_until};

use crate::wal::receive::assembly::Assembly;
use crate::wal::receive::storage::Storage;
use crate::wal::receive::{Partials, Stop};

/// The time after which a server that sends nothing, not even an answer, is lost.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest time between two reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// The shortest time between two answers. A server that shuts down asks again after each answer.
const ANSWER_PAUSE: Duration = Duration::from_millis(100);

/// The shortest time between two partial segments that the server wants.
const WANTED_PAUSE: Duration = Duration::from_secs(1);

/// The end of a stream.
#[derive(Debug)]
pub(super) enum Ended {
    /// The receiver was stopped.
    Stopped,
    /// The server has begun the next timeline at this position.
    Timeline {
        /// The next timeline.
        next: u32,
        /// The position at which it begins.
        switch_point: Lsn,
    },
    /// The server ended the stream, or the connection was lost.
    Failed(Error),
}

/// A file that is being stored; the result is the position up to which WAL is then durable.
type Storing<'s> = LocalBoxFuture<'s, Result<Lsn>>;

/// A running stream.
pub(super) struct Session<'s, 'a> {
    storage: &'s Storage<'a>,
    stream: Box<dyn WalStream>,
    partials: Partials,
    report_interval: Duration,
    /// The position that the server has as durable already: a lower one is never reported.
    reserved: Lsn,
    pub(super) assembly: Assembly,
    /// The position up to which WAL is durable.
    pub(super) durable: Lsn,
    /// True if a part was received.
    pub(super) has_received: bool,
    /// The time at which the first WAL arrived that no file contains yet.
    unstored_since: Option<Instant>,
    /// True if the server waits until all WAL is durable.
    is_wanted: bool,
    last_partial: Instant,
    last_report: Instant,
    next_report: Instant,
    last_heard: Instant,
}

impl<'s, 'a> Session<'s, 'a> {
    /// Returns the session of a stream that begins with a segment.
    pub(super) fn new(
        storage: &'s Storage<'a>,
        stream: Box<dyn WalStream>,
        (segment, reserved, durable): (Segment, Lsn, Lsn),
        partials: Partials,
        timeout: Option<Duration>,
    ) -> Self {
        let now = Instant::now();
        let report_interval = timeout.map_or(REPORT_INTERVAL, |timeout| REPORT_INTERVAL.min(timeout / 3));
        let begin = segment.start(storage.size);
        Self {
            storage,
            stream,
            partials,
            report_interval,
            reserved,
            assembly: Assembly::new(segment, storage.size, storage.buffer()),
            // The archive has all WAL before a segment after the reserved one.
            durable: if begin >= reserved { durable.max(begin) } else { durable },
            has_received: false,
            unstored_since: None,
            is_wanted: false,
            last_partial: now,
            last_report: now,
            next_report: now,
            last_heard: now,
        }
    }

    /// Receives until the stream ends, or until the receiver is stopped, and until all WAL that was
    /// received is durable.
    ///
    /// # Errors
    ///
    /// Fails if WAL does not belong to the cluster.
    pub(super) async fn run(&mut self, stop: &Stop) -> Result<Ended> {
        let mut storing: Option<Storing<'s>> = None;
        let ended = loop {
            if storing.is_none() {
                storing = self.next_file(Instant::now());
            }
            let due = self.due().filter(|_| storing.is_none());
            let accepts = !self.assembly.is_full();
            let done = tokio::select! {
                durable = finished(&mut storing) => {
                    storing = None;
                    self.durable = self.durable.max(durable?);
                    self.send_report().await
                }
                part = self.stream.next(), if accepts => match part {
                    Ok(part) => match self.receive(part).await {
                        Ok(None) => Ok(()),
                        Ok(Some(ended)) => break ended,
                        Err(error) => Err(error),
                    },
                    Err(error) => Err(error),
                },
                () = sleep_until(self.next_report) => self.send_report().await,
                () = wait_for(due) => Ok(()),
                () = stop.clone() => break Ended::Stopped,
            };
            if let Err(error) = done {
                break Ended::Failed(error);
            }
        };
        self.settle(storing).await?;
        Ok(ended)
    }

    /// Ends the session.
    pub(super) async fn close(self) {
        if let Err(error) = self.stream.close().await {
            tracing::debug!(target: "longshore::wal", "{}", error.chain());
        }
    }

    /// Stores all WAL that was received, and reports it.
    async fn settle(&mut self, mut storing: Option<Storing<'s>>) -> Result<()> {
        loop {
            let next = storing.take().or_else(|| self.next_whole()).or_else(|| self.next_partial());
            let Some(next) = next else { break };
            self.durable = self.durable.max(next.await?);
        }
        // The stream may have ended.
        if let Err(error) = self.send_report().await {
            tracing::debug!(target: "longshore::wal", "not reported: {}", error.chain());
        }
        Ok(())
    }

    /// Processes a part. Returns the end of the stream, if it is one.
    async fn receive(&mut self, part: WalPart) -> Result<Option<Ended>> {
        let now = Instant::now();
        self.last_heard = now;
        match part {
            WalPart::Data { start, bytes } => {
                self.has_received = true;
                let expected = self.assembly.position();
                if !self.assembly.push(start, bytes) {
                    let message = format!("the server sent WAL at {start}, where {expected} follows");
                    return Err(Error::new(Stage::Dump, Kind::Failed, &self.storage.folder.cluster, message));
                }
                if self.has_unstored() {
                    self.unstored_since.get_or_insert(now);
                }
            }
            WalPart::Keepalive { end, wants_report } => {
                if wants_report {
                    self.is_wanted |= end <= self.assembly.position() && self.has_unstored();
                    self.next_report = now.max(self.last_report + ANSWER_PAUSE);
                }
                if self.next_report <= now {
                    self.send_report().await?;
                }
            }
            WalPart::End { next_timeline, switch_point } => {
                return Ok(Some(Ended::Timeline { next: next_timeline, switch_point }));
            }
        }
        Ok(None)
    }

    /// Returns true if no file contains all WAL of the segment.
    fn has_unstored(&self) -> bool {
        self.assembly.end() > self.durable && self.assembly.is_recognizable()
    }

    /// Returns the time of the next partial segment.
    fn due(&self) -> Option<Instant> {
        let since = self.unstored_since.filter(|_| self.has_unstored())?;
        let usual = match self.partials {
            Partials::Every(pause) => since.checked_add(pause)?,
            Partials::AtOnce => since,
        };
        let wanted = self.is_wanted.then(|| since.max(self.last_partial + WANTED_PAUSE));
        Some(wanted.map_or(usual, |wanted| wanted.min(usual)))
    }

    /// Begins to store the next file, if there is one.
    fn next_file(&mut self, now: Instant) -> Option<Storing<'s>> {
        let whole = self.next_whole();
        whole.or_else(|| if self.due().is_some_and(|due| due <= now) { self.next_partial() } else { None })
    }

    fn next_whole(&mut self) -> Option<Storing<'s>> {
        if !self.assembly.is_full() {
            return None;
        }
        let (segment, content) = self.assembly.take(self.storage.buffer());
        self.unstored_since = self.has_unstored().then(Instant::now);
        let storage = self.storage;
        let stored = async move {
            storage.store_segment(segment, content).await?;
            Ok(segment.end(storage.size))
        };
        Some(stored.boxed_local())
    }

    fn next_partial(&mut self) -> Option<Storing<'s>> {
        if !self.has_unstored() {
            return None;
        }
        (self.unstored_since, self.is_wanted, self.last_partial) = (None, false, Instant::now());
        let storage = self.storage;
        let (segment, end) = (self.assembly.segment(), self.assembly.end());
        let content = self.assembly.padded(storage.buffer());
        let stored = async move {
            storage.store_partial(segment, content).await?;
            Ok(end)
        };
        Some(stored.boxed_local())
    }

    /// Reports the WAL that is durable. Fails if the server is silent for too long.
    async fn send_report(&mut self) -> Result<()> {
        let now = Instant::now();
        // The server has no reason to send while nothing is received.
        if self.assembly.is_full() {
            self.last_heard = now;
        }
        let silence = now - self.last_heard;
        if silence > SILENCE_TIMEOUT.max(3 * self.report_interval) {
            let message = format!("the server has sent nothing for {} s", silence.as_secs());
            return Err(Error::new(Stage::Connect, Kind::Unavailable, &self.storage.folder.cluster, message));
        }
        let answer = if silence >= self.report_interval { Answer::Needed } else { Answer::Unneeded };
        let durable = self.durable.min(self.assembly.position());
        // A lower position would make the slot reserve more again.
        let reported = if durable < self.reserved { Lsn::INVALID } else { durable };
        let sent = tokio::time::timeout(SILENCE_TIMEOUT, self.stream.report(reported, answer)).await;
        sent.unwrap_or_else(|_| {
            let message = format!("the server has received nothing for {} s", SILENCE_TIMEOUT.as_secs());
            Err(Error::new(Stage::Connect, Kind::Unavailable, &self.storage.folder.cluster, message))
        })?;
        self.last_report = Instant::now();
        self.next_report = self.last_report + self.report_interval;
        Ok(())
    }
}

/// Waits for the file that is being stored.
async fn finished(storing: &mut Option<Storing<'_>>) -> Result<Lsn> {
    match storing {
        Some(storing) => storing.await,
        None => pending().await,
    }
}

async fn wait_for(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
