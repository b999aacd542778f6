//! Object Lock: asked for with each object, and whether the bucket knows it.
//!
//! Some stores accept the headers and ignore them, so that nothing but the bucket's own word says that a lock would hold.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{SecondsFormat, Utc};
use http::{HeaderName, HeaderValue};
use longshore_core::check::{Check, Finding};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_objects::{Asks, Place, failure};
use object_store::Extensions;
use object_store::client::HttpClient;

use crate::bucket::Requests;
use crate::dress::Headers;
use crate::settings::{LockMode, ObjectLock};

impl LockMode {
    fn word(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

impl ObjectLock {
    /// What a request says that makes an object now.
    pub(crate) fn extensions(self) -> Extensions {
        let until = Utc::now() + self.retain.duration();
        let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
        let header = |name, value: &str| Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?));
        let headers =
            [header("x-amz-object-lock-mode", self.mode.word()), header("x-amz-object-lock-retain-until-date", &until)];
        let mut extensions = Extensions::new();
        extensions.insert(Headers(headers.into_iter().flatten().collect()));
        extensions
    }
}

/// Looks whether a bucket has Object Lock.
pub(crate) struct LockCheck {
    pub(crate) place: Place,
    pub(crate) lock: ObjectLock,
    pub(crate) client: HttpClient,
    pub(crate) requests: Arc<Requests>,
}

#[async_trait]
impl Check for LockCheck {
    async fn check(&self) -> Vec<Finding> {
        let subject = self.place.name();
        let days = self.lock.retain.duration().as_secs() / 86_400;
        vec![match self.knows().await {
            Ok(true) => {
                let mode = self.lock.mode.word().to_lowercase();
                Finding::good(subject, format!("the bucket has Object Lock: {mode}, {days} days from each upload"))
            }
            Ok(false) => {
                let error = Error::new(
                    Stage::Ship,
                    Kind::Refused,
                    &subject,
                    "object_lock is asked for, and the bucket has none",
                );
                Finding::failed(
                    subject,
                    &error.hint(
                        "make a bucket with Object Lock, or take object_lock away; some stores ignore it silently",
                    ),
                )
            }
            Err(error) if error.kind() == Kind::Denied => Finding::warning(
                subject,
                "these credentials may not see whether the bucket has Object Lock",
                "see for yourself, or permit s3:GetBucketObjectLockConfiguration",
            ),
            Err(error) => Finding::failed(subject, &error),
        }]
    }
}

impl LockCheck {
    async fn knows(&self) -> Result<bool> {
        let name = self.place.name();
        let failed = |error| failure(&self.place, &name, "cannot see whether the bucket has Object Lock", error);
        let wrong = |source: Box<dyn std::error::Error + Send + Sync>| {
            failed(object_store::Error::Generic { store: "S3", source })
        };
        let request = self.requests.request(&[("object-lock", "")]).await.map_err(failed)?;
        let answer = self.client.execute(request).await.map_err(|error| wrong(error.into()))?;
        let status = answer.status();
        let body = answer.into_body().bytes().await.map_err(|error| wrong(error.into()))?;
        let text = String::from_utf8_lossy(&body);
        match status.as_u16() {
            200 => Ok(text.contains("<ObjectLockEnabled>Enabled</ObjectLockEnabled>")),
            // Not for this bucket, or not by this store.
            400 | 404 | 405 | 501 if !text.contains("NoSuchBucket") => Ok(false),
            _ => Err(wrong(format!("Server returned non-2xx status code: {status}: {text}").into())),
        }
    }
}
