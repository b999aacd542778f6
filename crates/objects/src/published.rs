//! A visible object whose upload can still be cancelled.

use std::sync::Arc;

use longshore_core::{Result, aftercare};
use object_store::path::Path;

use crate::bucket::Backend;

/// A visible object. Dropping it deletes the object unless it is kept, because the caller was
/// cancelled before it learned of the upload.
pub(crate) struct Published {
    backend: Arc<Backend>,
    path: Path,
    kept: bool,
}

impl Published {
    pub(crate) fn new(backend: &Arc<Backend>, path: &Path) -> Self {
        Self { backend: Arc::clone(backend), path: path.clone(), kept: false }
    }

    /// Keeps the object: the caller learns of the upload.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }

    /// Deletes the object and waits for the deletion.
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
            // Write-only credentials cannot delete the object. It then remains as an artifact
            // without a manifest, which does not count as a backup.
            aftercare::see_to(self.removal());
        }
    }
}
