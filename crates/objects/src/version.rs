//! Object versions, in buckets that keep overwritten and deleted objects, as reported by S3.

use std::collections::BTreeMap;

use http::Method;
use longshore_core::{Kind, Result};
use object_store::path::Path;
use serde::Deserialize;

use crate::bucket::Backend;
use crate::raw_client::{RawClient, RawResponse};

/// Access to the versions in a bucket.
#[derive(Debug, Clone)]
pub struct Versions(pub RawClient);

/// The versioning state of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Versioning {
    /// The bucket keeps versions, or kept them once.
    Enabled,
    /// The bucket does not keep versions.
    Disabled,
    /// These credentials cannot read the state.
    Unknown,
}

/// A page of the response to `GET ?versions`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_version_id_marker: String,
    #[serde(default)]
    version: Vec<ListedVersion>,
    #[serde(default)]
    delete_marker: Vec<ListedVersion>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedVersion {
    key: String,
    version_id: String,
    #[serde(default)]
    is_latest: bool,
}

/// A version of an object, or a delete marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) is_delete_marker: bool,
}

impl Versions {
    /// Returns the versioning state of the bucket.
    pub(crate) async fn versioning(&self, backend: &Backend) -> Result<Versioning> {
        let response = self.0.send(&backend.location, Method::GET, &Path::ROOT, &[("versioning", "")]).await?;
        match response.status.as_u16() {
            // The status is absent if versioning was never enabled. A bucket with suspended
            // versioning still has old versions.
            200 => Ok(if response.text.contains("<Status>") { Versioning::Enabled } else { Versioning::Disabled }),
            // The store does not support versioning.
            400 | 404 | 405 | 501 if !response.text.contains("NoSuchBucket") => Ok(Versioning::Disabled),
            _ => match response.error(&backend.location, "cannot read whether the bucket keeps versions") {
                error if error.kind() == Kind::Denied => Ok(Versioning::Unknown),
                error => Err(error),
            },
        }
    }

    /// Returns a page of the versions of all names that begin with `prefix`, after the page
    /// `previous`.
    async fn page(&self, backend: &Backend, prefix: &str, previous: Option<&Page>) -> Result<Page> {
        let mut query = vec![("prefix", prefix), ("versions", "")];
        if let Some(page) = previous {
            query.push(("key-marker", &page.next_key_marker));
            query.push(("version-id-marker", &page.next_version_id_marker));
        }
        let response = self.0.send(&backend.location, Method::GET, &Path::ROOT, &query).await?;
        response.xml(&backend.location, "cannot list versions")
    }

    /// Returns the versions of exactly this name, with delete markers last.
    pub(crate) async fn list(&self, backend: &Backend, path: &Path) -> Result<Vec<Version>> {
        let (mut versions, mut delete_markers, mut previous) = (Vec::new(), Vec::new(), None::<Page>);
        loop {
            let page = self.page(backend, path.as_ref(), previous.as_ref()).await?;
            for (list, listed, is_delete_marker) in
                [(&mut versions, &page.version, false), (&mut delete_markers, &page.delete_marker, true)]
            {
                let matching = listed.iter().filter(|listed| listed.key == path.as_ref());
                list.extend(matching.map(|listed| Version { id: listed.version_id.clone(), is_delete_marker }));
            }
            // Names are sorted, so longer names with this prefix follow.
            if !page.is_truncated || page.next_key_marker.as_str() > path.as_ref() {
                versions.extend(delete_markers);
                return Ok(versions);
            }
            previous = Some(page);
        }
    }

    /// Returns the names hidden by a delete marker, each with its newest version.
    pub(crate) async fn hidden(&self, backend: &Backend) -> Result<Vec<(String, String)>> {
        let (mut newest, mut hidden, mut previous) = (BTreeMap::new(), Vec::new(), None::<Page>);
        loop {
            let mut page = self.page(backend, backend.location.prefix(), previous.as_ref()).await?;
            for version in std::mem::take(&mut page.version) {
                // The newest version of a name comes first.
                newest.entry(version.key).or_insert(version.version_id);
            }
            hidden.extend(page.delete_marker.iter().filter(|marker| marker.is_latest).map(|marker| marker.key.clone()));
            if !page.is_truncated {
                break;
            }
            previous = Some(page);
        }
        Ok(hidden.into_iter().filter_map(|name| newest.remove_entry(&name)).collect())
    }

    /// Deletes one version, or performs an ordinary deletion if `id` is `None`.
    pub(crate) async fn remove(&self, backend: &Backend, path: &Path, id: Option<&str>) -> Result<RawResponse> {
        let query: Vec<_> = id.map(|id| ("versionId", id)).into_iter().collect();
        let response = self.0.send(&backend.location, Method::DELETE, path, &query).await?;
        response.expect(&backend.location, "cannot delete the object")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_pages_of_mixed_versions_and_delete_markers() {
        let listed = |kind: &str, id: u32| {
            format!("<{kind}><Key>main/x</Key><VersionId>{id}</VersionId><IsLatest>false</IsLatest></{kind}>")
        };
        let mixed = [("Version", 1), ("DeleteMarker", 2), ("Version", 3)].map(|(kind, id)| listed(kind, id)).concat();
        for (content, versions, delete_markers) in
            [(String::new(), 0, 0), (mixed, 2, 1), (listed("DeleteMarker", 4), 0, 1)]
        {
            let text = format!(
                "<?xml version=\"1.0\"?><ListVersionsResult xmlns=\"x\"><Name>b</Name><KeyMarker/><VersionIdMarker/>\
                 <IsTruncated>false</IsTruncated>{content}</ListVersionsResult>"
            );
            let page: Page = quick_xml::de::from_str(&text).unwrap();
            assert_eq!(
                (page.version.len(), page.delete_marker.len(), page.is_truncated),
                (versions, delete_markers, false)
            );
        }
    }
}
