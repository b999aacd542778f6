//! The end of a restore whose caller was dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// True after the caller of a restore was dropped. The failure of the input does not reach a thread
/// that has read everything and writes files to the disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Abandoned(Arc<AtomicBool>);

impl Abandoned {
    /// Returns true if the caller was dropped.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns a guard that sets the value when it is dropped.
    pub(crate) fn set_on_drop(&self) -> SetOnDrop {
        SetOnDrop(self.clone())
    }
}

/// A guard of the caller.
#[derive(Debug)]
pub(crate) struct SetOnDrop(Abandoned);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
