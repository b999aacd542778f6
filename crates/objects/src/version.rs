//! Object versions, in buckets that keep overwritten and deleted objects, as reported by S3.

use std::collections::BTreeMap;

use http::Method;
use longshore_core::{Kind, Result};
use object_store::path::Path;
use serde::Deserialize;

use crate::ask::{Asked, Asking};
use crate::bucket::Backend;

/// Access to the versions in a bucket.
#[derive(Debug, Clone)]
pub struct Versions(pub Asking);

/// The versioning state of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// The bucket keeps versions, or kept them once.
    Versions,
    /// The bucket does not keep versions.
    Latest,
    /// These credentials cannot read the state.
    Unknown,
}

/// A page of the answer to `GET ?versions`.
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
    version: Vec<Listed>,
    #[serde(default)]
    delete_marker: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    key: String,
    version_id: String,
    #[serde(default)]
    is_latest: bool,
}

/// A version of an object, or a delete marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) is_mark: bool,
}

impl Versions {
    /// Returns the versioning state of the bucket.
    pub(crate) async fn keeping(&self, backend: &Backend) -> Result<Keeping> {
        let asked = self.0.ask(&backend.place, Method::GET, &Path::ROOT, &[("versioning", "")]).await?;
        match asked.status.as_u16() {
            // The status is absent if versioning was never enabled. A bucket with suspended
            // versioning still has old versions.
            200 => Ok(if asked.text.contains("<Status>") { Keeping::Versions } else { Keeping::Latest }),
            // The store does not support versioning.
            400 | 404 | 405 | 501 if !asked.text.contains("NoSuchBucket") => Ok(Keeping::Latest),
            _ => match asked.failure(&backend.place, "cannot read whether the bucket keeps versions") {
                error if error.kind() == Kind::Denied => Ok(Keeping::Unknown),
                error => Err(error),
            },
        }
    }

    /// Returns a page of the versions of all names that begin with `prefix`, after the page
    /// `before`.
    async fn page(&self, backend: &Backend, prefix: &str, before: Option<&Page>) -> Result<Page> {
        let mut query = vec![("prefix", prefix), ("versions", "")];
        if let Some(page) = before {
            query.push(("key-marker", &page.next_key_marker));
            query.push(("version-id-marker", &page.next_version_id_marker));
        }
        let asked = self.0.ask(&backend.place, Method::GET, &Path::ROOT, &query).await?;
        asked.xml(&backend.place, "cannot list versions")
    }

    /// Returns the versions of exactly this name, with delete markers last.
    pub(crate) async fn of(&self, backend: &Backend, path: &Path) -> Result<Vec<Version>> {
        let (mut versions, mut marks, mut before) = (Vec::new(), Vec::new(), None::<Page>);
        loop {
            let page = self.page(backend, path.as_ref(), before.as_ref()).await?;
            for (found, listed, is_mark) in
                [(&mut versions, &page.version, false), (&mut marks, &page.delete_marker, true)]
            {
                let ours = listed.iter().filter(|listed| listed.key == path.as_ref());
                found.extend(ours.map(|listed| Version { id: listed.version_id.clone(), is_mark }));
            }
            // Names are sorted, so longer names with this prefix follow.
            if !page.is_truncated || page.next_key_marker.as_str() > path.as_ref() {
                versions.extend(marks);
                return Ok(versions);
            }
            before = Some(page);
        }
    }

    /// Returns the names hidden by a delete marker, each with its newest version.
    pub(crate) async fn hidden(&self, backend: &Backend) -> Result<Vec<(String, String)>> {
        let (mut newest, mut hidden, mut before) = (BTreeMap::new(), Vec::new(), None::<Page>);
        loop {
            let mut page = self.page(backend, backend.place.prefix(), before.as_ref()).await?;
            for version in std::mem::take(&mut page.version) {
                // The newest version of a name comes first.
                newest.entry(version.key).or_insert(version.version_id);
            }
            hidden.extend(page.delete_marker.iter().filter(|mark| mark.is_latest).map(|mark| mark.key.clone()));
            if !page.is_truncated {
                break;
            }
            before = Some(page);
        }
        Ok(hidden.into_iter().filter_map(|name| newest.remove_entry(&name)).collect())
    }

    /// Deletes one version, or performs an ordinary deletion if `id` is `None`.
    pub(crate) async fn remove(&self, backend: &Backend, path: &Path, id: Option<&str>) -> Result<Asked> {
        let query: Vec<_> = id.map(|id| ("versionId", id)).into_iter().collect();
        let asked = self.0.ask(&backend.place, Method::DELETE, path, &query).await?;
        asked.expect(&backend.place, "cannot delete the object")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_however_versions_and_marks_are_mixed() {
        let listed = |kind: &str, id: u32| {
            format!("<{kind}><Key>main/x</Key><VersionId>{id}</VersionId><IsLatest>false</IsLatest></{kind}>")
        };
        let mixed = [("Version", 1), ("DeleteMarker", 2), ("Version", 3)].map(|(kind, id)| listed(kind, id)).concat();
        for (inside, versions, marks) in [(String::new(), 0, 0), (mixed, 2, 1), (listed("DeleteMarker", 4), 0, 1)] {
            let text = format!(
                "<?xml version=\"1.0\"?><ListVersionsResult xmlns=\"x\"><Name>b</Name><KeyMarker/><VersionIdMarker/>\
                 <IsTruncated>false</IsTruncated>{inside}</ListVersionsResult>"
            );
            let page: Page = quick_xml::de::from_str(&text).unwrap();
            assert_eq!((page.version.len(), page.delete_marker.len(), page.is_truncated), (versions, marks, false));
        }
    }
}
