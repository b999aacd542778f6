//! Requests that `object_store` does not offer: on a bucket, or on one version of an object.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use longshore_core::{Error, Result};
use object_store::client::{HttpClient, HttpRequest};
use object_store::path::Path;
use serde::de::DeserializeOwned;

use crate::error::{RESPONSE_PREFIX, convert_error};
use crate::location::Location;

/// The number of attempts for a request that fails with a server error or a rate limit.
const MAX_ATTEMPTS: u32 = 4;

/// Builds signed requests.
#[async_trait]
pub trait RequestSigner: fmt::Debug + Send + Sync {
    /// Builds a signed request for an object, or for the bucket itself if `path` is the root.
    async fn request(&self, method: &Method, path: &Path, query: &[(&str, &str)]) -> object_store::Result<HttpRequest>;
}

/// A client and the signer of its requests.
#[derive(Debug, Clone)]
pub struct RawClient {
    /// The client that sends requests.
    pub client: HttpClient,
    /// The signer of requests.
    pub signer: Arc<dyn RequestSigner>,
}

/// A store's response to a request.
#[derive(Debug)]
pub(crate) struct RawResponse {
    subject: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl RawClient {
    /// Sends a request and returns the response, which may be an error status. Every request sent
    /// this way is idempotent.
    pub(crate) async fn send(
        &self,
        location: &Location,
        method: Method,
        path: &Path,
        query: &[(&str, &str)],
    ) -> Result<RawResponse> {
        self.send_body(location, method, path, query, "").await
    }

    /// Sends a request with a body, as [`send`](Self::send) does.
    pub(crate) async fn send_body(
        &self,
        location: &Location,
        method: Method,
        path: &Path,
        query: &[(&str, &str)],
        body: &str,
    ) -> Result<RawResponse> {
        let subject = if path.is_root() { location.url() } else { location.object_url(path) };
        let mut wait = Duration::from_millis(200);
        for last in (0..MAX_ATTEMPTS).map(|attempt| attempt + 1 == MAX_ATTEMPTS) {
            match self
                .send_once(&method, path, query, body)
                .await
                .map(|response| RawResponse { subject: subject.clone(), ..response })
            {
                Ok(response) if last || !(response.status.is_server_error() || response.status.as_u16() == 429) => {
                    return Ok(response);
                }
                // A feature that the store lacks will not appear with a retry.
                Ok(response) if response.status == StatusCode::NOT_IMPLEMENTED => return Ok(response),
                Err(error) if last => return Err(convert_error(location, &subject, "the request failed", error)),
                _ => tokio::time::sleep(wait).await,
            }
            wait *= 2;
        }
        unreachable!("the last attempt has returned")
    }

    async fn send_once(
        &self,
        method: &Method,
        path: &Path,
        query: &[(&str, &str)],
        body: &str,
    ) -> object_store::Result<RawResponse> {
        let no_response = |error| object_store::Error::Generic { store: "bucket", source: Box::new(error) };
        let mut request = self.signer.request(method, path, query).await?;
        *request.body_mut() = Bytes::copy_from_slice(body.as_bytes()).into();
        let (head, body) = self.client.execute(request).await.map_err(no_response)?.into_parts();
        let text = String::from_utf8_lossy(&body.bytes().await.map_err(no_response)?).into_owned();
        Ok(RawResponse { subject: String::new(), status: head.status, headers: head.headers, text })
    }
}

impl RawResponse {
    /// Returns the error for this response, whose status is not a success.
    pub(crate) fn error(&self, location: &Location, message: &str) -> Error {
        let text = format!("{RESPONSE_PREFIX}{}: {}", self.status, self.text);
        convert_error(location, &self.subject, message, generic(text.into()))
    }

    /// Returns the response if its status is a success, and an error otherwise.
    pub(crate) fn expect(self, location: &Location, message: &str) -> Result<Self> {
        if self.status.is_success() { Ok(self) } else { Err(self.error(location, message)) }
    }

    /// Parses the body as XML. Fails if the status is not a success.
    pub(crate) fn xml<T: DeserializeOwned>(self, location: &Location, message: &str) -> Result<T> {
        let response = self.expect(location, message)?;
        quick_xml::de::from_str(&response.text)
            .map_err(|error| convert_error(location, &response.subject, message, generic(error.into())))
    }
}

fn generic(source: Box<dyn StdError + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic { store: "bucket", source }
}
