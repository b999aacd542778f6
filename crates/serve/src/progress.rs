//! The events of a task, as lines of JSON on a descriptor that its process inherits.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use longshore_core::event::{Event, Observer, Step};
use longshore_page::live::{Progress, SubjectProgress};
use serde::{Deserialize, Serialize};

/// The time between two lines about the bytes of a subject.
const INTERVAL: Duration = Duration::from_millis(250);
/// The maximum size of a line in bytes: a pipe accepts such a line as a whole or not at all.
const MAX_LINE_BYTES: usize = 4096;
/// The maximum length of a text in a line, in bytes.
const MAX_TEXT_BYTES: usize = 1000;
/// The maximum number of messages that are kept.
const MAX_MESSAGES: usize = 20;
/// The maximum number of subjects that are kept.
const MAX_SUBJECTS: usize = 1000;

/// One event of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// A subject will be copied.
    Planned {
        /// The subject.
        subject: String,
        /// The estimated number of bytes.
        bytes: Option<u64>,
    },
    /// The copy of a subject started.
    Started {
        /// The subject.
        subject: String,
    },
    /// Bytes of a subject were read.
    Progress {
        /// The subject; empty for the task as a whole.
        subject: String,
        /// The number of bytes to read, if it is known.
        planned: u64,
        /// The number of bytes read so far.
        read: u64,
        /// The part of the stream in progress.
        part: String,
    },
    /// The copy of a subject ended.
    Finished {
        /// The subject.
        subject: String,
        /// True if a destination has the copy.
        stored: bool,
    },
    /// A step of a drill started, or a receiver of WAL works.
    Step {
        /// The step.
        text: String,
    },
    /// A warning or an error.
    Message {
        /// The message.
        text: String,
    },
}

/// Applies a line to the progress of its task.
pub(crate) fn apply(progress: &mut Progress, line: Line) {
    match line {
        Line::Planned { subject, bytes } => {
            if let Some(it) = subject_entry(progress, subject) {
                (it.planned_bytes, it.state) = (bytes.unwrap_or_default(), "waiting".to_owned());
            }
        }
        Line::Started { subject } => {
            if let Some(it) = subject_entry(progress, subject) {
                it.state = "in progress".to_owned();
            }
        }
        Line::Progress { subject, planned, read, part } => {
            if let Some(it) = subject_entry(progress, subject) {
                it.planned_bytes = it.planned_bytes.max(planned);
                (it.read_bytes, it.part) = (read, part);
                if it.state.is_empty() {
                    it.state = "in progress".to_owned();
                }
            }
        }
        Line::Finished { subject, stored } => {
            if let Some(it) = subject_entry(progress, subject) {
                it.state = if stored { "done" } else { "failed" }.to_owned();
                it.part.clear();
            }
        }
        Line::Step { text } => {
            if let Some(it) = subject_entry(progress, String::new()) {
                it.state = text;
            }
        }
        Line::Message { text } => {
            if progress.messages.len() < MAX_MESSAGES {
                progress.messages.push(text);
            }
        }
    }
}

fn subject_entry(progress: &mut Progress, name: String) -> Option<&mut SubjectProgress> {
    let place = match progress.subjects.iter().position(|it| it.name == name) {
        Some(place) => place,
        None if progress.subjects.len() >= MAX_SUBJECTS => return None,
        None => {
            progress.subjects.push(SubjectProgress { name, ..SubjectProgress::default() });
            progress.subjects.len() - 1
        }
    };
    progress.subjects.get_mut(place)
}

/// An observer that writes events to a descriptor, and passes them on.
pub struct EventWriter {
    inner: Arc<dyn Observer>,
    state: Mutex<State>,
}

struct State {
    file: File,
    subjects: HashMap<String, Counted>,
}

struct Counted {
    planned: u64,
    read: u64,
    part: String,
    written: Option<Instant>,
}

impl EventWriter {
    /// Opens an inherited descriptor. A reader that is slow or closed never blocks the task: lines
    /// that it does not accept are lost.
    ///
    /// # Errors
    ///
    /// Fails if the descriptor is not open.
    pub fn open(descriptor: u32, inner: Arc<dyn Observer>) -> io::Result<Self> {
        // Opened again, so that the flag does not affect other holders of the descriptor.
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file = OpenOptions::new().write(true).custom_flags(flags).open(format!("/proc/self/fd/{descriptor}"))?;
        Ok(Self { inner, state: Mutex::new(State { file, subjects: HashMap::new() }) })
    }

    /// Writes a line that belongs to no event of a run.
    pub fn write(&self, line: &Line) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).write(line);
    }
}

impl State {
    fn write(&mut self, line: &Line) {
        let Ok(mut bytes) = serde_json::to_vec(line) else { return };
        bytes.push(b'\n');
        if bytes.len() <= MAX_LINE_BYTES {
            // A closed reader has no use for the events.
            self.file.write_all(&bytes).ok();
        }
    }

    fn counted(&mut self, subject: &str) -> &mut Counted {
        let new = || Counted { planned: 0, read: 0, part: String::new(), written: None };
        self.subjects.entry(subject.to_owned()).or_insert_with(new)
    }

    fn progress(&mut self, subject: String) {
        let counted = self.counted(&subject);
        if counted.written.is_some_and(|written| written.elapsed() < INTERVAL) {
            return;
        }
        counted.written = Some(Instant::now());
        let Counted { planned, read, part, .. } = counted;
        let line = Line::Progress { subject, planned: *planned, read: *read, part: shortened(part) };
        self.write(&line);
    }
}

/// Returns the beginning of a text, which fits into a line.
pub fn shortened(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or_default().to_owned()
}

impl Observer for EventWriter {
    fn event(&self, event: &Event<'_>) {
        self.inner.event(event);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let subject = event.subject().map(ToString::to_string);
        let subject = || subject.clone().or_else(|| event.backup().map(ToString::to_string)).unwrap_or_default();
        match event.unscoped() {
            Event::RunPlanned(subjects) => {
                for planned in subjects {
                    let line = Line::Planned {
                        subject: shortened(&planned.subject.to_string()),
                        bytes: planned.estimated_bytes,
                    };
                    state.write(&line);
                }
            }
            Event::SubjectStarted => state.write(&Line::Started { subject: shortened(&subject()) }),
            Event::BytesPlanned(bytes) => state.counted(&subject()).planned += bytes,
            Event::BytesRead(bytes) => {
                let subject = subject();
                state.counted(&subject).read += bytes;
                state.progress(subject);
            }
            Event::PartReached(part) => state.counted(&subject()).part = part.name.to_owned(),
            Event::SubjectFinished(result) => {
                state.write(&Line::Finished { subject: shortened(&subject()), stored: result.is_stored() });
            }
            Event::DestinationFailed { destination, error } => {
                let text = shortened(&format!("{destination}: {}", error.chain()));
                state.write(&Line::Message { text });
            }
            Event::StepStarted(step) => state.write(&Line::Step { text: step_text(step).to_owned() }),
            Event::Warned(warning) => state.write(&Line::Message { text: shortened(warning) }),
            _ => {}
        }
    }
}

fn step_text(step: Step<'_>) -> &'static str {
    match step {
        Step::PrepareScratch => "preparing the scratch server",
        Step::Restore { .. } => "restoring",
        Step::Compare => "comparing",
        Step::Examine { .. } => "examining",
        Step::RemoveScratch => "cleaning up the scratch server",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_build_the_progress_of_a_task() {
        let mut progress = Progress::default();
        let subject = || "database appdb".to_owned();
        let lines = [
            Line::Planned { subject: subject(), bytes: Some(100) },
            Line::Started { subject: subject() },
            Line::Progress { subject: subject(), planned: 0, read: 40, part: "public.orders".to_owned() },
            Line::Message { text: "disk: full".to_owned() },
        ];
        for line in lines {
            let text = serde_json::to_string(&line).unwrap();
            apply(&mut progress, serde_json::from_str(&text).unwrap());
        }
        let it = &progress.subjects[0];
        assert_eq!(
            (it.planned_bytes, it.read_bytes, it.state.as_str(), it.part.as_str()),
            (100, 40, "in progress", "public.orders")
        );
        assert_eq!(progress.messages, ["disk: full"]);
        apply(&mut progress, Line::Finished { subject: subject(), stored: false });
        assert_eq!((progress.subjects.len(), progress.subjects[0].state.as_str()), (1, "failed"));
    }

    #[test]
    fn reader_that_does_not_read_blocks_nothing() {
        use std::os::fd::AsRawFd;
        let (reader, writer) = io::pipe().unwrap();
        let descriptor = u32::try_from(writer.as_raw_fd()).unwrap();
        let events = EventWriter::open(descriptor, longshore_core::event::ignore()).unwrap();
        for _ in 0..5000 {
            events.event(&Event::Warned(&"x".repeat(500)));
        }
        drop(reader);
        events.event(&Event::Warned("nothing reads this"));
    }
}
