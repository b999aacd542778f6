//! Atomic uploads: a hidden temporary file is written, then published once, complete, without
//! overwriting. An upload that fails or is dropped leaves nothing.
//!
//! A destination creates and writes the temporary file in its own way, and implements [`Backend`]
//! to publish or remove it. [`AtomicUpload`] decides when this happens.

use futures_util::future::BoxFuture;

use crate::cleanup::{run_cleanup, shield, spawn_cleanup};
use crate::error::{Error, Result};

/// The files of one upload: the temporary file, and the file published from it.
pub trait Backend: Send + 'static {
    /// Gives the written file its own name, unless the name is taken, and makes it durable.
    fn publish(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Returns the removal of the files that may exist. It outlives the upload.
    fn roll_back(&mut self) -> BoxFuture<'static, Result<()>>;
}

/// An upload whose temporary file may exist. Dropping it removes its files; if this fails, a later
/// sweep finds a temporary file.
#[derive(Debug)]
pub struct AtomicUpload<B: Backend> {
    /// The files.
    pub backend: B,
    kept: bool,
}

impl<B: Backend> AtomicUpload<B> {
    /// Returns an upload that owns the files of `backend` from now on.
    pub fn new(backend: B) -> Self {
        Self { backend, kept: false }
    }

    /// Publishes the file if it was written. Otherwise removes it before the error is returned.
    ///
    /// # Errors
    ///
    /// Fails with the error of `written`, or if publishing fails.
    pub async fn finish(self, written: Result<()>) -> Result<()> {
        match written {
            // If this future is dropped, so is its result, which removes the published file.
            Ok(()) => shield(self.publish()).await.map(Self::keep),
            Err(error) => Err(self.fail(error).await),
        }
    }

    /// Publishes the file. The caller keeps the upload, or drops it to remove the file.
    ///
    /// # Errors
    ///
    /// Fails if publishing fails, after the files are removed.
    pub async fn publish(mut self) -> Result<Self> {
        match self.backend.publish().await {
            Ok(()) => Ok(self),
            Err(error) => Err(self.fail(error).await),
        }
    }

    /// Keeps the files: another owner is responsible for them.
    pub fn keep(mut self) {
        self.kept = true;
    }

    /// Removes the files, and returns the error that ended the upload.
    async fn fail(mut self, error: Error) -> Error {
        let removal = self.backend.roll_back();
        self.keep();
        run_cleanup(removal).await;
        error
    }
}

impl<B: Backend> Drop for AtomicUpload<B> {
    fn drop(&mut self) {
        if !self.kept {
            spawn_cleanup(self.backend.roll_back());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::cleanup::CleanupScope;
    use crate::error::{Kind, Stage};

    /// Files that take a while to publish and to remove.
    #[derive(Clone, Default)]
    struct Files {
        visible: Arc<AtomicBool>,
        removed: Arc<AtomicBool>,
        name_is_taken: bool,
    }

    impl Backend for Files {
        async fn publish(&mut self) -> Result<()> {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if self.name_is_taken {
                return Err(failed("the name is taken"));
            }
            self.visible.store(true, Ordering::SeqCst);
            Ok(())
        }

        fn roll_back(&mut self) -> BoxFuture<'static, Result<()>> {
            let files = self.clone();
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                files.visible.store(false, Ordering::SeqCst);
                files.removed.store(true, Ordering::SeqCst);
                Ok(())
            })
        }
    }

    fn failed(message: &str) -> Error {
        Error::new(Stage::Ship, Kind::Failed, "", message)
    }

    impl Files {
        /// Returns whether the file is visible, and whether the files were removed.
        fn state(&self) -> (bool, bool) {
            (self.visible.load(Ordering::SeqCst), self.removed.load(Ordering::SeqCst))
        }
    }

    #[tokio::test]
    async fn finish_keeps_a_published_file() {
        let (files, scope) = (Files::default(), CleanupScope::default());
        scope.run(AtomicUpload::new(files.clone()).finish(Ok(()))).await.unwrap();
        scope.wait().await;
        assert_eq!(files.state(), (true, false));
    }

    #[tokio::test]
    async fn failures_remove_the_files_before_they_return() {
        let files = Files::default();
        let error = AtomicUpload::new(files.clone()).finish(Err(failed("the body ended"))).await.unwrap_err();
        assert!(error.to_string().contains("the body ended"), "{error}");
        assert_eq!(files.state(), (false, true));

        let files = Files { name_is_taken: true, ..Files::default() };
        let error = AtomicUpload::new(files.clone()).finish(Ok(())).await.unwrap_err();
        assert!(error.to_string().contains("the name is taken"), "{error}");
        assert_eq!(files.state(), (false, true));
    }

    #[tokio::test]
    async fn dropped_uploads_remove_the_files() {
        let (files, scope) = (Files::default(), CleanupScope::default());
        scope.run(async { drop(AtomicUpload::new(files.clone())) }).await;
        scope.wait().await;
        assert_eq!(files.state(), (false, true));

        // The caller is cancelled while the file is published.
        let files = Files::default();
        let finish = scope.run(AtomicUpload::new(files.clone()).finish(Ok(())));
        assert!(tokio::time::timeout(Duration::from_millis(10), finish).await.is_err());
        scope.wait().await;
        assert_eq!(files.state(), (false, true));
    }
}
