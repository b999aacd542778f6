//! The tasks in progress.

use askama::Template;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::render;
use crate::text::{Stamp, bytes, shown};

/// A task in progress on this host, or in the queue of the service.
#[derive(Debug, Clone, Serialize)]
pub struct Task {
    /// The verb.
    pub verb: String,
    /// The job.
    pub job: String,
    /// The time at which the task started, or was requested.
    pub since: DateTime<Utc>,
    /// True if the task waits for another one to end.
    #[serde(rename = "waiting")]
    pub is_waiting: bool,
    /// The program that started the task.
    pub origin: Origin,
    /// The progress.
    pub progress: Progress,
}

impl Task {
    /// Returns true for the task of a verb and a job that the service itself started.
    pub fn is_own(&self, verb: &str, job: &str) -> bool {
        self.origin == Origin::Service && self.verb == verb && self.job == job
    }
}

/// The program that started a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The service, which observes its progress.
    Service,
    /// Another program: a timer, a person, or a service that was killed since.
    Other,
}

/// The progress of a task.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Progress {
    /// The subjects.
    pub subjects: Vec<SubjectProgress>,
    /// Warnings and errors.
    pub messages: Vec<String>,
}

/// The progress of one subject.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SubjectProgress {
    /// The name of the subject or backup.
    pub name: String,
    /// The state in words.
    pub state: String,
    /// The estimated number of bytes to read.
    pub planned_bytes: u64,
    /// The number of bytes read.
    pub read_bytes: u64,
    /// The part of the stream in progress, such as a table.
    pub part: String,
}

#[derive(Template)]
#[template(path = "live.html")]
struct LivePage {
    tasks: Vec<TaskView>,
}

struct TaskView {
    verb: String,
    job: String,
    since: Stamp,
    is_waiting: bool,
    is_other: bool,
    rows: Vec<Row>,
    messages: Vec<String>,
}

struct Row {
    name: String,
    state: String,
    read: String,
    percent: Option<u64>,
    part: String,
}

/// Renders the tasks as a fragment of HTML.
pub fn fragment(tasks: &[Task]) -> String {
    let row = |subject: &SubjectProgress| Row {
        name: shown(&subject.name),
        state: shown(&subject.state),
        read: bytes(subject.read_bytes),
        percent: (subject.planned_bytes > 0)
            .then(|| (u128::from(subject.read_bytes) * 100 / u128::from(subject.planned_bytes)).min(100) as u64),
        part: shown(&subject.part),
    };
    let view = |task: &Task| TaskView {
        verb: shown(&task.verb),
        job: shown(&task.job),
        since: task.since.into(),
        is_waiting: task.is_waiting,
        is_other: task.origin == Origin::Other,
        rows: task.progress.subjects.iter().map(row).collect(),
        messages: task.progress.messages.iter().map(|message| shown(message)).collect(),
    };
    render(&LivePage { tasks: tasks.iter().map(view).collect() })
}
