//! Requests over HTTP. URLs and headers may contain secrets, so that no error shows them.

use std::sync::OnceLock;
use std::time::Duration;

use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};

/// The time limit of one attempt.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of bytes of an answer that an error quotes.
const MAX_QUOTED_BYTES: usize = 300;
/// The minimum length of a word in a URL that may be a secret.
const MIN_SECRET_BYTES: usize = 6;

/// The receiver of requests.
#[derive(Debug)]
pub(crate) struct Receiver {
    channel: String,
    client: Client,
    url: reqwest::Url,
    headers: HeaderMap,
}

impl Receiver {
    /// Creates a receiver. Connects to no host.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Usage`] if the URL or a header is invalid.
    pub(crate) fn new(channel: &str, url: &SecretString) -> Result<Self> {
        let usage = |message: &str| Error::new(Stage::Notify, Kind::Usage, channel, message);
        let url = reqwest::Url::parse(url.expose_secret().trim()).map_err(|_| usage("the URL is invalid"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(usage("the URL is neither of http:// nor of https://"));
        }
        let client = client().map_err(|error| usage("cannot create an HTTP client").because(error.without_url()))?;
        Ok(Self { channel: channel.to_owned(), client, url, headers: HeaderMap::new() })
    }

    /// Returns the receiver with another header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Result<Self> {
        let usage = |what: &str| {
            Error::new(Stage::Notify, Kind::Usage, &self.channel, format!("the {what} of a header is invalid"))
        };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| usage("name"))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| usage("value"))?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Returns the receiver with a token in `Authorization`.
    pub(crate) fn bearer(self, token: &SecretString) -> Result<Self> {
        self.header(AUTHORIZATION.as_str(), &format!("Bearer {}", token.expose_secret()))
    }

    /// Returns the receiver with further segments of its path.
    pub(crate) fn below(mut self, segments: &[&str]) -> Self {
        // The URLs of http and https always have a path.
        if let Ok(mut path) = self.url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        self
    }

    /// Sends a request. `segments` are added to the path, `query` to the parameters.
    ///
    /// # Errors
    ///
    /// Fails with [`Kind::Unavailable`] if another attempt may succeed.
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<()> {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(call.segments);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let request = self.client.request(call.method, url).headers(self.headers.clone());
        let request = request.header(CONTENT_TYPE, call.content_type).body(call.body);
        let host = self.host();
        let failed =
            |kind, message: String| Error::new(Stage::Notify, kind, &self.channel, format!("{host}: {message}"));
        let mut response = request.send().await.map_err(|error| {
            let error = error.without_url();
            let message = match () {
                () if error.is_timeout() => format!("no answer within {} s", TIMEOUT.as_secs()),
                () if error.is_connect() => "cannot connect to the server".to_owned(),
                () => "the server closed the connection".to_owned(),
            };
            failed(Kind::Unavailable, message).because(root_cause(&error))
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let is_temporary =
            status.is_server_error() || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
        let kind = match status {
            _ if is_temporary => Kind::Unavailable,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::Denied,
            StatusCode::NOT_FOUND => Kind::NotFound,
            _ => Kind::Failed,
        };
        let mut answer = Vec::new();
        // An answer that ends early is still a hint.
        while answer.len() < MAX_QUOTED_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            answer.extend_from_slice(&chunk);
        }
        let answer = self.without_secrets(&String::from_utf8_lossy(&answer));
        let answer = answer.split_whitespace().collect::<Vec<_>>().join(" ");
        let quoted = printable(&answer[..answer.floor_char_boundary(MAX_QUOTED_BYTES)]);
        let quoted = if quoted.is_empty() { String::new() } else { format!(": {quoted}") };
        Err(failed(kind, format!("the server answered {status}{quoted}")))
    }

    /// Returns the host and the port, without the path, which may be a secret.
    fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Removes the words of the URL and the values of the headers from an answer: a server may
    /// repeat them.
    fn without_secrets(&self, answer: &str) -> String {
        let segments = self.url.path_segments().into_iter().flatten().map(str::to_owned);
        let parameters = self.url.query_pairs().map(|(_, value)| value.into_owned());
        let user = [Some(self.url.username()), self.url.password()].into_iter().flatten().map(str::to_owned);
        let headers = self.headers.values().filter_map(|value| value.to_str().ok());
        let headers = headers.flat_map(str::split_whitespace).map(str::to_owned);
        let mut secrets: Vec<String> = segments.chain(parameters).chain(user).chain(headers).collect();
        // A longer secret may contain a shorter one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let secrets = secrets.iter().filter(|secret| secret.len() >= MIN_SECRET_BYTES);
        secrets.fold(answer.to_owned(), |answer, secret| answer.replace(secret, "…"))
    }
}

/// Returns the client of all receivers: reading the certificates of the system takes time.
fn client() -> reqwest::Result<Client> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    // A redirect could lead the secrets of a URL to another host.
    let client = Client::builder().timeout(TIMEOUT).redirect(Policy::none());
    let client = client.user_agent(concat!("longshore/", env!("CARGO_PKG_VERSION"))).build()?;
    Ok(CLIENT.get_or_init(|| client).clone())
}

/// One request to a receiver.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) segments: &'a [&'a str],
    pub(crate) query: &'a [(&'a str, String)],
    pub(crate) content_type: &'a str,
    pub(crate) body: String,
}

impl Call<'_> {
    /// Returns a request with JSON.
    pub(crate) fn json(body: String) -> Self {
        Self { method: Method::POST, segments: &[], query: &[], content_type: "application/json", body }
    }
}

/// Returns the message of the last cause: those before it name the URL.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
