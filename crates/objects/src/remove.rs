//! Deletion of an object with all its versions, without leaving a delete marker.

use longshore_core::{Error, Kind, Result, Stage};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::bucket::Backend;
use crate::version::{Keeping, Version, Versions};

/// The header that reports that a deletion only hid the object.
const HIDDEN: &str = "x-amz-delete-marker";
/// The hint for buckets with versioning.
const HINT: &str = "permit s3:GetBucketVersioning, s3:ListBucketVersions and s3:DeleteObjectVersion, or add a lifecycle rule that expires old versions";

impl Backend {
    /// Deletes an object. Deleting a missing object succeeds.
    pub(crate) async fn remove(&self, path: &Path) -> Result<()> {
        let Some(versions) = &self.versions else {
            return self.remove_only(path).await;
        };
        match versions.keeping(self).await? {
            Keeping::Latest => self.remove_only(path).await,
            Keeping::Versions => {
                let found = versions.of(self, path).await.map_err(|error| match error.kind() {
                    Kind::Denied => error.hint(HINT),
                    _ => error,
                })?;
                self.remove_each(versions, path, &found).await
            }
            Keeping::Unknown => {
                // Objects with versioning have version ids; otherwise the answer reports a delete
                // marker.
                let found = versions.of(self, path).await.unwrap_or_default();
                if found.iter().any(|version| version.id != "null") {
                    return self.remove_each(versions, path, &found).await;
                }
                let answer = versions.remove(self, path, None).await?;
                if answer.headers.get(HIDDEN).is_some_and(|hidden| hidden == "true") {
                    let message =
                        "is hidden but not deleted: the bucket keeps versions, and these credentials cannot list them";
                    return Err(Error::new(Stage::Ship, Kind::Denied, self.place.subject(path), message).hint(HINT));
                }
                Ok(())
            }
        }
    }

    /// Deletes an object that has no versions.
    async fn remove_only(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => {
                let error = self.failure(path, "cannot delete the object", error);
                Err(self.or_locked(path, None, error).await)
            }
        }
    }

    /// Deletes each version, unless one of them is locked. The latest version is deleted last, so
    /// that the object stays visible until then.
    async fn remove_each(&self, versions: &Versions, path: &Path, found: &[Version]) -> Result<()> {
        for version in found.iter().filter(|version| !version.is_mark) {
            // If the credentials cannot read locks, the deletion itself fails for a locked version.
            let until = self.lock_of(path, Some(&version.id)).await.unwrap_or_default();
            if let Some(until) = until.filter(|until| *until > chrono::Utc::now()) {
                return Err(self.locked(path, until));
            }
        }
        let (marks, versions_found): (Vec<_>, Vec<_>) = found.iter().partition(|version| version.is_mark);
        for version in versions_found.into_iter().rev().chain(marks.into_iter().rev()) {
            match versions.remove(self, path, Some(&version.id)).await {
                Ok(_) => {}
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(self.or_locked(path, Some(&version.id), error).await),
            }
        }
        Ok(())
    }

    /// Converts the error of a failed deletion: a lock may be the cause.
    async fn or_locked(&self, path: &Path, version: Option<&str>, error: Error) -> Error {
        if !matches!(error.kind(), Kind::Denied | Kind::AlreadyExists | Kind::Refused | Kind::Failed) {
            return error;
        }
        match self.lock_of(path, version).await {
            Ok(Some(until)) => self.locked(path, until).because(error),
            _ => error,
        }
    }
}
