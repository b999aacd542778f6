//! What is visible while its shipper may still go away.

use std::sync::Arc;

use longshore_core::aftercare;
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
}

impl Drop for Published {
    fn drop(&mut self) {
        let (backend, path) = (Arc::clone(&self.backend), self.path.clone());
        if !self.kept {
            // Credentials that may only write cannot take it back; then it is an artifact without a manifest, which counts as nothing.
            aftercare::see_to(async move { backend.remove(&path).await });
        }
    }
}
