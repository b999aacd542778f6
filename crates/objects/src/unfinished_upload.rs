//! Unfinished uploads, in stores that list them as S3 does. They cost money and do not appear in
//! listings of objects.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::Method;
use longshore_core::stage::{IncompleteUploads, Leftover};
use longshore_core::{Error, Kind, Result, Stage};
use object_store::path::Path;
use serde::Deserialize;

use crate::bucket::{Backend, Bucket};
use crate::raw_client::RawClient;

/// The separator between the name of an object and an upload's id. Keys do not contain a question
/// mark.
const UPLOAD_ID_SEPARATOR: &str = "?uploadId=";

/// The part of a client that aborts uploads.
pub use object_store::multipart::MultipartStore;

/// Access to the unfinished uploads of a bucket.
#[derive(Clone)]
pub struct Uploads {
    /// The client that lists uploads.
    pub client: RawClient,
    /// The client that aborts uploads.
    pub multipart: Arc<dyn MultipartStore>,
}

/// A page of the response to `GET ?uploads`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_upload_id_marker: String,
    #[serde(default)]
    upload: Vec<Upload>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
    initiated: DateTime<Utc>,
}

impl Uploads {
    async fn page(&self, backend: &Backend, previous: Option<&Page>) -> Result<Page> {
        let mut query = vec![("uploads", ""), ("prefix", backend.location.prefix())];
        if let Some(page) = previous {
            query.push(("key-marker", &page.next_key_marker));
            query.push(("upload-id-marker", &page.next_upload_id_marker));
        }
        let response = self.client.send(&backend.location, Method::GET, &Path::ROOT, &query).await?;
        response.xml(&backend.location, "cannot list unfinished uploads")
    }
}

#[async_trait]
impl IncompleteUploads for Bucket {
    async fn leftovers(&self) -> Result<Vec<Leftover>> {
        let Some(uploads) = &self.backend.uploads else {
            return Ok(Vec::new());
        };
        let mut leftovers = Vec::new();
        let mut page = uploads.page(&self.backend, None).await?;
        loop {
            for upload in &page.upload {
                if let Some(name) = upload.key.strip_prefix(self.backend.location.prefix()) {
                    let name = format!("{name}{UPLOAD_ID_SEPARATOR}{}", upload.upload_id);
                    leftovers.push(Leftover { name, bytes: None, since: upload.initiated });
                }
            }
            if !page.is_truncated {
                return Ok(leftovers);
            }
            page = uploads.page(&self.backend, Some(&page)).await?;
        }
    }

    async fn discard(&self, leftover: &Leftover) -> Result<()> {
        let (Some(uploads), Some((name, id))) = (&self.backend.uploads, leftover.name.split_once(UPLOAD_ID_SEPARATOR))
        else {
            return Err(Error::new(Stage::Ship, Kind::Usage, &leftover.name, "not an unfinished upload"));
        };
        let path: Path = self.backend.location.raw_path(name)?;
        self.backend.abort_result(&path, uploads.multipart.abort_multipart(&path, &id.to_owned()).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_pages_of_any_number_of_uploads() {
        let upload = "<Upload><UploadId>u1</UploadId><Key>main/a%2Fb</Key><Initiated>2026-06-07T09:15:00.000Z</Initiated></Upload>";
        for count in 0..3 {
            let text = format!(
                "<?xml version=\"1.0\"?><ListMultipartUploadsResult xmlns=\"x\"><Bucket>b</Bucket><KeyMarker/><IsTruncated>true</IsTruncated>\
                 <NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker/>{}</ListMultipartUploadsResult>",
                upload.repeat(count)
            );
            let page: Page = quick_xml::de::from_str(&text).unwrap();
            assert_eq!((page.upload.len(), page.is_truncated, page.next_key_marker.as_str()), (count, true, "k"));
            assert!(page.upload.iter().all(|upload| upload.key == "main/a%2Fb" && upload.upload_id == "u1"));
        }
    }
}
