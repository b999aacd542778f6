//! What is visible while its shipper may still go away.

use std::sync::Arc;

use longshore_core::{Result, aftercare};
use object_store::path::Path;

use crate::bucket::Backend;

/// An object that is visible. Unless it is kept, dropping it removes it again: nobody was there to hear that it had arrived.
pub(crate) struct Published {
    backend: Arc<Backend>,
    path: Path,
    kept: bool,
}

impl Published {
    pub(crate) fn new(backend: &Arc<Backend>, path: &Path) -> Self {
        Self { backend: Arc::clone(backend), path: path.clone(), kept: false }
    }

    /// The shipper is there to hear it: the object stays.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }

    /// Removes it again, and waits for that.
    pub(crate) async fn take_back(mut self) {
        self.kept = true;
        aftercare::see_out(self.removal()).await;
    }

    fn removal(&self) -> impl Future<Output = Result<()>> + Send + 'static {
        let (backend, path) = (Arc::clone(&self.backend), self.path.clone());
        async move { backend.remove(&path).await }
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        if !self.kept {
            // Credentials that may only write cannot take it back; an artifact is without a manifest then, and counts as nothing.
            aftercare::see_to(self.removal());
        }
    }
}
