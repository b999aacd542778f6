//! What is visible while its shipper may still go away.

use std::sync::Arc;

use longshore_core::{Error, Kind, Result, Stage};
use object_store::path::Path;
use tokio::runtime::Handle;

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
        if !self.kept
            && let Ok(runtime) = Handle::try_current()
        {
            // Credentials that may only write cannot take it back; then it is an artifact without a manifest, which counts as nothing.
            runtime.spawn(async move { backend.remove(&path).await.ok() });
        }
    }
}

/// Sees `work` through to its end even if the caller goes away, since nobody can tell what a request that was cut has done.
/// What it results in is then dropped.
pub(crate) async fn see_through<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|error| {
        Err(Error::new(Stage::Ship, Kind::Failed, "", "work on an upload was cut").because(error))
    })
}
