//! The upload of a small body in one request.

use std::time::Duration;

use longshore_core::{Error, Kind, Result};
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions, PutPayload};

use crate::bucket::Backend;
use crate::failure::{Answer, taken, unanswered};
use crate::guard::Guard;
use crate::look::{Found, Writer};

/// The number of attempts if answers are lost or another writer interferes.
const TRIES: u32 = 4;

impl Backend {
    /// Uploads a body that is in memory.
    pub(crate) async fn put(&self, path: &Path, payload: PutPayload) -> Result<()> {
        let writer = Writer::new();
        match self.guard_of_put().await? {
            Guard::Store => self.create(path, payload, &writer).await,
            Guard::Look => {
                if matches!(self.look(path, &writer).await?, Found::Ours(_) | Found::Anothers) {
                    return Err(self.taken(path));
                }
                self.send(path, payload, PutMode::Overwrite, &writer)
                    .await
                    .map_err(|error| self.unsent(path, error))?;
                match self.look(path, &writer).await? {
                    Found::Ours(_) | Found::Unseen => Ok(()),
                    Found::Anothers => Err(self.taken(path)),
                    Found::Nothing => Err(self.vanished(path)),
                }
            }
        }
    }

    /// Uploads the body, with retries while the outcome is unknown. The store may refuse an object
    /// that an earlier attempt created, if its answer was lost.
    async fn create(&self, path: &Path, payload: PutPayload, writer: &Writer) -> Result<()> {
        let (mut attempt, mut wait) = (1, Duration::from_millis(200));
        loop {
            let error = match self.send(path, payload.clone(), PutMode::Create, writer).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let again = unanswered(&error) || Answer::of(&error).is_some_and(|answer| answer.is_race());
            let error = self.unsent(path, error);
            let doubtful = matches!(error.kind(), Kind::AlreadyExists | Kind::Unavailable);
            if doubtful && self.is_ours(path, writer).await {
                return Ok(());
            }
            if !again || attempt == TRIES {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            (attempt, wait) = (attempt + 1, wait * 2);
        }
    }

    async fn send(&self, path: &Path, payload: PutPayload, mode: PutMode, writer: &Writer) -> object_store::Result<()> {
        let attributes = writer.sign(&self.attributes);
        let options = PutOptions { mode, tags: self.tags.clone(), attributes, extensions: self.extensions() };
        self.store.put_opts(path, payload, options).await.map(drop)
    }

    fn unsent(&self, path: &Path, error: object_store::Error) -> Error {
        self.failure(path, "cannot upload the object", error)
    }

    pub(crate) fn taken(&self, path: &Path) -> Error {
        taken(&self.place.subject(path))
    }
}
