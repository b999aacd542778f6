//! Progress events of a stream.

use std::sync::Arc;

use crate::error::Error;

/// An observer of a stream, called from several tasks at once. It must not block.
pub trait Progress: Send + Sync {
    /// Adds bytes to be read to the total.
    fn planned(&self, _bytes: u64) {}

    /// Reports bytes that were read.
    fn read(&self, bytes: u64);

    /// Reports the part of the stream that comes next.
    fn part(&self, _part: &Part) {}

    /// Reports bytes that a destination accepted.
    fn shipped(&self, _destination: &str, _bytes: u64) {}

    /// Reports that a destination failed. The other destinations continue.
    fn destination_failed(&self, _destination: &str, _error: &Error) {}
}

/// A part of a stream's contents, such as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The part's name.
    pub name: String,
    /// The number of parts before this one.
    pub done: u64,
    /// The total number of parts, if known.
    pub of: Option<u64>,
}

/// Returns an observer that ignores all events.
pub fn no_progress() -> Arc<dyn Progress> {
    struct NoProgress;
    impl Progress for NoProgress {
        fn read(&self, _: u64) {}
    }
    Arc::new(NoProgress)
}
