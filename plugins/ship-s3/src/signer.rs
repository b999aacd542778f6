//! Signatures of requests about the bucket itself, and about versions of objects.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use longshore_objects::RequestSigner;
use object_store::aws::AmazonS3;
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};

/// The validity of a signature, which must cover the time until the request is sent.
const SIGNATURE_VALIDITY: Duration = Duration::from_secs(300);

/// Signs requests that `object_store` does not support.
#[derive(Debug)]
pub(crate) struct S3Signer(pub(crate) Arc<AmazonS3>);

#[async_trait]
impl RequestSigner for S3Signer {
    async fn request(&self, method: &Method, path: &Path, query: &[(&str, &str)]) -> object_store::Result<HttpRequest> {
        let query = query.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let options = SignedUrlOptions::default().with_query(query);
        let url = self.0.signed_url_opts(method.clone(), path, SIGNATURE_VALIDITY, &options).await?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method.clone();
        *request.uri_mut() = url.as_str().parse().map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::<dyn std::error::Error + Send + Sync>::from(format!("invalid address: {error}")),
        })?;
        Ok(request)
    }
}
