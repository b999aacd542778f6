//! Requests that `object_store` has no words for: about a bucket, or about one version of an object.

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

/// How often a request is sent that may be answered later.
const TRIES: u32 = 4;

/// Makes requests.
#[async_trait]
pub trait Asks: fmt::Debug + Send + Sync {
    /// A request about an object, or about the bucket itself where the path is its root, with this query; signed.
    async fn request(&self, method: &Method, path: &Path, query: &[(&str, &str)]) -> object_store::Result<HttpRequest>;
}

/// Sends them.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Who sends them.
    pub client: HttpClient,
    /// Who signs them.
    pub asks: Arc<dyn Asks>,
}

/// What a store answered.
#[derive(Debug)]
pub(crate) struct Asked {
    subject: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Asking {
    /// Asks until there is an answer, which may be a no. Each request of ours may be repeated.
    pub(crate) async fn ask(
        &self,
        place: &Place,
        method: Method,
        path: &Path,
        query: &[(&str, &str)],
    ) -> Result<Asked> {
        self.say(place, method, path, query, "").await
    }

    /// The same with a body.
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
                // It will not be there the next time either.
                Ok(asked) if asked.status == StatusCode::NOT_IMPLEMENTED => return Ok(asked),
                Err(error) if last => return Err(failure(place, &subject, "cannot ask it", error)),
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
    /// What it means where it is no yes.
    pub(crate) fn failure(&self, place: &Place, message: &str) -> Error {
        let told = format!("{ANSWERED}{}: {}", self.status, self.text);
        failure(place, &self.subject, message, generic(told.into()))
    }

    /// That it is a yes.
    pub(crate) fn expect(self, place: &Place, message: &str) -> Result<Self> {
        if self.status.is_success() { Ok(self) } else { Err(self.failure(place, message)) }
    }

    /// What it says, as XML.
    pub(crate) fn xml<T: DeserializeOwned>(self, place: &Place, message: &str) -> Result<T> {
        let asked = self.expect(place, message)?;
        quick_xml::de::from_str(&asked.text)
            .map_err(|error| failure(place, &asked.subject, message, generic(error.into())))
    }
}

fn generic(source: Box<dyn StdError + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic { store: "bucket", source }
}
