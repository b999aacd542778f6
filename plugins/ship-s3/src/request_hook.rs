//! Adds headers to requests, and signs them again.

use std::sync::OnceLock;

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use longshore_objects::{RequestHook, completes_upload};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::HttpRequest;

/// The header with the digest of a request's payload.
const PAYLOAD_DIGEST: &str = "x-amz-content-sha256";

/// Additional headers of a request, as an extension of the request.
#[derive(Debug, Clone)]
pub(crate) struct ExtraHeaders(pub(crate) Vec<(HeaderName, HeaderValue)>);

/// Adds [`ExtraHeaders`] to requests with this extension, and a condition to requests that complete
/// an upload in parts.
#[derive(Debug)]
pub(crate) struct S3Hook {
    /// Set after the client is built.
    credentials: OnceLock<AwsCredentialProvider>,
    region: String,
    signs_payload: bool,
}

impl S3Hook {
    pub(crate) fn new(region: &str, signs_payload: bool) -> Self {
        Self { credentials: OnceLock::new(), region: region.to_owned(), signs_payload }
    }

    /// Sets the credentials for signatures.
    pub(crate) fn set_credentials(&self, credentials: &AwsCredentialProvider) {
        self.credentials.get_or_init(|| credentials.clone());
    }
}

#[async_trait]
impl RequestHook for S3Hook {
    async fn before_send(&self, request: &mut HttpRequest) -> object_store::Result<()> {
        if completes_upload(request) {
            // Signatures cover x-amz headers and those present when signing, so this header may be
            // added afterwards.
            request.headers_mut().insert(http::header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let (Some(ExtraHeaders(headers)), Some(credentials)) =
            (request.extensions().get().cloned(), self.credentials.get())
        else {
            return Ok(());
        };
        request.headers_mut().extend(headers);
        let credential = credentials.get_credential().await?;
        let digest = request.headers().get(PAYLOAD_DIGEST).and_then(|digest| from_hex(digest.as_bytes()));
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .with_sign_payload(self.signs_payload)
            .try_authorize(request, digest.as_deref())
    }
}

/// Decodes hexadecimal digits; returns nothing if they are invalid.
fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(pair).collect()
}
