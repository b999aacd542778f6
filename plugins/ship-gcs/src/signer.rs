//! Authorised requests about the bucket itself.

use std::sync::Arc;

use async_trait::async_trait;
use http::Method;
use longshore_core::key::encode_name;
use longshore_objects::RequestSigner;
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::gcp::GoogleCloudStorage;
use object_store::path::Path;

/// Builds authorised requests that `object_store` does not support.
#[derive(Debug)]
pub(crate) struct GcsSigner {
    pub(crate) store: Arc<GoogleCloudStorage>,
    /// The URL of the bucket.
    pub(crate) bucket_url: String,
}

#[async_trait]
impl RequestSigner for GcsSigner {
    async fn request(&self, method: &Method, path: &Path, query: &[(&str, &str)]) -> object_store::Result<HttpRequest> {
        let error =
            |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic { store: "GCS", source };
        let credential = self.store.credentials().get_credential().await?;
        let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={}", encode_name(value))).collect();
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        let address = format!("{}/{}?{}", self.bucket_url, encode_name(path.as_ref()), query.join("&"));
        *request.method_mut() = method.clone();
        *request.uri_mut() = address.parse().map_err(|source| error(format!("invalid address: {source}").into()))?;
        let token = format!("Bearer {}", credential.bearer);
        let token = token.parse().map_err(|_| error("the token is not a valid header".into()))?;
        request.headers_mut().insert("authorization", token);
        Ok(request)
    }
}
