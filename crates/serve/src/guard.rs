//! The rules for every request: the host, the origin, the rate, and the headers of answers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

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

/// The limits of the rate of requests, by address.
#[derive(Default)]
pub(crate) struct RateLimits(Mutex<HashMap<Option<IpAddr>, Allowance>>);

/// The remaining requests of an address.
struct Allowance {
    requests: f64,
    failures: f64,
    updated: Instant,
}

impl RateLimits {
    /// Counts a request. Returns false if there were too many, or, for a request with a token, too
    /// many wrong tokens.
    pub(crate) fn permits(&self, address: Option<IpAddr>, token: Bearer) -> bool {
        self.with(address, |allowance| {
            let may_guess = token == Bearer::Absent || allowance.failures >= 1.0;
            let is_permitted = allowance.requests >= 1.0 && may_guess;
            allowance.requests -= if is_permitted { 1.0 } else { 0.0 };
            is_permitted
        })
    }

    /// Counts a wrong token.
    pub(crate) fn count_failure(&self, address: Option<IpAddr>) {
        self.with(address, |allowance| allowance.failures -= 1.0);
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
        let full = Allowance { requests: BURST, failures: FAILURE_BURST, updated: now };
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
    fn rates_are_limited_by_address() {
        let (limits, one, other) = (RateLimits::default(), Some(IpAddr::from([192, 0, 2, 1])), None);
        let permitted = (0..2000).filter(|_| limits.permits(one, Bearer::Absent)).count();
        assert!((300..1000).contains(&permitted), "{permitted}");
        assert!(limits.permits(other, Bearer::Present));
        (0..10).for_each(|_| limits.count_failure(other));
        assert!(!limits.permits(other, Bearer::Present) && limits.permits(other, Bearer::Absent));
    }
}
