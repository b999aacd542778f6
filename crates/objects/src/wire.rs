//! HTTP: timeouts proportional to the size of requests, and headers that are added before signing
//! again.
//!
//! The read timeout of reqwest begins with the request, so it would end every long upload, however
//! fast. Two clients avoid this: one for requests without a body, with a timeout for each read; one
//! for uploads, whose time limit follows from their size and the minimum rate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, Method, StatusCode};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

use crate::failure::says_changed;
use crate::foreign::{lists, without_foreign};

/// The time limit for connecting.
const CONNECT: Duration = Duration::from_secs(10);
/// The time limit for completing a multipart upload, which takes minutes if it has many parts.
const COMPLETION: Duration = Duration::from_secs(15 * 60);

/// Returns the options of every client. Requests have no total time limit, only a limit for
/// silence: a large backup takes long.
pub(crate) fn options(silence: Duration) -> ClientOptions {
    let agent = concat!("longshore/", env!("CARGO_PKG_VERSION"));
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT)
        .with_read_timeout(silence)
        .with_user_agent(http::HeaderValue::from_static(agent))
}

/// A hook that adds headers to each request before it is sent.
#[async_trait]
pub trait Dress: fmt::Debug + Send + Sync + 'static {
    /// Changes the request, and signs it again if its signature covers the change.
    async fn dress(&self, request: &mut HttpRequest) -> object_store::Result<()>;
}

/// A hook that adds nothing.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

#[async_trait]
impl Dress for Plain {
    async fn dress(&self, _: &mut HttpRequest) -> object_store::Result<()> {
        Ok(())
    }
}

/// Returns true if a request completes a multipart upload, in the protocol of S3 and GCS or of
/// Azure.
pub fn completes(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let says = |word: &str| query.split('&').any(|pair| pair.starts_with(word));
    match *request.method() {
        Method::POST => says("uploadId="),
        Method::PUT => says("comp=blocklist"),
        _ => false,
    }
}

/// The headers of an answer about an object, passed up as an extension of the result.
#[derive(Debug, Clone)]
pub(crate) struct Heard(pub(crate) HeaderMap);

/// A connector for clients that change their requests and time out when they stall.
#[derive(Debug, Clone)]
pub struct Wire {
    /// The minimum rate of an upload, in bytes per second.
    pub min_rate: u64,
    /// The time limit for silence, and for the answer to an upload in addition to the time of its
    /// bytes.
    pub silence: Duration,
    /// The hook that changes each request.
    pub dress: Arc<dyn Dress>,
}

impl HttpConnector for Wire {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let reqwest = ReqwestConnector::default();
        Ok(HttpClient::new(Line {
            asking: reqwest.connect(options)?,
            sending: reqwest.connect(&options.clone().with_read_timeout_disabled())?,
            wire: self.clone(),
        }))
    }
}

/// Two clients for one server.
#[derive(Debug)]
struct Line {
    asking: HttpClient,
    sending: HttpClient,
    wire: Wire,
}

impl Line {
    /// Returns the time limit of a request with a body, or `None` if only the server's silence is
    /// limited.
    fn limit(&self, request: &HttpRequest) -> Option<Duration> {
        let sends = matches!(*request.method(), Method::PUT | Method::POST);
        let bytes = request.body().content_length() as f64;
        let base = if completes(request) { COMPLETION } else { self.wire.silence };
        sends.then(|| base + Duration::from_secs_f64(bytes / self.wire.min_rate.max(1) as f64))
    }
}

#[async_trait]
impl HttpService for Line {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let unsigned = |error| HttpError::new(HttpErrorKind::Unknown, error);
        self.wire.dress.dress(&mut request).await.map_err(unsigned)?;
        let Some(limit) = self.limit(&request) else {
            if lists(&request) {
                let (parts, body) = self.asking.execute(request).await?.into_parts();
                let page = without_foreign(body.bytes().await?);
                return Ok(HttpResponse::from_parts(parts, page.into()));
            }
            let asks_of_object = *request.method() == Method::HEAD;
            let mut answer = self.asking.execute(request).await?;
            if asks_of_object {
                let heard = Heard(answer.headers().clone());
                answer.extensions_mut().insert(heard);
            }
            return Ok(answer);
        };
        // Answers to uploads are small, so the time limit includes their whole body.
        let answered = async {
            let (mut parts, body) = self.sending.execute(request).await?.into_parts();
            let body = body.bytes().await?;
            // A body that was changed in transit may arrive intact with a retry. Status 503 causes
            // a retry and keeps the store's text.
            if says_changed(parts.status, &body) {
                parts.status = StatusCode::SERVICE_UNAVAILABLE;
            }
            Ok(HttpResponse::from_parts(parts, body.into()))
        };
        let stalled = |_| Err(HttpError::new(HttpErrorKind::Timeout, Stalled(limit)));
        tokio::time::timeout(limit, answered).await.unwrap_or_else(stalled)
    }
}

/// The error of a request that exceeded its time limit.
#[derive(Debug)]
struct Stalled(Duration);

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stalled: not complete after {} s", self.0.as_secs())
    }
}

impl std::error::Error for Stalled {}
