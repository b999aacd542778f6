//! HTTP: requests whose time is measured by their size, and that are signed again when something is added.
//!
//! What reqwest calls a read timeout begins with the request, so that it would end any upload that takes longer, however fast it goes. So there
//! are two clients: one that asks, and waits so long for each next byte; one that sends, and may take as long as its bytes need at the
//! slowest rate that is put up with.

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

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a store may take to put parts together: minutes, for many of them.
const COMPLETION: Duration = Duration::from_secs(15 * 60);

/// What every client of ours is made with. There is no limit to a whole request, but to how long nothing comes: a backup takes as long as
/// it takes.
pub(crate) fn options(silence: Duration) -> ClientOptions {
    let agent = concat!("longshore/", env!("CARGO_PKG_VERSION"));
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT)
        .with_read_timeout(silence)
        .with_user_agent(http::HeaderValue::from_static(agent))
}

/// Adds to a request what `object_store` does not say, each time that it is sent.
#[async_trait]
pub trait Dress: fmt::Debug + Send + Sync + 'static {
    /// Changes the request, and signs it again if its signature covers that.
    async fn dress(&self, request: &mut HttpRequest) -> object_store::Result<()>;
}

/// Adds nothing.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

#[async_trait]
impl Dress for Plain {
    async fn dress(&self, _: &mut HttpRequest) -> object_store::Result<()> {
        Ok(())
    }
}

/// Whether a request puts the parts of an upload together, in S3's and GCS's language or in Azure's.
pub fn completes(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let says = |word: &str| query.split('&').any(|pair| pair.starts_with(word));
    match *request.method() {
        Method::POST => says("uploadId="),
        Method::PUT => says("comp=blocklist"),
        _ => false,
    }
}

/// The headers of an answer about an object, handed up with what `object_store` makes of it.
#[derive(Debug, Clone)]
pub(crate) struct Heard(pub(crate) HeaderMap);

/// Makes clients whose requests are dressed, and end when they stall.
#[derive(Debug, Clone)]
pub struct Wire {
    /// The slowest that an upload may be, in bytes a second.
    pub min_rate: u64,
    /// How long the answer to what was sent may take besides.
    pub silence: Duration,
    /// What is added to each request.
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

/// Two clients of one server.
#[derive(Debug)]
struct Line {
    asking: HttpClient,
    sending: HttpClient,
    wire: Wire,
}

impl Line {
    /// How long a request may take that sends something; nothing where the server's silence alone is measured.
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
        // Answers to what is sent are small; to the end of one, its time is measured.
        let answered = async {
            let (mut parts, body) = self.sending.execute(request).await?.into_parts();
            let body = body.bytes().await?;
            // What was changed on the way may arrive the next time: an answer that has it sent again, with the store's own words.
            if says_changed(parts.status, &body) {
                parts.status = StatusCode::SERVICE_UNAVAILABLE;
            }
            Ok(HttpResponse::from_parts(parts, body.into()))
        };
        let stalled = |_| Err(HttpError::new(HttpErrorKind::Timeout, Stalled(limit)));
        tokio::time::timeout(limit, answered).await.unwrap_or_else(stalled)
    }
}

/// A request took longer than its bytes may.
#[derive(Debug)]
struct Stalled(Duration);

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stalled: not done after {} s", self.0.as_secs())
    }
}

impl std::error::Error for Stalled {}
