//! Who is told how far the work is.

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
