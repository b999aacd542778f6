//! The events of runs, restores, verifications and drills, and their observers.
//!
//! There is one type of events and one trait of observers. A progress bar, a log or a page matches
//! the events that it shows, and ignores the others.

use std::iter::successors;
use std::sync::Arc;

use futures_util::StreamExt;

use crate::discovery::DiscoveredSubject;
use crate::drill::Phase;
use crate::error::Error;
use crate::key::BackupName;
use crate::stream::ByteStream;
use crate::subject::Subject;

/// An event. All values are borrowed, because events of bytes are sent for every chunk.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// An event of one subject or backup.
    Scoped {
        /// The subject or backup.
        scope: Scope<'a>,
        /// The event.
        event: &'a Event<'a>,
    },
    /// A run is about to copy these subjects.
    RunPlanned(&'a [DiscoveredSubject]),
    /// The copy of the subject started.
    SubjectStarted,
    /// The copy of the subject ended, successfully or not.
    SubjectFinished(SubjectResult<'a>),
    /// This number of bytes is to be read in addition to those planned before.
    BytesPlanned(u64),
    /// This number of bytes was read.
    BytesRead(u64),
    /// The stream reached its next part.
    PartReached(Part<'a>),
    /// A destination accepted bytes.
    BytesShipped {
        /// The destination's name.
        destination: &'a str,
        /// The number of bytes.
        bytes: u64,
    },
    /// A destination failed. The other destinations continue.
    DestinationFailed {
        /// The destination's name.
        destination: &'a str,
        /// The error.
        error: &'a Error,
    },
    /// A destination failed to serve the backup, and another one continues.
    SourceFailed {
        /// The error.
        error: &'a Error,
        /// The name of the destination that continues.
        next: &'a str,
    },
    /// The restore of the backup started.
    RestoreStarted(RestoreStart<'a>),
    /// The restore of the backup ended, with its phases if it succeeded.
    RestoreFinished(Result<&'a [Phase], &'a Error>),
    /// A step of a restore or a drill started.
    StepStarted(Step<'a>),
    /// A warning for the operator.
    Warned(&'a str),
}

/// The subject or backup that an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// A subject of a run.
    Subject(&'a Subject),
    /// A backup.
    Backup(&'a BackupName),
}

/// A part of a stream's contents, such as a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// The part's name.
    pub name: &'a str,
    /// The number of parts before this one.
    pub done: u64,
    /// The total number of parts, if known.
    pub of: Option<u64>,
}

/// The result of the copy of a subject.
#[derive(Debug, Clone, Copy)]
pub struct SubjectResult<'a> {
    /// The number of bytes that the dump program wrote.
    pub plaintext_bytes: u64,
    /// The number of bytes stored at each destination.
    pub sealed_bytes: u64,
    /// The result at each destination.
    pub destinations: &'a [DestinationResult<'a>],
    /// The message of the error, if the dump failed.
    pub error: Option<&'a str>,
}

/// The result of the copy of a subject at one destination.
#[derive(Debug, Clone, Copy)]
pub struct DestinationResult<'a> {
    /// The destination's name.
    pub destination: &'a str,
    /// The duration in seconds.
    pub seconds: f64,
    /// True if the upload failed.
    pub failed: bool,
}

/// The start of the restore of a backup.
#[derive(Debug, Clone, Copy)]
pub struct RestoreStart<'a> {
    /// The subject of the backup.
    pub subject: &'a Subject,
    /// The name of the destination that serves the backup.
    pub destination: &'a str,
    /// The number of bytes to read.
    pub plaintext_bytes: u64,
    /// The estimated duration in seconds, if a drill was recorded.
    pub estimated_seconds: Option<f64>,
}

/// A step of a restore or a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The scratch server is prepared.
    PrepareScratch,
    /// The backup is restored into the scratch server.
    Restore {
        /// The name of the destination that serves the backup.
        destination: &'a str,
    },
    /// The restored database is compared with the record of its dump.
    Compare,
    /// The restored data is compared with the record, and queried.
    Examine {
        /// The subject of the backup.
        subject: &'a Subject,
    },
    /// The scratch server is cleaned up.
    RemoveScratch,
}

/// An observer of events. Several tasks call it at once, once for each chunk of a stream. It must
/// not block.
pub trait Observer: Send + Sync {
    /// Observes an event.
    fn event(&self, event: &Event<'_>);
}

impl<'a> Event<'a> {
    /// Returns the event without its scopes.
    pub fn unscoped(&self) -> Self {
        self.nested().last().unwrap_or(*self)
    }

    /// Returns the subject of the run that the event is about, if any.
    pub fn subject(&self) -> Option<&'a Subject> {
        self.nested().find_map(|event| match event {
            Self::Scoped { scope: Scope::Subject(subject), .. } => Some(subject),
            _ => None,
        })
    }

    /// Returns the backup that the event is about, if any.
    pub fn backup(&self) -> Option<&'a BackupName> {
        self.nested().find_map(|event| match event {
            Self::Scoped { scope: Scope::Backup(backup), .. } => Some(backup),
            _ => None,
        })
    }

    /// Returns the event, the event in its scope, and so on.
    fn nested(&self) -> impl Iterator<Item = Self> + use<'a> {
        successors(Some(*self), |event| match event {
            Self::Scoped { event, .. } => Some(**event),
            _ => None,
        })
    }
}

impl SubjectResult<'_> {
    /// Returns true if a destination has the backup.
    pub fn is_stored(&self) -> bool {
        self.error.is_none() && (self.destinations.is_empty() || self.destinations.iter().any(|at| !at.failed))
    }
}

/// Returns an observer that ignores all events.
pub fn ignore() -> Arc<dyn Observer> {
    struct Ignore;
    impl Observer for Ignore {
        fn event(&self, _: &Event<'_>) {}
    }
    Arc::new(Ignore)
}

/// Returns an observer that passes events on as those of a subject.
pub fn of_subject(observer: &Arc<dyn Observer>, subject: Subject) -> Arc<dyn Observer> {
    Arc::new(ScopedObserver { observer: Arc::clone(observer), scope: OwnedScope::Subject(subject) })
}

/// Returns an observer that passes events on as those of a backup.
pub fn of_backup(observer: &Arc<dyn Observer>, backup: BackupName) -> Arc<dyn Observer> {
    Arc::new(ScopedObserver { observer: Arc::clone(observer), scope: OwnedScope::Backup(backup) })
}

/// Passes `stream` on, and reports the bytes of each chunk as read.
pub fn report_reads(stream: ByteStream, observer: Arc<dyn Observer>) -> ByteStream {
    let report = move |chunk: &Result<bytes::Bytes, Error>| {
        if let Ok(chunk) = chunk {
            observer.event(&Event::BytesRead(chunk.len() as u64));
        }
    };
    stream.inspect(report).boxed()
}

/// An observer of the events of one subject or backup.
struct ScopedObserver {
    observer: Arc<dyn Observer>,
    scope: OwnedScope,
}

enum OwnedScope {
    Subject(Subject),
    Backup(BackupName),
}

impl Observer for ScopedObserver {
    fn event(&self, event: &Event<'_>) {
        let scope = match &self.scope {
            OwnedScope::Subject(subject) => Scope::Subject(subject),
            OwnedScope::Backup(backup) => Scope::Backup(backup),
        };
        self.observer.event(&Event::Scoped { scope, event });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::error::{Kind, Stage};
    use crate::key::Timestamp;
    use crate::stream::{collect, failed, from_bytes};

    /// Records the events as text, each with its subject and backup.
    #[derive(Default)]
    struct Recorded(Mutex<Vec<RecordedEvent>>);

    /// The subject, the backup and the event.
    type RecordedEvent = (Option<String>, Option<String>, String);

    impl Observer for Recorded {
        fn event(&self, event: &Event<'_>) {
            let (subject, backup) = (event.subject().map(Subject::to_string), event.backup().map(ToString::to_string));
            self.0.lock().unwrap().push((subject, backup, format!("{:?}", event.unscoped())));
        }
    }

    impl Recorded {
        fn events(&self) -> Vec<RecordedEvent> {
            std::mem::take(&mut *self.0.lock().unwrap())
        }
    }

    fn observed() -> (Arc<Recorded>, Arc<dyn Observer>) {
        let recorded = Arc::new(Recorded::default());
        let observer: Arc<dyn Observer> = recorded.clone();
        (recorded, observer)
    }

    #[test]
    fn adapters_add_their_scope_to_each_event() {
        let (recorded, observer) = observed();
        let (appdb, time) = (Subject::database("appdb"), Timestamp::parse("2026-06-07_091500").unwrap());
        let backup = BackupName::new("main", "appdb", time).unwrap();
        observer.event(&Event::BytesPlanned(3));
        let of_subject = of_subject(&observer, appdb.clone());
        of_subject.event(&Event::BytesRead(1));
        of_backup(&of_subject, backup.clone()).event(&Event::BytesRead(2));
        let (appdb, backup) = (Some(appdb.to_string()), Some(backup.to_string()));
        let expected = [
            (None, None, "BytesPlanned(3)".to_owned()),
            (appdb.clone(), None, "BytesRead(1)".to_owned()),
            (appdb, backup, "BytesRead(2)".to_owned()),
        ];
        assert_eq!(recorded.events(), expected);
    }

    #[tokio::test]
    async fn reads_are_reported_without_failures() {
        let (recorded, observer) = observed();
        let stream = report_reads(from_bytes("dump"), Arc::clone(&observer));
        assert_eq!(collect(stream, 100, Stage::Dump, "").await.unwrap(), "dump");
        assert_eq!(recorded.events(), [(None, None, "BytesRead(4)".to_owned())]);
        let stream = report_reads(failed(Error::new(Stage::Dump, Kind::Failed, "", "dead")), observer);
        collect(stream, 100, Stage::Dump, "").await.unwrap_err();
        assert!(recorded.events().is_empty());
    }

    #[test]
    fn subject_is_stored_if_a_destination_succeeded() {
        let at = |failed| DestinationResult { destination: "nas", seconds: 1.0, failed };
        let is_stored = |destinations: &[DestinationResult<'_>], error: Option<&str>| {
            SubjectResult { plaintext_bytes: 1, sealed_bytes: 1, destinations, error }.is_stored()
        };
        assert!(is_stored(&[at(false), at(true)], None));
        assert!(!is_stored(&[at(true)], None));
        assert!(!is_stored(&[], Some("the dump failed")));
    }
}
