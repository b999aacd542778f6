//! A destination with the limits that its owner sets, as decorators of any [`Store`].
//!
//! | file | contents |
//! | --- | --- |
//! | `rate_limit.rs` | [`RateLimit`]: a maximum rate of writes |
//! | `stall_timeout.rs` | [`StallTimeout`]: a limit on the time without progress |
//! | `signed.rs` | [`Signed`]: signatures of records |
//! | `resume.rs` | [`Resume`]: fetches that continue after a lost connection |
//!
//! Every decorator forwards [`Limits`] and [`Capabilities`] as a whole, so it cannot lose one.
//!
//! [`Limits`]: crate::stage::Limits
//! [`Capabilities`]: crate::stage::Capabilities

mod rate_limit;
mod resume;
mod signed;
mod stall_timeout;

use std::sync::Arc;
use std::time::Duration;

use crate::stage::Store;

pub use self::rate_limit::{MaxRate, RateLimit, RateLimiter};
pub use self::resume::Resume;
pub use self::signed::Signed;
pub use self::stall_timeout::{STALL_TIMEOUT, StallTimeout};

/// The settings that apply to any destination.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The longest time without progress before a transfer fails.
    pub stall_timeout: Duration,
    /// The limit on the total rate of writes; unlimited by default.
    pub max_rate: Option<Arc<RateLimiter>>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { stall_timeout: STALL_TIMEOUT, max_rate: None }
    }
}

/// Returns the destination `name` of the configuration with its settings applied.
pub fn with_settings(name: &str, store: Arc<dyn Store>, settings: &StoreSettings) -> Box<dyn Store> {
    let store = Arc::new(StallTimeout::new(name, store, settings.stall_timeout));
    let store = Resume::new(store, settings.stall_timeout);
    match &settings.max_rate {
        Some(limiter) => Box::new(RateLimit::new(Arc::new(store), Arc::clone(limiter))),
        None => Box::new(store),
    }
}
