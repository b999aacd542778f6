//! Object locks: requested with each upload, and read back.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method};
use longshore_core::key::Key;
use longshore_core::stage::ObjectLocks;
use longshore_core::unit::TimeSpan;
use longshore_core::{Error, Kind, Result, Stage};
use object_store::path::Path;
use object_store::{Extensions, GetOptions, ObjectStore};

use crate::bucket::{Backend, Bucket};
use crate::connector::ResponseHeaders;
use crate::raw_client::RawClient;
use crate::version::Versioning;

/// The lock requested for new objects.
#[derive(Clone)]
pub struct LockRequest {
    /// The duration of locks. `None` if the retention policy sets it and the destination is not
    /// opened for new backups.
    pub span: Option<TimeSpan>,
    /// The duration, if the settings fix it.
    pub fixed_span: Option<TimeSpan>,
    /// The store's name for the lock mode, for messages.
    pub name: String,
    /// Returns the request extensions that lock a new object for a duration.
    pub extensions_for: Arc<dyn Fn(TimeSpan) -> Extensions + Send + Sync>,
    /// The query and the body of a request that locks an existing object, for stores that ignored
    /// the lock of an upload.
    pub lock_existing: (&'static str, Arc<dyn Fn(TimeSpan) -> String + Send + Sync>),
    /// The client that sends this request.
    pub client: RawClient,
}

impl fmt::Debug for LockRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockRequest").field("name", &self.name).field("span", &self.span).finish_non_exhaustive()
    }
}

impl LockRequest {
    pub(crate) fn extensions(&self) -> Extensions {
        self.span.map(|span| (self.extensions_for)(span)).unwrap_or_default()
    }
}

/// The headers in which a store reports the lock of an object.
#[derive(Debug, Clone, Copy)]
pub struct LockHeaders {
    /// The header with the end of the lock.
    pub until: &'static str,
    /// The header of a hold without an end and its value, if the store has such holds.
    pub hold: Option<(&'static str, &'static str)>,
}

impl LockHeaders {
    /// Returns the end of an object's lock, which may be in the past.
    fn read(self, headers: &HeaderMap) -> Option<DateTime<Utc>> {
        let value = |name: &str| headers.get(name)?.to_str().ok();
        let is_held = |(name, on): (_, &str)| value(name).is_some_and(|value| value.eq_ignore_ascii_case(on));
        if self.hold.is_some_and(is_held) {
            return Some(DateTime::<Utc>::MAX_UTC);
        }
        let until = value(self.until)?;
        let until = DateTime::parse_from_rfc3339(until).or_else(|_| DateTime::parse_from_rfc2822(until));
        until.ok().map(|until| until.to_utc())
    }
}

impl Backend {
    /// Returns the end of the lock of an object or of one version, as reported by the store. The
    /// end may be in the past.
    pub(crate) async fn lock_end(&self, path: &Path, version: Option<&str>) -> Result<Option<DateTime<Utc>>> {
        let options = GetOptions { head: true, version: version.map(str::to_owned), ..GetOptions::default() };
        let response = self.store.get_opts(path, options).await;
        let object = response.map_err(|error| self.convert_error(path, "cannot read the lock", error))?;
        Ok(object
            .extensions
            .get::<ResponseHeaders>()
            .and_then(|ResponseHeaders(headers)| self.lock_headers.read(headers)))
    }

    /// Verifies that a new object is locked, if the settings request a lock, and locks it if
    /// necessary: some stores ignore locks of multipart uploads, others all locks. Credentials that
    /// cannot read locks have to trust the store.
    pub(crate) async fn ensure_locked(&self, path: &Path) -> Result<()> {
        let Some((lock, span)) = self.lock.as_ref().and_then(|lock| Some((lock, lock.span?))) else {
            return Ok(());
        };
        let is_locked = async || match self.lock_end(path, None).await {
            Ok(until) => Ok(until.is_some()),
            Err(error) if error.kind() == Kind::Denied => Ok(true),
            Err(error) => Err(error),
        };
        if is_locked().await? {
            return Ok(());
        }
        let (query, body) = &lock.lock_existing;
        let response = lock.client.send_body(&self.location, Method::PUT, path, &[(query, "")], &body(span)).await?;
        let refused = response.expect(&self.location, "cannot lock the object").err();
        if refused.is_none() && is_locked().await? {
            return Ok(());
        }
        let error =
            Error::new(Stage::Ship, Kind::Refused, self.location.object_url(path), "the store did not lock the object");
        let error =
            error.hint("run `longshore check` to test whether the bucket supports locks; if not, remove object_lock");
        Err(match refused {
            Some(refused) => error.because(refused),
            None => error,
        })
    }

    /// Returns the error for a locked object.
    pub(crate) fn locked_error(&self, path: &Path, until: DateTime<Utc>) -> Error {
        let when = match until == DateTime::<Utc>::MAX_UTC {
            true => "until its hold is lifted".to_owned(),
            false => format!("until {}", until.format("%Y-%m-%d %H:%M:%S UTC")),
        };
        Error::new(Stage::Ship, Kind::Refused, self.location.object_url(path), format!("is locked {when}"))
            .hint("remove the object after the lock ends")
    }
}

#[async_trait]
impl ObjectLocks for Bucket {
    async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>> {
        let until = self.backend.lock_end(&self.backend.location.path(key)?, None).await?;
        Ok(until.filter(|until| *until > Utc::now()))
    }

    async fn hidden(&self) -> Result<Vec<Key>> {
        let Some(versions) = &self.backend.versions else { return Ok(Vec::new()) };
        if versions.versioning(&self.backend).await? == Versioning::Disabled {
            return Ok(Vec::new());
        }
        let mut locked = Vec::new();
        for (name, version) in versions.hidden(&self.backend).await? {
            let Some(key) = self.backend.location.key(&name) else { continue };
            let until = self.backend.lock_end(&self.backend.location.path(&key)?, Some(&version)).await?;
            locked.extend(until.filter(|until| *until > Utc::now()).map(|_| key));
        }
        Ok(locked)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const HEADERS: LockHeaders = LockHeaders { until: "x-until", hold: Some(("x-hold", "ON")) };

    fn read(headers: &[(&'static str, &'static str)]) -> Option<DateTime<Utc>> {
        let header = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        HEADERS.read(&headers.iter().copied().map(header).collect())
    }

    #[test]
    fn parses_both_time_formats() {
        let expected = "2026-06-07T09:15:00Z".parse().ok();
        assert_eq!(read(&[("x-until", "2026-06-07T09:15:00.000Z")]), expected);
        assert_eq!(read(&[("x-until", "Sun, 07 Jun 2026 09:15:00 GMT"), ("x-hold", "OFF")]), expected);
        assert_eq!(read(&[("x-until", "soon")]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn reads_a_hold_as_endless() {
        let headers = [("x-until", "2026-06-07T09:15:00Z"), ("x-hold", "on")];
        assert_eq!(read(&headers), Some(DateTime::<Utc>::MAX_UTC));
    }
}
