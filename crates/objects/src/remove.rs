//! Deletion of an object with all its versions, without leaving a delete marker.

use longshore_core::{Error, Kind, Result, Stage};
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::bucket::Backend;
use crate::version::{Version, Versioning, Versions};

/// The header that reports that a deletion only hid the object.
const DELETE_MARKER: &str = "x-amz-delete-marker";
/// The hint for buckets with versioning.
const HINT: &str = "permit s3:GetBucketVersioning, s3:ListBucketVersions and s3:DeleteObjectVersion, or add a lifecycle rule that expires old versions";

impl Backend {
    /// Deletes an object. Deleting a missing object succeeds.
    pub(crate) async fn remove(&self, path: &Path) -> Result<()> {
        let Some(versions) = &self.versions else {
            return self.remove_unversioned(path).await;
        };
        match versions.versioning(self).await? {
            Versioning::Disabled => self.remove_unversioned(path).await,
            Versioning::Enabled => {
                let found = versions.list(self, path).await.map_err(|error| match error.kind() {
                    Kind::Denied => error.hint(HINT),
                    _ => error,
                })?;
                self.remove_versions(versions, path, &found).await
            }
            Versioning::Unknown => {
                // Objects with versioning have version ids; otherwise the response reports a delete
                // marker.
                let found = versions.list(self, path).await.unwrap_or_default();
                if found.iter().any(|version| version.id != "null") {
                    return self.remove_versions(versions, path, &found).await;
                }
                let response = versions.remove(self, path, None).await?;
                if response.headers.get(DELETE_MARKER).is_some_and(|value| value == "true") {
                    let message =
                        "is hidden but not deleted: the bucket keeps versions, and these credentials cannot list them";
                    return Err(
                        Error::new(Stage::Ship, Kind::Denied, self.location.object_url(path), message).hint(HINT)
                    );
                }
                Ok(())
            }
        }
    }

    /// Deletes an object that has no versions.
    async fn remove_unversioned(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => {
                let error = self.convert_error(path, "cannot delete the object", error);
                Err(self.deletion_error(path, None, error).await)
            }
        }
    }

    /// Deletes each version, unless one of them is locked. The latest version is deleted last, so
    /// that the object stays visible until then.
    async fn remove_versions(&self, versions: &Versions, path: &Path, found: &[Version]) -> Result<()> {
        for version in found.iter().filter(|version| !version.is_delete_marker) {
            // If the credentials cannot read locks, the deletion itself fails for a locked version.
            let until = self.lock_end(path, Some(&version.id)).await.unwrap_or_default();
            if let Some(until) = until.filter(|until| *until > chrono::Utc::now()) {
                return Err(self.locked_error(path, until));
            }
        }
        let (delete_markers, versions_found): (Vec<_>, Vec<_>) =
            found.iter().partition(|version| version.is_delete_marker);
        for version in versions_found.into_iter().rev().chain(delete_markers.into_iter().rev()) {
            match versions.remove(self, path, Some(&version.id)).await {
                Ok(_) => {}
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(self.deletion_error(path, Some(&version.id), error).await),
            }
        }
        Ok(())
    }

    /// Converts the error of a failed deletion: a lock may be the cause.
    async fn deletion_error(&self, path: &Path, version: Option<&str>, error: Error) -> Error {
        if !matches!(error.kind(), Kind::Denied | Kind::AlreadyExists | Kind::Refused | Kind::Failed) {
            return error;
        }
        match self.lock_end(path, version).await {
            Ok(Some(until)) => self.locked_error(path, until).because(error),
            _ => error,
        }
    }
}
