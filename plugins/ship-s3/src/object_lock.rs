//! Object Lock: the headers of requests and responses.

use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use http::{HeaderName, HeaderValue};
use longshore_core::plugin::MinimumRetention;
use longshore_core::unit::TimeSpan;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_objects::{LockHeaders, LockRequest, RawClient};
use object_store::Extensions;

use crate::request_hook::ExtraHeaders;
use crate::settings::{LockMode, ObjectLock, Retain};

const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";

/// The headers of a locked object.
pub(crate) const HEADERS: LockHeaders =
    LockHeaders { until: UNTIL, hold: Some(("x-amz-object-lock-legal-hold", "ON")) };

impl LockMode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }

    /// Returns the headers of a request that creates an object with a lock of this duration.
    fn extensions(self, span: TimeSpan) -> Extensions {
        let until = until(span);
        let header = |name, value: &str| Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?));
        let headers = [header(MODE, self.as_str()), header(UNTIL, &until)];
        let mut extensions = Extensions::new();
        extensions.insert(ExtraHeaders(headers.into_iter().flatten().collect()));
        extensions
    }
}

/// Returns the end of a lock that begins now, in the format of S3.
fn until(span: TimeSpan) -> String {
    (Utc::now() + span.duration()).to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl ObjectLock {
    /// Returns the lock for uploads to `url`. Fails if the retention policy is to set the duration
    /// and guarantees none.
    pub(crate) fn lock_request(self, client: RawClient, url: &str, policy: MinimumRetention) -> Result<LockRequest> {
        let Self { mode, retain } = self;
        let span = match (retain, policy) {
            (Retain::For(span), _) | (Retain::Policy, MinimumRetention::For(span)) => Some(span),
            (Retain::Policy, MinimumRetention::Unasked) => None,
            (Retain::Policy, MinimumRetention::None) => {
                let message = "object_lock.retain = \"policy\" needs a retention policy that guarantees a minimum time";
                return Err(Error::new(Stage::Config, Kind::Usage, url, message)
                    .hint("set keep_within or min_age in the policy, or a span of time instead of \"policy\""));
            }
        };
        let name = format!("Object Lock ({})", mode.as_str().to_lowercase());
        let retention = move |span| {
            let (mode, until) = (mode.as_str(), until(span));
            format!("<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>")
        };
        Ok(LockRequest {
            span,
            fixed_span: match retain {
                Retain::For(span) => Some(span),
                Retain::Policy => None,
            },
            name,
            extensions_for: Arc::new(move |span| mode.extensions(span)),
            lock_existing: ("retention", Arc::new(retention)),
            client,
        })
    }
}
