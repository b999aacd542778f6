//! The page of archived WAL: for each cluster its receiver, the moments to which each destination
//! recovers, and the gaps.

use chrono::{DateTime, Utc};
use longshore_engine::overview::ClusterWal;
use longshore_engine::wal::inventory::Timeline;
use longshore_engine::wal::status::{ArchivedWal, Problem, ProblemKind};
use serde::Serialize;

use crate::Context;
use crate::layout::Layout;
use crate::table::{self, Cell, Section, Table};
use crate::text::{bytes, minute, second};

/// The number of rows of each table.
const MAX_ROWS: usize = 500;

/// A receiver of WAL that the service starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receiver {
    /// The name of the cluster.
    pub cluster: String,
    /// The state.
    pub state: ReceiverState,
    /// The id of the process.
    pub process: Option<i32>,
    /// The begin of the state.
    pub since: DateTime<Utc>,
    /// The number of times that the receiver ended and was started again.
    pub restarts: u64,
    /// The problem of the receiver, or the process that receives the WAL instead.
    pub message: Option<String>,
}

/// The state of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiverState {
    /// The receiver works, or tries again by itself.
    Running,
    /// Another process receives the WAL.
    Elsewhere,
    /// The receiver ended, and will be started again.
    Waiting,
}

impl Receiver {
    /// Returns true if the WAL of the cluster is received.
    pub fn is_up(&self) -> bool {
        match self.state {
            ReceiverState::Running => self.message.is_none(),
            ReceiverState::Elsewhere => true,
            ReceiverState::Waiting => false,
        }
    }

    /// Returns the state in words, and its class.
    pub(crate) fn words(&self) -> (&'static str, &'static str) {
        match (self.state, &self.message) {
            (ReceiverState::Running, None) => ("receiving", "good"),
            (ReceiverState::Running, Some(_)) => ("trying again", "warning"),
            (ReceiverState::Elsewhere, _) => ("received by another process", "good"),
            (ReceiverState::Waiting, _) => ("ended, will be started again", "critical"),
        }
    }
}

/// Returns the number of gaps between the first and the last segment of each timeline.
pub(crate) fn gaps(archive: &ArchivedWal) -> usize {
    archive.timelines.iter().map(|timeline| timeline.gaps.len()).sum()
}

/// Renders the page.
pub fn page(context: &Context<'_>) -> String {
    let mut sections = Vec::new();
    if !context.receivers.is_empty() {
        sections.push(Section::new("Receivers").table(receivers(context.receivers)));
    }
    let clusters = context.overview.map(|overview| overview.wal.as_slice()).unwrap_or_default();
    sections.extend(clusters.iter().map(cluster));
    if clusters.is_empty() {
        let line = "No cluster of this configuration has an archive: see [cluster.NAME.wal] in longshore-wal(7).";
        sections.push(Section::default().line("quiet", line));
    }
    table::page(Layout::new(context, "Archived WAL", "/wal"), sections)
}

/// Returns the table of receivers.
pub(crate) fn receivers(all: &[Receiver]) -> Table {
    let row = |receiver: &Receiver| {
        let (state, class) = receiver.words();
        vec![
            Cell::new(&receiver.cluster),
            Cell::classed(class, state),
            Cell::classed("short", second(receiver.since)),
            Cell::new(receiver.restarts.to_string()),
            Cell::new(receiver.message.as_deref().unwrap_or_default()),
        ]
    };
    Table::new("WAL that this service receives", &["Cluster", "State", "Since", "Restarts#", "Remarks"])
        .rows(all.iter().map(row), MAX_ROWS)
}

fn cluster(wal: &ClusterWal) -> Section {
    let archives = &wal.archives.archives;
    let mut section = Section::new(&wal.cluster);
    if archives.is_empty() {
        section = section.line("quiet", "No WAL of this cluster is archived yet.");
    }
    for problem in &wal.archives.problems {
        let (class, note) = match problem.kind {
            ProblemKind::Lost | ProblemKind::Behind | ProblemKind::Forked => ("bad", ""),
            ProblemKind::Past => ("quiet", ": not needed after the newest base backup"),
        };
        let Problem { destination, message, .. } = problem;
        section = section.line(class, &format!("{destination}: {message}{note}"));
    }
    let time = |time: Option<DateTime<Utc>>| time.map(minute).unwrap_or_default();
    let window = |archive: &ArchivedWal| {
        let none = || Cell::classed("critical", "nothing: no base backup");
        vec![
            Cell::new(&archive.destination),
            archive.recoverable_from.map_or_else(none, |from| Cell::classed("short", minute(from))),
            Cell::classed("short", time(archive.recoverable_until)),
            Cell::new(archive.timelines.len().to_string()),
            Cell::new(gaps(archive).to_string()),
            Cell::new(&archive.system_identifier),
        ]
    };
    let headings = ["Destination", "Recoverable from", "Until", "Timelines#", "Gaps#", "System identifier"];
    let windows = Table::new("Moments to which each destination recovers", &headings);
    let timelines = || archives.iter().flat_map(|archive| archive.timelines.iter().map(move |it| (archive, it)));
    let timeline = |(archive, timeline): (&ArchivedWal, &Timeline)| {
        let (class, state) = state(timeline);
        vec![
            Cell::new(&archive.destination),
            Cell::new(timeline.timeline.to_string()),
            Cell::new(&timeline.first),
            Cell::new(&timeline.last),
            Cell::new(timeline.segments.to_string()),
            Cell::new(bytes(timeline.bytes)),
            Cell::classed("short", time(timeline.last_stored)),
            Cell::classed(class, state),
        ]
    };
    let headings =
        ["Destination", "Timeline#", "First segment", "Last segment", "Segments#", "Stored#", "Last stored", "State"];
    let by_timeline = Table::new("Timelines", &headings);
    let gap = |(archive, timeline): (&ArchivedWal, &Timeline)| {
        let destination = archive.destination.clone();
        let row = move |gap: &longshore_engine::wal::inventory::Gap| {
            vec![
                Cell::new(&destination),
                Cell::new(&gap.first),
                Cell::new(&gap.last),
                Cell::new(gap.segments.to_string()),
                Cell::classed("short", time(gap.last_stored)),
            ]
        };
        timeline.gaps.iter().map(row).collect::<Vec<_>>()
    };
    let headings = ["Destination", "First missing segment", "Last missing segment", "Segments#", "Previous one stored"];
    section
        .table(windows.rows(archives.iter().map(window), MAX_ROWS))
        .table(Table::new("Gaps", &headings).rows(timelines().flat_map(gap), MAX_ROWS))
        .table(by_timeline.rows(timelines().map(timeline), MAX_ROWS))
}

/// Returns the class of a timeline's state, and the state in words.
fn state(timeline: &Timeline) -> (&'static str, &'static str) {
    match (timeline.gaps.is_empty(), timeline.ambiguous.is_empty(), timeline.has_history) {
        (true, true, true) => ("good", "whole"),
        (false, _, _) => ("warning", "has gaps"),
        (_, false, _) => ("critical", "ambiguous segments"),
        (_, _, false) => ("critical", "without history"),
    }
}
