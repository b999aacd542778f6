//! Whether a lock holds, tried out: some stores take what asks for one, and forget it.

use std::time::Duration;

use longshore_core::check::Finding;
use longshore_core::quantity::Span;
use longshore_core::{Error, Kind, Result, Stage};
use object_store::path::Path;
use object_store::{ObjectStore, PutOptions, PutPayload};
use tokio::time::Instant;

use crate::bucket::{Backend, Bucket};
use crate::lock::Lock;

/// The object that is locked. It begins with a dot, so it is no key, and nobody lists it.
const TRIAL: &str = ".longshore-lock";
/// What is in it.
const TRIAL_TEXT: &str =
    "Longshore locks this for some seconds to learn whether the store keeps it. It may be removed.\n";
/// For how long: longer than it takes to try, and than clocks that are kept differ.
const HOLDS: Duration = Duration::from_secs(8);
/// The way out.
const HINT: &str = "make a bucket with Object Lock at a store that keeps it, or take object_lock away";

impl Bucket {
    /// Locks an object for some seconds, tries to remove it, and removes it when the lock is over.
    pub(crate) async fn lock_finding(&self, lock: &Lock) -> Finding {
        let (backend, subject) = (&self.backend, self.backend.place.name());
        let tried = async {
            let trial = backend.place.hidden(TRIAL)?;
            let locked = Instant::now();
            let found = backend.try_lock(lock, &trial).await?;
            tokio::time::sleep_until(locked + HOLDS + Duration::from_secs(1)).await;
            // One that cannot be removed yet goes with the next.
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
                Finding::good(subject, format!("{name} holds, as tried with a small object: {long}"))
            }
            Ok(false) => Finding::warning(
                subject,
                format!("{name}: the store took a lock, and these credentials may not see whether it holds"),
                "see for yourself, or check with credentials that may s3:GetObjectRetention and s3:DeleteObjectVersion",
            ),
            Err(error) => Finding::failed(subject, &error),
        }
    }
}

impl Backend {
    /// Whether what is locked is kept; an error if it is not, and no if nobody can tell.
    async fn try_lock(&self, lock: &Lock, trial: &Path) -> Result<bool> {
        let failed = |kind, message: &str| Error::new(Stage::Ship, kind, self.place.name(), message).hint(HINT);
        let options = PutOptions { extensions: (lock.says)(Span::new(HOLDS)), ..PutOptions::default() };
        let put = self.store.put_opts(trial, PutPayload::from_static(TRIAL_TEXT.as_bytes()), options).await;
        let put = put.map_err(|error| match self.failure(trial, "cannot lock an object", error) {
            error if matches!(error.kind(), Kind::Failed | Kind::NotFound | Kind::AlreadyExists) => {
                failed(Kind::Refused, "object_lock is asked for, and the bucket takes no locks").because(error)
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
                "object_lock is asked for, and the store ignores it: it let an object be removed that it had locked",
            )),
            Err(error) if error.kind() == Kind::Denied => {
                let lock = self.lock_of(trial, put.version.as_deref()).await;
                Ok(lock.is_ok_and(|until| until.is_some()))
            }
            Err(error) => Err(error),
        }
    }
}
