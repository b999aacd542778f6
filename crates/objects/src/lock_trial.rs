//! A test of Object Lock: some stores accept a lock and ignore it.

use std::time::Duration;

use longshore_core::check::Finding;
use longshore_core::quantity::Span;
use longshore_core::{Error, Kind, Result, Stage};
use object_store::path::Path;
use object_store::{ObjectStore, PutOptions, PutPayload};
use tokio::time::Instant;

use crate::bucket::{Backend, Bucket};
use crate::lock::Lock;

/// The name of the trial object. The leading dot keeps it out of listings.
const TRIAL: &str = ".longshore-lock";
/// The content of the trial object.
const TRIAL_TEXT: &str =
    "Longshore locks this object for some seconds to test whether the store keeps it. It can be deleted.\n";
/// The duration of the trial lock: longer than the trial takes, and longer than the usual
/// difference of clocks.
const HOLDS: Duration = Duration::from_secs(8);
/// The hint for buckets without working locks.
const HINT: &str = "create a bucket with Object Lock at a store that supports it, or remove object_lock";

impl Bucket {
    /// Locks an object for some seconds, tries to delete it, and deletes it after the lock ends.
    pub(crate) async fn lock_finding(&self, lock: &Lock) -> Finding {
        let (backend, subject) = (&self.backend, self.backend.place.name());
        let tried = async {
            let trial = backend.place.hidden(TRIAL)?;
            let locked = Instant::now();
            let found = backend.try_lock(lock, &trial).await?;
            tokio::time::sleep_until(locked + HOLDS + Duration::from_secs(1)).await;
            // If this deletion fails, the next trial deletes the object.
            backend.remove(&trial).await.ok();
            Ok(found)
        };
        let name = &lock.name;
        match tried.await {
            Ok(true) => {
                let long = match (lock.by_policy, lock.span) {
                    (false, Some(span)) => format!("for {span} from each upload"),
                    _ => "for as long as the retention policy of each job keeps it".to_owned(),
                };
                Finding::good(subject, format!("{name} works, as tested with a small object: {long}"))
            }
            Ok(false) => Finding::warning(
                subject,
                format!("{name}: the store accepted a lock, but these credentials cannot test it"),
                "test it by hand, or check with credentials that permit s3:GetObjectRetention and s3:DeleteObjectVersion",
            ),
            Err(error) => Finding::failed(subject, &error),
        }
    }
}

impl Backend {
    /// Returns true if the store keeps a locked object, and false if the credentials cannot find
    /// out. Fails if the store deletes it.
    async fn try_lock(&self, lock: &Lock, trial: &Path) -> Result<bool> {
        let failed = |kind, message: &str| Error::new(Stage::Ship, kind, self.place.name(), message).hint(HINT);
        let options = PutOptions { extensions: (lock.says)(Span::new(HOLDS)), ..PutOptions::default() };
        let put = self.store.put_opts(trial, PutPayload::from_static(TRIAL_TEXT.as_bytes()), options).await;
        let put = put.map_err(|error| match self.failure(trial, "cannot lock an object", error) {
            error if matches!(error.kind(), Kind::Failed | Kind::NotFound | Kind::AlreadyExists) => {
                failed(Kind::Refused, "object_lock is set, but the bucket does not accept locks").because(error)
            }
            error => error,
        })?;
        let removed = match &self.versions {
            Some(versions) => versions.remove(self, trial, put.version.as_deref()).await.map(drop),
            None => return Ok(false),
        };
        match removed {
            Ok(()) => Err(failed(
                Kind::Refused,
                "object_lock is set, but the store ignores it: the store deleted a locked object",
            )),
            Err(error) if error.kind() == Kind::Denied => {
                let lock = self.lock_of(trial, put.version.as_deref()).await;
                Ok(lock.is_ok_and(|until| until.is_some()))
            }
            Err(error) => Err(error),
        }
    }
}
