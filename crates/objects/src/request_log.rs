//! The log of requests: method, path, status, attempt and duration. Signatures, tokens and headers
//! are never logged; of a query, only the names of its parameters and two harmless values.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::{Method, StatusCode, Uri};
use object_store::client::{HttpError, HttpRequest, HttpResponse};
use tracing::Level;

/// The target of the events.
const TARGET: &str = "longshore::http";
/// The parameters whose values are logged.
const HARMLESS: [&str; 2] = ["comp", "partNumber"];
/// The number of failed requests that are remembered, to count attempts.
const MAX_FAILED: usize = 1024;

/// The requests that failed and may be retried, by the hash of their method and URI.
#[derive(Debug, Default)]
pub(crate) struct RequestLog(Mutex<HashMap<u64, u32>>);

/// A request in progress.
pub(crate) struct LoggedRequest<'a> {
    log: &'a RequestLog,
    key: u64,
    method: Method,
    host: String,
    path: String,
    parameters: String,
    attempt: u32,
    started: Instant,
}

impl RequestLog {
    /// Records the start of a request, if requests are logged.
    pub(crate) fn start(&self, request: &HttpRequest) -> Option<LoggedRequest<'_>> {
        tracing::enabled!(target: TARGET, Level::DEBUG).then(|| {
            let uri = request.uri();
            let key = key(request.method(), uri);
            LoggedRequest {
                log: self,
                key,
                method: request.method().clone(),
                host: uri.host().unwrap_or_default().to_owned(),
                path: path(uri).to_owned(),
                parameters: parameters(uri.query().unwrap_or_default()),
                attempt: self.failed().get(&key).copied().unwrap_or_default() + 1,
                started: Instant::now(),
            }
        })
    }

    fn failed(&self) -> MutexGuard<'_, HashMap<u64, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the result of an attempt, so that the next request of this key counts as a retry.
    fn record(&self, key: u64, attempt: u32, may_be_retried: bool) {
        let mut failed = self.failed();
        if !may_be_retried {
            failed.remove(&key);
            return;
        }
        if failed.len() >= MAX_FAILED {
            failed.clear();
        }
        failed.insert(key, attempt);
    }
}

impl LoggedRequest<'_> {
    /// Logs the end of the request.
    pub(crate) fn end(self, result: &Result<HttpResponse, HttpError>) {
        let Self { log, key, method, host, path, parameters, attempt, started } = self;
        let status = result.as_ref().ok().map(HttpResponse::status);
        log.record(key, attempt, status.is_none_or(is_temporary));
        let (status, elapsed) = (status.map(|status| status.as_u16()), started.elapsed());
        // The text of an error may contain the URI, and so a signature: only its kind is logged.
        let error = result.as_ref().err().map(|error| tracing::field::debug(error.kind()));
        tracing::debug!(target: TARGET, %method, host, path, parameters, status, error, attempt, ?elapsed, "request");
    }
}

/// Returns true for the status of a request that is retried.
fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error() || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status)
}

fn key(method: &Method, uri: &Uri) -> u64 {
    let mut hasher = DefaultHasher::new();
    (method, uri).hash(&mut hasher);
    hasher.finish()
}

/// Returns the path of a URI, or a placeholder if the host serves credentials: their path may be
/// a secret of the instance.
fn path(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    let serves_credentials =
        host.starts_with("169.254.") || host.starts_with("[fd00:ec2:") || uri.path().contains("credentials");
    if serves_credentials { "(credentials)" } else { uri.path() }
}

/// Returns the names of the parameters of a query, with the values of harmless ones.
fn parameters(query: &str) -> String {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let parameters = parameters.map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if !HARMLESS.contains(&name) => name,
        _ => parameter,
    });
    parameters.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_parameters_are_not_logged() {
        let query = "X-Amz-Signature=abc&partNumber=3&uploadId=xyz&uploads&sig=def&comp=blocklist";
        assert_eq!(parameters(query), "X-Amz-Signature&partNumber=3&uploadId&uploads&sig&comp=blocklist");
        assert_eq!(parameters(""), "");
    }

    #[test]
    fn paths_of_credentials_are_not_logged() {
        for (uri, expected) in [
            ("https://s3.example.com/acme/main/appdb.dump?X-Amz-Signature=abc", "/acme/main/appdb.dump"),
            ("http://169.254.170.2/v2/credentials/7a3c", "(credentials)"),
            ("http://[fd00:ec2::254]/latest/meta-data", "(credentials)"),
        ] {
            assert_eq!(path(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

    #[test]
    fn attempts_are_counted_until_success() {
        let log = RequestLog::default();
        let attempt = |key: u64| log.failed().get(&key).copied().unwrap_or_default() + 1;
        log.record(1, attempt(1), true);
        log.record(1, attempt(1), true);
        assert_eq!((attempt(1), attempt(2)), (3, 1));
        log.record(1, attempt(1), false);
        assert_eq!(attempt(1), 1);
        for other in 0..2 * MAX_FAILED as u64 {
            log.record(other, 1, true);
        }
        assert!(log.failed().len() <= MAX_FAILED);
    }
}
