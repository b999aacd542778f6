//! Progress notifications of a run.

use std::sync::Arc;

use longshore_core::Error;
use longshore_core::progress::{Part, Progress};
use longshore_core::stage::DiscoveredSubject;
use longshore_core::subject::Subject;

use crate::report::ArtifactReport;

/// An observer of a run's progress. Several tasks call its methods at once; no method may block.
pub trait RunProgress: Send + Sync {
    /// Called before a run copies these subjects.
    fn planned(&self, subjects: &[DiscoveredSubject]);
    /// Called when the copy of a subject begins.
    fn began(&self, subject: &Subject);
    /// Called when `bytes` more bytes of a subject were read.
    fn read(&self, subject: &Subject, bytes: u64);
    /// Called when a subject's stream reaches a place, such as a table.
    fn at(&self, _subject: &Subject, _place: &Part) {}
    /// Called when a destination received more bytes of a subject.
    fn shipped(&self, _subject: &Subject, _destination: &str, _bytes: u64) {}
    /// Called when the upload to a destination failed. The uploads to the others continue.
    fn upload_failed(&self, _subject: &Subject, _destination: &str, _error: &Error) {}
    /// Called when the copy of a subject ended, successfully or not.
    fn ended(&self, artifact: &ArtifactReport);
}

/// An observer that ignores all notifications.
pub struct NoProgress;

impl RunProgress for NoProgress {
    fn planned(&self, _: &[DiscoveredSubject]) {}
    fn began(&self, _: &Subject) {}
    fn read(&self, _: &Subject, _: u64) {}
    fn ended(&self, _: &ArtifactReport) {}
}

/// The observer of a run, notified about one of its subjects.
pub(crate) struct SubjectProgress {
    pub(crate) run: Arc<dyn RunProgress>,
    pub(crate) subject: Subject,
}

impl Progress for SubjectProgress {
    fn read(&self, bytes: u64) {
        self.run.read(&self.subject, bytes);
    }

    fn part(&self, place: &Part) {
        self.run.at(&self.subject, place);
    }

    fn shipped(&self, destination: &str, bytes: u64) {
        self.run.shipped(&self.subject, destination, bytes);
    }

    fn destination_failed(&self, destination: &str, error: &Error) {
        self.run.upload_failed(&self.subject, destination, error);
    }
}
