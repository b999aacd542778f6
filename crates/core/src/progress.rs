//! How far the work on one stream is, for whoever watches.

use std::sync::Arc;

use crate::error::Error;

/// Told how far a stream is, from several tasks at once. It must not wait.
pub trait Progress: Send + Sync {
    /// So many more bytes are to be read.
    fn planned(&self, _bytes: u64) {}

    /// So many more bytes were read.
    fn read(&self, bytes: u64);

    /// What the stream is about to bring.
    fn at(&self, _place: &Place) {}

    /// A destination took so many more bytes.
    fn shipped(&self, _destination: &str, _bytes: u64) {}

    /// A destination was given up; the others go on.
    fn gave_up(&self, _destination: &str, _error: &Error) {}
}

/// A part of what a stream brings, such as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// How many came before it.
    pub done: u64,
    /// How many there are, where that is known.
    pub of: Option<u64>,
}

/// Nobody watches.
pub fn unwatched() -> Arc<dyn Progress> {
    struct Nobody;
    impl Progress for Nobody {
        fn read(&self, _: u64) {}
    }
    Arc::new(Nobody)
}
