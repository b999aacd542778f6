//! A test of Object Lock: some stores accept a lock and ignore it.

use std::time::Duration;

use longshore_core::check::Finding;
use longshore_core::unit::TimeSpan;
use longshore_core::{Error, Kind, Result, Stage};
use object_store::path::Path;
use object_store::{ObjectStore, PutOptions, PutPayload};
use tokio::time::Instant;

use crate::bucket::{Backend, Bucket};
use crate::object_lock::LockRequest;

/// The name of the probe object. The leading dot keeps it out of listings.
const PROBE: &str = ".longshore-lock";
/// The content of the probe object.
const PROBE_TEXT: &str =
    "Longshore locks this object for some seconds to test whether the store keeps it. It can be deleted.\n";
/// The duration of the probe lock: longer than the probe takes, and longer than the usual
/// difference of clocks.
const LOCK_DURATION: Duration = Duration::from_secs(8);
/// The hint for buckets without working locks.
const HINT: &str = "create a bucket with Object Lock at a store that supports it, or remove object_lock";

impl Bucket {
    /// Locks an object for some seconds, tries to delete it, and deletes it after the lock ends.
    pub(crate) async fn check_lock(&self, lock: &LockRequest) -> Finding {
        let (backend, subject) = (&self.backend, self.backend.location.url());
        let probed = async {
            let probe = backend.location.raw_path(PROBE)?;
            let start = Instant::now();
            let works = backend.probe_lock(lock, &probe).await?;
            tokio::time::sleep_until(start + LOCK_DURATION + Duration::from_secs(1)).await;
            // If this deletion fails, the next probe deletes the object.
            backend.remove(&probe).await.ok();
            Ok(works)
        };
        let name = &lock.name;
        match probed.await {
            Ok(true) => {
                let duration = match lock.fixed_span {
                    Some(span) => format!("for {span} from each upload"),
                    None => "for as long as the retention policy of each job keeps it".to_owned(),
                };
                Finding::good(subject, format!("{name} works, as tested with a small object: {duration}"))
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
    async fn probe_lock(&self, lock: &LockRequest, probe: &Path) -> Result<bool> {
        let failure = |kind, message: &str| Error::new(Stage::Ship, kind, self.location.url(), message).hint(HINT);
        let options =
            PutOptions { extensions: (lock.extensions_for)(TimeSpan::new(LOCK_DURATION)), ..PutOptions::default() };
        let put = self.store.put_opts(probe, PutPayload::from_static(PROBE_TEXT.as_bytes()), options).await;
        let put = put.map_err(|error| match self.convert_error(probe, "cannot lock an object", error) {
            error if matches!(error.kind(), Kind::Failed | Kind::NotFound | Kind::AlreadyExists) => {
                failure(Kind::Refused, "object_lock is set, but the bucket does not accept locks").because(error)
            }
            error => error,
        })?;
        let removed = match &self.versions {
            Some(versions) => versions.remove(self, probe, put.version.as_deref()).await.map(drop),
            None => return Ok(false),
        };
        match removed {
            Ok(()) => Err(failure(
                Kind::Refused,
                "object_lock is set, but the store ignores it: the store deleted a locked object",
            )),
            Err(error) if error.kind() == Kind::Denied => {
                let lock = self.lock_end(probe, put.version.as_deref()).await;
                Ok(lock.is_ok_and(|until| until.is_some()))
            }
            Err(error) => Err(error),
        }
    }
}
