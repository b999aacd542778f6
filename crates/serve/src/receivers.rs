//! The receivers of WAL: a child process for each cluster, which is started again when it ends.
//!
//! A receiver survives this process, as tasks do. Its lock shows the next service that it works.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use chrono::{DateTime, Utc};
use longshore_config::Config;
use longshore_engine::status::{Issue, IssueKind};
use longshore_engine::wal::receive::holder;
use longshore_page::wal::{Receiver, ReceiverState};
use rustix::process::Pid;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::child::{observe, pid, spawn, terminate};
use crate::options::Program;
use crate::progress::Line;

/// The pause before a receiver that has ended is started again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The maximum pause. Each failure doubles the pause.
const MAX_PAUSE: Duration = Duration::from_secs(300);
/// The time after which a receiver that works has no failures, and after which one that does not
/// work is a problem.
const SETTLED: Duration = Duration::from_secs(60);

/// The variable by which glibc keeps less freed memory: a receiver needs the same buffers for ever.
const ONE_ARENA: (&str, &str) = ("MALLOC_ARENA_MAX", "1");

/// An event of a receiver.
pub(crate) struct ReceiverEvent {
    cluster: String,
    /// The start that the event belongs to.
    start: u64,
    kind: EventKind,
}

enum EventKind {
    /// A line of the receiver.
    Line(Line),
    /// The receiver has ended.
    Ended(io::Result<ExitStatus>),
}

/// The receivers of a configuration.
pub(crate) struct Receivers {
    all: BTreeMap<String, Supervised>,
    /// The number of starts so far.
    starts: u64,
    events: mpsc::UnboundedSender<ReceiverEvent>,
}

/// One receiver.
struct Supervised {
    state: State,
    /// The begin of the state.
    since: DateTime<Utc>,
    restarts: u64,
    /// The number of ends since the receiver worked for a while.
    failures: u32,
    /// The problem that the receiver reported, or its end.
    message: Option<String>,
    /// The begin of the problem.
    troubled: Option<Instant>,
}

enum State {
    /// The receiver will be started at this time.
    Due(Instant),
    /// The receiver works.
    Running { start: u64, pid: Option<Pid>, begun: Instant, ending: Ending },
    /// Another process receives the WAL.
    Elsewhere,
}

/// The consequence of the end of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It is started again after a pause.
    Unexpected,
    /// It was asked to end, and is started again with the new configuration.
    Replaced,
    /// It was asked to end.
    Removed,
}

impl Supervised {
    fn new() -> Self {
        let state = State::Due(Instant::now());
        Self { state, since: Utc::now(), restarts: 0, failures: 0, message: None, troubled: None }
    }

    fn set(&mut self, state: State) {
        (self.state, self.since) = (state, Utc::now());
    }

    fn report(&mut self, message: String) {
        self.message = Some(message);
        self.troubled.get_or_insert_with(Instant::now);
    }
}

/// Returns the pause after so many failures.
fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(MAX_PAUSE)
}

impl Receivers {
    /// Creates the receivers of no cluster.
    pub(crate) fn new(events: mpsc::UnboundedSender<ReceiverEvent>) -> Self {
        Self { all: BTreeMap::new(), starts: 0, events }
    }

    /// Sets the clusters. Receivers that work are started again, with the new configuration, and
    /// those of other clusters end.
    pub(crate) fn configure<'a>(&mut self, clusters: impl IntoIterator<Item = &'a String>) {
        let wanted: BTreeSet<String> = clusters.into_iter().cloned().collect();
        self.all.retain(|cluster, receiver| match &mut receiver.state {
            State::Running { pid, ending, .. } => {
                *ending = if wanted.contains(cluster) { Ending::Replaced } else { Ending::Removed };
                pid.iter().for_each(|pid| terminate(*pid));
                true
            }
            State::Due(_) | State::Elsewhere => wanted.contains(cluster),
        });
        for cluster in wanted {
            self.all.entry(cluster).or_insert_with(Supervised::new);
        }
    }

    /// Starts the receivers that are due. One that another process runs is left alone.
    pub(crate) fn tick(&mut self, config: &Config, program: &Program) {
        for (cluster, receiver) in &mut self.all {
            match &receiver.state {
                State::Running { begun, .. } => {
                    if receiver.message.is_none() && begun.elapsed() >= SETTLED {
                        (receiver.failures, receiver.troubled) = (0, None);
                    }
                    continue;
                }
                State::Due(time) if *time > Instant::now() => continue,
                State::Due(_) | State::Elsewhere => {}
            }
            let Some(archive) = config.wal.get(cluster) else { continue };
            if let Some(holder) = holder(config, archive, &archive.receive.slot) {
                if !matches!(receiver.state, State::Elsewhere) {
                    receiver.set(State::Elsewhere);
                }
                (receiver.message, receiver.troubled, receiver.failures) = (Some(holder), None, 0);
                continue;
            }
            self.starts += 1;
            let begin = (self.starts, self.events.clone());
            match start(program, cluster, begin) {
                Ok(pid) => {
                    let ending = Ending::Unexpected;
                    receiver.message = None;
                    receiver.set(State::Running { start: self.starts, pid, begun: Instant::now(), ending });
                }
                Err(error) => {
                    receiver.report(format!("{} cannot be started: {error}", program.binary.display()));
                    receiver.failures += 1;
                    receiver.set(State::Due(Instant::now() + pause(receiver.failures)));
                }
            }
        }
    }

    /// Applies an event. Returns a line for the log.
    pub(crate) fn apply(&mut self, event: ReceiverEvent) -> Option<String> {
        let ReceiverEvent { cluster, start, kind } = event;
        let receiver = self.all.get_mut(&cluster)?;
        let State::Running { start: running, ending, .. } = receiver.state else { return None };
        if running != start {
            return None;
        }
        match kind {
            EventKind::Line(Line::Message { text }) => {
                receiver.report(text);
                None
            }
            EventKind::Line(_) => {
                receiver.message = None;
                None
            }
            EventKind::Ended(status) => {
                let status = status.map_or_else(|error| format!("cannot be observed: {error}"), |it| it.to_string());
                match ending {
                    Ending::Removed => drop(self.all.remove(&cluster)),
                    Ending::Replaced => receiver.set(State::Due(Instant::now())),
                    Ending::Unexpected => {
                        let reason = receiver.message.take().map(|reason| format!(": {reason}")).unwrap_or_default();
                        receiver.report(format!("its receiver ended ({status}){reason}"));
                        receiver.set(State::Due(Instant::now() + pause(receiver.failures)));
                        (receiver.failures, receiver.restarts) = (receiver.failures + 1, receiver.restarts + 1);
                    }
                }
                Some(format!("wal receive {cluster}: {status}"))
            }
        }
    }

    /// Returns the receivers, for the page.
    pub(crate) fn views(&self) -> Vec<Receiver> {
        let view = |(cluster, receiver): (&String, &Supervised)| {
            let (state, process) = match &receiver.state {
                State::Due(_) => (ReceiverState::Waiting, None),
                State::Running { pid, .. } => (ReceiverState::Running, *pid),
                State::Elsewhere => (ReceiverState::Elsewhere, None),
            };
            Receiver {
                cluster: cluster.clone(),
                state,
                process: process.map(|pid| pid.as_raw_nonzero().get()),
                since: receiver.since,
                restarts: receiver.restarts,
                message: receiver.message.clone(),
            }
        };
        self.all.iter().map(view).collect()
    }

    /// Returns the receivers that have not worked for a while as problems.
    pub(crate) fn issues(&self, now: Instant) -> Vec<Issue> {
        let is_problem = |receiver: &Supervised| {
            receiver.troubled.is_some_and(|since| now.saturating_duration_since(since) >= SETTLED)
        };
        let issue = |(cluster, receiver): (&String, &Supervised)| {
            let reason = receiver.message.as_deref().unwrap_or("its receiver ended before");
            let message = format!("WAL is not received: {reason}");
            // The name by which `longshore verify` knows the archive.
            Issue { series: Some(format!("{cluster}/wal")), ..Issue::new(IssueKind::WalNotReceived, message) }
        };
        self.all.iter().filter(|(_, receiver)| is_problem(receiver)).map(issue).collect()
    }

    /// Returns true if a receiver works.
    pub(crate) fn are_running(&self) -> bool {
        self.all.values().any(|receiver| matches!(receiver.state, State::Running { .. }))
    }
}

/// Starts the receiver of a cluster.
fn start(
    program: &Program,
    cluster: &str,
    (start, events): (u64, mpsc::UnboundedSender<ReceiverEvent>),
) -> io::Result<Option<Pid>> {
    // After a failover, the new primary has no slot yet.
    let arguments = ["wal", "receive", "--cluster", cluster, "--create-slot"].map(str::to_owned);
    let (child, reader) = spawn(program, &arguments, Some(ONE_ARENA))?;
    let pid = pid(&child);
    let cluster = cluster.to_owned();
    tokio::spawn(async move {
        let send = |kind| {
            // Without a receiver, the service has stopped.
            events.send(ReceiverEvent { cluster: cluster.clone(), start, kind }).unwrap_or_default();
        };
        let status = observe(child, reader, |line| send(EventKind::Line(line))).await;
        send(EventKind::Ended(status));
    });
    Ok(pid)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn running(start: u64, begun: Instant) -> State {
        State::Running { start, pid: None, begun, ending: Ending::Unexpected }
    }

    fn event(start: u64, kind: EventKind) -> ReceiverEvent {
        ReceiverEvent { cluster: "main".to_owned(), start, kind }
    }

    #[test]
    fn pauses_grow_with_failures_up_to_a_limit() {
        let pauses: Vec<u64> = (0..10).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(pause(u32::MAX), MAX_PAUSE);
    }

    #[tokio::test]
    async fn receiver_that_keeps_ending_becomes_a_problem() {
        let mut receivers = Receivers::new(mpsc::unbounded_channel().0);
        receivers.configure([&"main".to_owned()]);
        for (start, restarts) in [(1, 1), (2, 2)] {
            receivers.all.get_mut("main").unwrap().set(running(start, Instant::now()));
            receivers.apply(event(start, EventKind::Line(Line::Message { text: "no route".to_owned() })));
            // The end of an earlier start changes nothing.
            receivers.apply(event(start + 10, EventKind::Ended(Ok(ExitStatus::from_raw(0)))));
            let line = receivers.apply(event(start, EventKind::Ended(Ok(ExitStatus::from_raw(2 << 8))))).unwrap();
            assert_eq!(line, "wal receive main: exit status: 2");
            let view = &receivers.views()[0];
            assert_eq!((view.state, view.restarts), (ReceiverState::Waiting, restarts));
        }
        assert!(receivers.issues(Instant::now()).is_empty(), "a short interruption is no problem");
        let issue = receivers.issues(Instant::now() + SETTLED).remove(0);
        assert_eq!(issue.message, "WAL is not received: its receiver ended (exit status: 2): no route");
        let config = Config::default();
        let program = Program { binary: "/nonexistent".into(), config: "/nonexistent".into() };
        // A receiver that works for a while has no problem left.
        receivers.all.get_mut("main").unwrap().set(running(3, Instant::now() - SETTLED));
        receivers.apply(event(3, EventKind::Line(Line::Step { text: "receiving".to_owned() })));
        receivers.tick(&config, &program);
        assert!(receivers.issues(Instant::now() + SETTLED).is_empty() && receivers.all["main"].failures == 0);
    }

    #[tokio::test]
    async fn reload_replaces_and_removes_receivers() {
        let mut receivers = Receivers::new(mpsc::unbounded_channel().0);
        let main = "main".to_owned();
        receivers.configure([&main]);
        receivers.all.get_mut("main").unwrap().set(running(1, Instant::now()));
        receivers.configure([&main]);
        receivers.apply(event(1, EventKind::Ended(Ok(ExitStatus::from_raw(0)))));
        let view = receivers.views().remove(0);
        assert_eq!((view.state, view.restarts, view.message), (ReceiverState::Waiting, 0, None));
        receivers.all.get_mut("main").unwrap().set(running(2, Instant::now()));
        receivers.configure([]);
        assert!(receivers.are_running());
        receivers.apply(event(2, EventKind::Ended(Ok(ExitStatus::from_raw(0)))));
        assert!(receivers.views().is_empty() && !receivers.are_running());
    }
}
