//! Failed reads of a destination's files: a few are reported individually, more mean that the
//! destination is unavailable.

use std::sync::atomic::{AtomicUsize, Ordering};

use longshore_model::error::{Error, Kind, Result};

/// The number of failed files before the destination counts as unavailable.
const MAX_FAILED: usize = 8;

/// A counter of failed files.
#[derive(Debug, Default)]
pub(super) struct FailedReads(AtomicUsize);

impl FailedReads {
    /// Returns true if the error may be one of the whole destination.
    pub(super) fn is_store_error(error: &Error) -> bool {
        !matches!(error.kind(), Kind::Denied | Kind::Corrupt | Kind::Refused)
    }

    /// Counts a failed file. Returns its error if the connection is lost or if too many files have
    /// failed.
    pub(super) fn count(&self, error: &Error) -> Result<()> {
        let is_file_error = error.kind() != Kind::Unavailable && self.0.fetch_add(1, Ordering::Relaxed) < MAX_FAILED;
        if is_file_error { Ok(()) } else { Err(error.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_model::error::Stage;

    #[test]
    fn few_failed_reads_are_no_store_failure() {
        let error = |kind| Error::new(Stage::Ship, kind, "x", "no answer");
        let failed_reads = FailedReads::default();
        assert_eq!((0..10).take_while(|_| failed_reads.count(&error(Kind::Failed)).is_ok()).count(), MAX_FAILED);
        assert!(FailedReads::default().count(&error(Kind::Unavailable)).is_err());
    }
}
