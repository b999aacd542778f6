//! HTTP: timeouts proportional to the size of requests, and hooks that change requests.
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

use crate::error::reports_corruption;
use crate::listing_filter::{is_listing, remove_unparsable};
use crate::request_log::RequestLog;

/// The time limit for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit for completing a multipart upload, which takes minutes if it has many parts.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Returns the options of every client. Requests have no total time limit, only a limit for
/// the time without data: a large backup takes long.
pub(crate) fn client_options(timeout: Duration) -> ClientOptions {
    let agent = concat!("longshore/", env!("CARGO_PKG_VERSION"));
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(timeout)
        .with_user_agent(http::HeaderValue::from_static(agent))
}

/// A hook that adds headers to each request before it is sent.
#[async_trait]
pub trait RequestHook: fmt::Debug + Send + Sync + 'static {
    /// Changes the request, and signs it again if its signature covers the change.
    async fn before_send(&self, request: &mut HttpRequest) -> object_store::Result<()>;
}

/// A hook that adds nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoHook;

#[async_trait]
impl RequestHook for NoHook {
    async fn before_send(&self, _: &mut HttpRequest) -> object_store::Result<()> {
        Ok(())
    }
}

/// Returns true if a request completes a multipart upload, in the protocol of S3 and GCS or of
/// Azure.
pub fn completes_upload(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let has = |parameter: &str| query.split('&').any(|pair| pair.starts_with(parameter));
    match *request.method() {
        Method::POST => has("uploadId="),
        Method::PUT => has("comp=blocklist"),
        _ => false,
    }
}

/// The headers of a response about an object, passed up as an extension of the result.
#[derive(Debug, Clone)]
pub(crate) struct ResponseHeaders(pub(crate) HeaderMap);

/// A connector for clients that change their requests and time out when they stall.
#[derive(Debug, Clone)]
pub struct Connector {
    /// The minimum rate of an upload, in bytes per second.
    pub min_rate: u64,
    /// The time limit without data, and for the response to an upload in addition to the time of
    /// its bytes.
    pub timeout: Duration,
    /// The hook that changes each request.
    pub hook: Arc<dyn RequestHook>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let reqwest = ReqwestConnector::default();
        Ok(HttpClient::new(Clients {
            default: reqwest.connect(options)?,
            upload: reqwest.connect(&options.clone().with_read_timeout_disabled())?,
            connector: self.clone(),
            log: RequestLog::default(),
        }))
    }
}

/// Two clients for one server: for uploads, and for all other requests.
#[derive(Debug)]
struct Clients {
    default: HttpClient,
    upload: HttpClient,
    connector: Connector,
    log: RequestLog,
}

impl Clients {
    /// Returns the time limit of a request with a body, or `None` if only the time without
    /// data is limited.
    fn limit(&self, request: &HttpRequest) -> Option<Duration> {
        let is_upload = matches!(*request.method(), Method::PUT | Method::POST);
        let bytes = request.body().content_length() as f64;
        let base = if completes_upload(request) { COMPLETION_TIMEOUT } else { self.connector.timeout };
        is_upload.then(|| base + Duration::from_secs_f64(bytes / self.connector.min_rate.max(1) as f64))
    }

    /// Sends a request with the client for its kind.
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let unsigned = |error| HttpError::new(HttpErrorKind::Unknown, error);
        self.connector.hook.before_send(&mut request).await.map_err(unsigned)?;
        let Some(limit) = self.limit(&request) else {
            if is_listing(&request) {
                let (parts, body) = self.default.execute(request).await?.into_parts();
                let page = remove_unparsable(body.bytes().await?);
                return Ok(HttpResponse::from_parts(parts, page.into()));
            }
            let is_head = *request.method() == Method::HEAD;
            let mut response = self.default.execute(request).await?;
            if is_head {
                let headers = ResponseHeaders(response.headers().clone());
                response.extensions_mut().insert(headers);
            }
            return Ok(response);
        };
        // Responses to uploads are small, so the time limit includes their whole body.
        let response = async {
            let (mut parts, body) = self.upload.execute(request).await?.into_parts();
            let body = body.bytes().await?;
            // A body that was changed in transit may arrive intact with a retry. Status 503 causes
            // a retry and keeps the store's text.
            if reports_corruption(parts.status, &body) {
                parts.status = StatusCode::SERVICE_UNAVAILABLE;
            }
            Ok(HttpResponse::from_parts(parts, body.into()))
        };
        let stalled = |_| Err(HttpError::new(HttpErrorKind::Timeout, Stalled(limit)));
        tokio::time::timeout(limit, response).await.unwrap_or_else(stalled)
    }
}

#[async_trait]
impl HttpService for Clients {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let logged = self.log.start(&request);
        let result = self.send(request).await;
        if let Some(logged) = logged {
            logged.end(&result);
        }
        result
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
