//! The rules for every request: the host, the origin, the rate, and the headers of answers.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};

/// The policy for contents: only files of the service, nothing inline, no frames.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                              form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Adds the headers that protect an answer.
pub(crate) fn add_headers(headers: &mut HeaderMap) {
    let fixed: [(HeaderName, &'static str); 7] = [
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Returns true if the host of a request is one of this service: an address, `localhost`, or a
/// configured name. A page of another name that resolves to this host is not served.
pub(crate) fn is_own_host(headers: &HeaderMap, names: &[String]) -> bool {
    let mut all = headers.get_all(HOST).iter();
    let (Some(Ok(host)), None) = (all.next().map(HeaderValue::to_str), all.next()) else { return false };
    let name = without_port(host);
    let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    is_address || name.eq_ignore_ascii_case("localhost") || names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// The presence of a token in a request itself, which no page of another site can add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bearer {
    /// The request has a token.
    Present,
    /// The request has a cookie, or nothing.
    Absent,
}

/// Returns true if a request may change something: it only reads, or comes from a page of this
/// service, or from a program with a token.
pub(crate) fn is_same_origin(method: &Method, headers: &HeaderMap, bearer: Bearer) -> bool {
    if matches!(*method, Method::GET | Method::HEAD) {
        return true;
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text(ORIGIN.as_str())) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == text(HOST.as_str())
        }
        (None, None) => bearer == Bearer::Present,
    }
}

/// Returns the client that a proxy names: the last address of its header, which the proxy itself
/// has added. The others may be forged.
pub(crate) fn forwarded_client(headers: &HeaderMap, name: &str) -> Option<IpAddr> {
    let last = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    let last = last.rsplit(',').next()?.trim();
    let address = |text: &str| text.parse::<IpAddr>().ok();
    let with_port = || last.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || address(last.strip_prefix('[')?.strip_suffix(']')?);
    address(last).or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

/// The requests that an address may send at once.
const BURST: f64 = 300.0;
/// The requests that an address may send per second.
const RATE: f64 = 60.0;
/// The wrong tokens that an address may send at once.
const FAILURE_BURST: f64 = 10.0;
/// The wrong tokens that an address may send per second.
const FAILURE_RATE: f64 = 0.2;
/// The maximum number of addresses that are remembered.
const MAX_ADDRESSES: usize = 4096;

/// The time between two lines of the log about one address.
const NOTE_INTERVAL: Duration = Duration::from_secs(60);

/// The limits of the rate of requests, by address.
#[derive(Default)]
pub(crate) struct RateLimits(Mutex<HashMap<Option<IpAddr>, Allowance>>);

/// The remaining requests of an address.
struct Allowance {
    requests: f64,
    failures: f64,
    updated: Instant,
    noted: BTreeMap<Note, Instant>,
}

/// The subject of a line of the log about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Note {
    /// A limit that the address exceeded.
    Limit,
    /// A user without a role.
    User,
    /// A header of a proxy that was ignored.
    Header,
    /// A connection without TLS.
    Handshake,
}

/// The limit that a request exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The address sent too many requests.
    Requests,
    /// The address sent too many wrong tokens.
    Failures,
}

impl Limit {
    /// Returns the reason, for the client and for the log.
    pub(crate) fn reason(self, address: Option<IpAddr>) -> String {
        let client = client_name(address);
        let wait = self.wait_seconds();
        match self {
            Self::Requests => format!("too many requests from {client}: at most {RATE} per second; wait {wait} s"),
            Self::Failures => {
                format!("too many wrong tokens from {client}: no token of this address is accepted; wait {wait} s")
            }
        }
    }

    /// Returns the time after which another request is permitted, in seconds.
    pub(crate) fn wait_seconds(self) -> u64 {
        match self {
            Self::Requests => 1,
            Self::Failures => (1.0 / FAILURE_RATE).ceil() as u64,
        }
    }
}

/// Returns the name of a client in messages.
pub(crate) fn client_name(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "the socket".to_owned(), |address| address.to_string())
}

impl RateLimits {
    /// Counts a request. Fails if there were too many, or, for a request with a token, too many
    /// wrong tokens.
    pub(crate) fn count(&self, address: Option<IpAddr>, token: Bearer) -> Result<(), Limit> {
        self.with(address, |allowance| {
            if token == Bearer::Present && allowance.failures < 1.0 {
                return Err(Limit::Failures);
            }
            if allowance.requests < 1.0 {
                return Err(Limit::Requests);
            }
            allowance.requests -= 1.0;
            Ok(())
        })
    }

    /// Counts a wrong token.
    pub(crate) fn count_failure(&self, address: Option<IpAddr>) {
        self.with(address, |allowance| allowance.failures -= 1.0);
    }

    /// Returns true if the log may have a line about an address: one per subject and minute.
    pub(crate) fn may_note(&self, address: Option<IpAddr>, note: Note) -> bool {
        self.with(address, |allowance| {
            let may_note = allowance.noted.get(&note).is_none_or(|noted| noted.elapsed() >= NOTE_INTERVAL);
            if may_note {
                allowance.noted.insert(note, Instant::now());
            }
            may_note
        })
    }

    fn with<T>(&self, address: Option<IpAddr>, change: impl FnOnce(&mut Allowance) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if all.len() >= MAX_ADDRESSES {
            all.retain(|_, allowance| now.duration_since(allowance.updated).as_secs() < 60);
        }
        if all.len() >= MAX_ADDRESSES {
            all.clear();
        }
        let full = Allowance { requests: BURST, failures: FAILURE_BURST, updated: now, noted: BTreeMap::new() };
        let allowance = all.entry(address).or_insert(full);
        let seconds = now.duration_since(allowance.updated).as_secs_f64();
        allowance.requests = (allowance.requests + seconds * RATE).min(BURST);
        allowance.failures = (allowance.failures + seconds * FAILURE_RATE).min(FAILURE_BURST);
        allowance.updated = now;
        change(allowance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_own_hosts_are_served() {
        let names = ["backup.example.net".to_owned()];
        for own in ["localhost", "LOCALHOST:8470", "127.0.0.1:8470", "[::1]:8470", "[::1]", "Backup.Example.net:443"] {
            assert!(is_own_host(&headers(&[("host", own)]), &names), "{own}");
        }
        for foreign in ["evil.example", "backup.example.net.evil", "", "127.0.0.1.evil", "localhost:8470:x"] {
            assert!(!is_own_host(&headers(&[("host", foreign)]), &names), "{foreign}");
        }
        assert!(!is_own_host(&HeaderMap::new(), &names));
        let mut two = headers(&[("host", "localhost")]);
        two.append(HOST, HeaderValue::from_static("evil.example"));
        assert!(!is_own_host(&two, &names));
    }

    #[test]
    fn changes_need_a_page_of_this_service_or_a_token() {
        let permits =
            |all: &[(&'static str, &'static str)], bearer| is_same_origin(&Method::POST, &headers(all), bearer);
        assert!(permits(&[("sec-fetch-site", "same-origin")], Bearer::Absent));
        assert!(permits(&[("host", "localhost:1"), ("origin", "http://localhost:1")], Bearer::Absent));
        assert!(permits(&[], Bearer::Present));
        for site in ["cross-site", "same-site", "none"] {
            let all = [("sec-fetch-site", site), ("host", "localhost:1"), ("origin", "http://localhost:1")];
            assert!(!is_same_origin(&Method::POST, &headers(&all), Bearer::Present), "{site}");
        }
        assert!(!permits(&[("host", "localhost:1"), ("origin", "http://evil")], Bearer::Present));
        assert!(!permits(&[("host", "localhost:1"), ("origin", "null")], Bearer::Absent));
        assert!(!permits(&[], Bearer::Absent));
        assert!(is_same_origin(&Method::GET, &HeaderMap::new(), Bearer::Absent));
    }

    #[test]
    fn client_of_a_proxy_is_the_last_of_its_header() {
        let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let client = |all: &[(&'static str, &'static str)]| forwarded_client(&headers(all), "x-forwarded-for");
        assert_eq!(client(&[("x-forwarded-for", "203.0.113.9, 192.0.2.1")]), address("192.0.2.1"));
        assert_eq!(client(&[("x-forwarded-for", "2001:db8::1")]), address("2001:db8::1"));
        assert_eq!(client(&[("x-forwarded-for", "[2001:db8::1]:4711")]), address("2001:db8::1"));
        assert_eq!(client(&[("x-forwarded-for", "192.0.2.1:4711")]), address("192.0.2.1"));
        assert_eq!(client(&[("x-forwarded-for", "192.0.2.1, unknown")]), None);
        assert_eq!(client(&[]), None);
        let mut two = headers(&[("x-forwarded-for", "203.0.113.9")]);
        two.append("x-forwarded-for", HeaderValue::from_static("192.0.2.1"));
        assert_eq!(forwarded_client(&two, "x-forwarded-for"), address("192.0.2.1"));
    }

    #[test]
    fn rates_are_limited_by_address() {
        let (limits, one, other) = (RateLimits::default(), Some(IpAddr::from([192, 0, 2, 1])), None);
        let permitted = (0..2000).filter(|_| limits.count(one, Bearer::Absent).is_ok()).count();
        assert!((300..1000).contains(&permitted), "{permitted}");
        assert_eq!(limits.count(one, Bearer::Absent), Err(Limit::Requests));
        assert!(Limit::Requests.reason(one).contains("192.0.2.1: at most 60 per second"));
        assert_eq!(limits.count(other, Bearer::Present), Ok(()));
        (0..10).for_each(|_| limits.count_failure(other));
        assert_eq!(limits.count(other, Bearer::Present), Err(Limit::Failures));
        assert_eq!(limits.count(other, Bearer::Absent), Ok(()));
        assert!(limits.may_note(one, Note::Limit) && !limits.may_note(one, Note::Limit));
        assert!(limits.may_note(one, Note::User) && limits.may_note(other, Note::Limit));
    }
}
