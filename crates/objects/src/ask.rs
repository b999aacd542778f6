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

use crate::failure::{ANSWERED, failure};
use crate::place::Place;

/// The number of attempts for a request that fails with a server error or a rate limit.
const TRIES: u32 = 4;

/// Builds signed requests.
#[async_trait]
pub trait Asks: fmt::Debug + Send + Sync {
    /// Builds a signed request for an object, or for the bucket itself if `path` is the root.
    async fn request(&self, method: &Method, path: &Path, query: &[(&str, &str)]) -> object_store::Result<HttpRequest>;
}

/// A client and the signer of its requests.
#[derive(Debug, Clone)]
pub struct Asking {
    /// The client that sends requests.
    pub client: HttpClient,
    /// The signer of requests.
    pub asks: Arc<dyn Asks>,
}

/// A store's answer to a request.
#[derive(Debug)]
pub(crate) struct Asked {
    subject: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Asking {
    /// Sends a request and returns the answer, which may be an error status. Every request sent
    /// this way is idempotent.
    pub(crate) async fn ask(
        &self,
        place: &Place,
        method: Method,
        path: &Path,
        query: &[(&str, &str)],
    ) -> Result<Asked> {
        self.say(place, method, path, query, "").await
    }

    /// Sends a request with a body, as [`ask`](Self::ask) does.
    pub(crate) async fn say(
        &self,
        place: &Place,
        method: Method,
        path: &Path,
        query: &[(&str, &str)],
        body: &str,
    ) -> Result<Asked> {
        let subject = if path.is_root() { place.name() } else { place.subject(path) };
        let mut wait = Duration::from_millis(200);
        for last in (0..TRIES).map(|attempt| attempt + 1 == TRIES) {
            match self
                .say_once(&method, path, query, body)
                .await
                .map(|asked| Asked { subject: subject.clone(), ..asked })
            {
                Ok(asked) if last || !(asked.status.is_server_error() || asked.status.as_u16() == 429) => {
                    return Ok(asked);
                }
                // A feature that the store lacks will not appear with a retry.
                Ok(asked) if asked.status == StatusCode::NOT_IMPLEMENTED => return Ok(asked),
                Err(error) if last => return Err(failure(place, &subject, "the request failed", error)),
                _ => tokio::time::sleep(wait).await,
            }
            wait *= 2;
        }
        unreachable!("the last attempt has returned")
    }

    async fn say_once(
        &self,
        method: &Method,
        path: &Path,
        query: &[(&str, &str)],
        body: &str,
    ) -> object_store::Result<Asked> {
        let unheard = |error| object_store::Error::Generic { store: "bucket", source: Box::new(error) };
        let mut request = self.asks.request(method, path, query).await?;
        *request.body_mut() = Bytes::copy_from_slice(body.as_bytes()).into();
        let (head, body) = self.client.execute(request).await.map_err(unheard)?.into_parts();
        let text = String::from_utf8_lossy(&body.bytes().await.map_err(unheard)?).into_owned();
        Ok(Asked { subject: String::new(), status: head.status, headers: head.headers, text })
    }
}

impl Asked {
    /// Returns the error for this answer, whose status is not a success.
    pub(crate) fn failure(&self, place: &Place, message: &str) -> Error {
        let told = format!("{ANSWERED}{}: {}", self.status, self.text);
        failure(place, &self.subject, message, generic(told.into()))
    }

    /// Returns the answer if its status is a success, and an error otherwise.
    pub(crate) fn expect(self, place: &Place, message: &str) -> Result<Self> {
        if self.status.is_success() { Ok(self) } else { Err(self.failure(place, message)) }
    }

    /// Parses the body as XML. Fails if the status is not a success.
    pub(crate) fn xml<T: DeserializeOwned>(self, place: &Place, message: &str) -> Result<T> {
        let asked = self.expect(place, message)?;
        quick_xml::de::from_str(&asked.text)
            .map_err(|error| failure(place, &asked.subject, message, generic(error.into())))
    }
}

fn generic(source: Box<dyn StdError + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic { store: "bucket", source }
}
