//! The upload of a small body in one request.

use std::time::Duration;

use longshore_core::{Error, Kind, Result};
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions, PutPayload};

use crate::bucket::Backend;
use crate::create_only::CreateOnly;
use crate::error::{ErrorResponse, already_exists, lacks_response};
use crate::head::{ObjectState, UploadToken};

/// The number of attempts if responses are lost or another upload interferes.
const MAX_ATTEMPTS: u32 = 4;

impl Backend {
    /// Uploads a body that is in memory.
    pub(crate) async fn put(&self, path: &Path, payload: PutPayload) -> Result<()> {
        let token = UploadToken::new();
        match self.create_only_of_put().await? {
            CreateOnly::ByStore => self.put_new(path, payload, &token).await,
            CreateOnly::ByChecks => {
                if matches!(self.head(path, &token).await?, ObjectState::Ours(_) | ObjectState::Other) {
                    return Err(self.already_exists(path));
                }
                self.put_once(path, payload, PutMode::Overwrite, &token)
                    .await
                    .map_err(|error| self.upload_error(path, error))?;
                match self.head(path, &token).await? {
                    ObjectState::Ours(_) | ObjectState::Unknown => Ok(()),
                    ObjectState::Other => Err(self.already_exists(path)),
                    ObjectState::Missing => Err(self.missing_after_upload(path)),
                }
            }
        }
    }

    /// Uploads the body, with retries while the outcome is unknown. The store may refuse an object
    /// that an earlier attempt created, if its response was lost.
    async fn put_new(&self, path: &Path, payload: PutPayload, token: &UploadToken) -> Result<()> {
        let (mut attempt, mut wait) = (1, Duration::from_millis(200));
        loop {
            let error = match self.put_once(path, payload.clone(), PutMode::Create, token).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let retryable =
                lacks_response(&error) || ErrorResponse::parse(&error).is_some_and(|response| response.is_race());
            let error = self.upload_error(path, error);
            let ambiguous = matches!(error.kind(), Kind::AlreadyExists | Kind::Unavailable);
            if ambiguous && self.is_ours(path, token).await {
                return Ok(());
            }
            if !retryable || attempt == MAX_ATTEMPTS {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            (attempt, wait) = (attempt + 1, wait * 2);
        }
    }

    async fn put_once(
        &self,
        path: &Path,
        payload: PutPayload,
        mode: PutMode,
        token: &UploadToken,
    ) -> object_store::Result<()> {
        let attributes = token.attach(&self.attributes);
        let options = PutOptions { mode, tags: self.tags.clone(), attributes, extensions: self.extensions() };
        self.store.put_opts(path, payload, options).await.map(drop)
    }

    fn upload_error(&self, path: &Path, error: object_store::Error) -> Error {
        self.convert_error(path, "cannot upload the object", error)
    }

    pub(crate) fn already_exists(&self, path: &Path) -> Error {
        already_exists(&self.location.object_url(path))
    }
}
