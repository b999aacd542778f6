//! Requests that `object_store` does not offer: on a bucket, or on one version of an object.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use longshore_core::retry::{Retries, brief};
use longshore_core::{Error, Result};
use object_store::client::{HttpClient, HttpRequest};
use object_store::path::Path;
use serde::de::DeserializeOwned;

use crate::error::{RESPONSE_PREFIX, convert_error};
use crate::location::Location;

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
    /// Sends a request and returns the response, which may be an error status. Retries while the
    /// store is unavailable: every request sent this way is idempotent.
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
        let mut retries = Retries::new(subject.as_str(), brief());
        loop {
            let sent = match self.send_once(&method, path, query, body).await {
                Ok(response) => Ok(RawResponse { subject: subject.clone(), ..response }),
                Err(error) => Err(convert_error(location, &subject, "the request failed", error)),
            };
            let error = match &sent {
                Ok(response) if response.is_temporary() => response.error(location, "the request failed"),
                Err(error) => error.clone(),
                Ok(_) => return sent,
            };
            if !retries.pause(&error).await {
                return sent;
            }
        }
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
    /// Returns true for a server error or a rate limit. A feature that the store lacks will not
    /// appear with a retry.
    fn is_temporary(&self) -> bool {
        (self.status.is_server_error() && self.status != StatusCode::NOT_IMPLEMENTED)
            || self.status == StatusCode::TOO_MANY_REQUESTS
    }

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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use object_store::client::{HttpError, HttpResponse, HttpService};

    use super::*;
    use crate::location::Vocabulary;

    /// A store that answers with each status once, and then with the last one.
    #[derive(Debug, Clone)]
    struct Answers {
        statuses: &'static [u16],
        requests: Arc<AtomicUsize>,
    }

    #[async_trait]
    impl HttpService for Answers {
        async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
            let request = self.requests.fetch_add(1, Ordering::SeqCst);
            let mut response = HttpResponse::new(Bytes::new().into());
            let status = self.statuses[request.min(self.statuses.len() - 1)];
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok(response)
        }
    }

    #[async_trait]
    impl RequestSigner for Answers {
        async fn request(&self, _: &Method, _: &Path, _: &[(&str, &str)]) -> object_store::Result<HttpRequest> {
            Ok(HttpRequest::new(Bytes::new().into()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_server_errors_and_rate_limits() {
        let vocabulary = Vocabulary { bucket: "bucket", credentials: "", address: "" };
        let location = Location::new("s3://", "acme", None, vocabulary).unwrap();
        let cases: [(&[u16], u16, usize); 4] =
            [(&[503, 429, 200], 200, 3), (&[500], 500, 4), (&[501], 501, 1), (&[404], 404, 1)];
        for (statuses, status, requests) in cases {
            let answers = Answers { statuses, requests: Arc::default() };
            let client = RawClient { client: HttpClient::new(answers.clone()), signer: Arc::new(answers.clone()) };
            let response = client.send(&location, Method::GET, &Path::ROOT, &[]).await.unwrap();
            assert_eq!((response.status.as_u16(), answers.requests.load(Ordering::SeqCst)), (status, requests));
        }
    }
}
