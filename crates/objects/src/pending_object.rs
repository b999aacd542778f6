//! A visible object whose upload can still be cancelled.

use std::sync::Arc;

use longshore_core::{Result, cleanup};
use object_store::path::Path;

use crate::bucket::Backend;

/// A visible object. Dropping it deletes the object unless it is committed, because the caller was
/// cancelled before it learned of the upload.
pub(crate) struct PendingObject {
    backend: Arc<Backend>,
    path: Path,
    committed: bool,
}

impl PendingObject {
    pub(crate) fn new(backend: &Arc<Backend>, path: &Path) -> Self {
        Self { backend: Arc::clone(backend), path: path.clone(), committed: false }
    }

    /// Keeps the object: the caller learns of the upload.
    pub(crate) fn commit(mut self) {
        self.committed = true;
    }

    /// Deletes the object and waits for the deletion.
    pub(crate) async fn roll_back(mut self) {
        self.committed = true;
        cleanup::run_cleanup(self.deletion()).await;
    }

    fn deletion(&self) -> impl Future<Output = Result<()>> + Send + 'static {
        let (backend, path) = (Arc::clone(&self.backend), self.path.clone());
        async move { backend.remove(&path).await }
    }
}

impl Drop for PendingObject {
    fn drop(&mut self) {
        if !self.committed {
            // Write-only credentials cannot delete the object. It then remains as an artifact
            // without a manifest, which does not count as a backup.
            cleanup::spawn_cleanup(self.deletion());
        }
    }
}
