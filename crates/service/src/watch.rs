//! Who is told how far the work is.

use std::sync::Arc;

use longshore_core::Error;
use longshore_core::progress::{Place, Progress};
use longshore_core::stage::Surveyed;
use longshore_core::subject::Subject;

use crate::report::ArtifactReport;

/// Told how far the work is, from several tasks at once. It must not wait.
pub trait Watch: Send + Sync {
    /// A run is about to copy these.
    fn planned(&self, subjects: &[Surveyed]);
    /// One of them begins.
    fn began(&self, subject: &Subject);
    /// So many more bytes of it were read.
    fn read(&self, subject: &Subject, bytes: u64);
    /// It is about to bring this, such as a table.
    fn at(&self, _subject: &Subject, _place: &Place) {}
    /// A destination took so many more bytes of it.
    fn shipped(&self, _subject: &Subject, _destination: &str, _bytes: u64) {}
    /// A destination was given up; the others go on.
    fn gave_up(&self, _subject: &Subject, _destination: &str, _error: &Error) {}
    /// It ended, well or not.
    fn ended(&self, artifact: &ArtifactReport);
}

/// Nobody.
pub struct Nobody;

impl Watch for Nobody {
    fn planned(&self, _: &[Surveyed]) {}
    fn began(&self, _: &Subject) {}
    fn read(&self, _: &Subject, _: u64) {}
    fn ended(&self, _: &ArtifactReport) {}
}

/// Whoever watches a run, told of one of its subjects.
pub(crate) struct Watched {
    pub(crate) watch: Arc<dyn Watch>,
    pub(crate) subject: Subject,
}

impl Progress for Watched {
    fn read(&self, bytes: u64) {
        self.watch.read(&self.subject, bytes);
    }

    fn at(&self, place: &Place) {
        self.watch.at(&self.subject, place);
    }

    fn shipped(&self, destination: &str, bytes: u64) {
        self.watch.shipped(&self.subject, destination, bytes);
    }

    fn gave_up(&self, destination: &str, error: &Error) {
        self.watch.gave_up(&self.subject, destination, error);
    }
}
