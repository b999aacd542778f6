//! What is added to requests, and signed again.

use std::sync::OnceLock;

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use longshore_objects::{Dress, completes};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::HttpRequest;

/// Where a request says the digest of its payload.
const PAYLOAD: &str = "x-amz-content-sha256";

/// Headers that a request is to carry besides: an extension of the request.
#[derive(Debug, Clone)]
pub(crate) struct Headers(pub(crate) Vec<(HeaderName, HeaderValue)>);

/// Adds [`Headers`] to the requests that are to carry them, and a condition to those that put the parts of an upload together.
#[derive(Debug)]
pub(crate) struct Dressed {
    /// Known once the client is there.
    credentials: OnceLock<AwsCredentialProvider>,
    region: String,
    signs_payload: bool,
}

impl Dressed {
    pub(crate) fn new(region: &str, signs_payload: bool) -> Self {
        Self { credentials: OnceLock::new(), region: region.to_owned(), signs_payload }
    }

    /// Says who signs.
    pub(crate) fn sign_with(&self, credentials: &AwsCredentialProvider) {
        self.credentials.get_or_init(|| credentials.clone());
    }
}

#[async_trait]
impl Dress for Dressed {
    async fn dress(&self, request: &mut HttpRequest) -> object_store::Result<()> {
        if completes(request) {
            // Signatures cover the headers that begin with x-amz, and those that were there; this one may be added.
            request.headers_mut().insert(http::header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let (Some(Headers(more)), Some(credentials)) = (request.extensions().get().cloned(), self.credentials.get())
        else {
            return Ok(());
        };
        request.headers_mut().extend(more);
        let credential = credentials.get_credential().await?;
        let digest = request.headers().get(PAYLOAD).and_then(|digest| from_hex(digest.as_bytes()));
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .with_sign_payload(self.signs_payload)
            .try_authorize(request, digest.as_deref())
    }
}

/// The bytes that hexadecimal digits say; nothing where they say something else.
fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(pair).collect()
}
