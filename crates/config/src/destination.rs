//! A destination of the configuration.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use longshore_core::Result;
use longshore_core::plugin::{MinimumRetention, StoreContext};
use longshore_core::stage::Store;
use longshore_core::store::{STALL_TIMEOUT, with_settings};
use longshore_core::{Error, Kind, Stage};
use longshore_retention::Policy;
use toml::Spanned;
use toml::de::DeValue;

use crate::error::ConfigError;
use crate::registry::{Builder, Registry};
use crate::table::read;
use crate::trust::TrustSettings;
use crate::written;

/// The maximum number of parallel dumps. More are not faster: each takes a connection of the server
/// and processes of this host.
pub(crate) const MAX_PARALLEL: usize = 64;

/// A destination of the configuration.
#[derive(Clone)]
pub struct Destination {
    store: Builder<dyn Store>,
    stall_timeout: Duration,
    trust: TrustSettings,
    /// The maximum number of parallel uploads to the destination, if limited.
    pub parallel: Option<usize>,
    /// The minimum age before an interrupted run's leftovers are removed: longer than
    /// any run takes.
    pub orphan_grace: TimeDelta,
}

impl Destination {
    /// Creates a destination that opens this store, such as one in memory.
    pub fn of(store: impl Store + Clone + 'static) -> Self {
        let store: Builder<dyn Store> = Arc::new(move |_| Ok(Box::new(store.clone())));
        Self {
            store,
            stall_timeout: STALL_TIMEOUT,
            trust: TrustSettings::default(),
            parallel: None,
            orphan_grace: TimeDelta::hours(48),
        }
    }

    /// Returns the destination with signed or verified records.
    #[must_use]
    pub fn with_trust(self, trust: &TrustSettings) -> Self {
        Self { trust: trust.clone(), ..self }
    }

    /// Opens the store with the limits of the destination's settings.
    pub fn open(&self) -> Result<Arc<dyn Store>> {
        self.open_with(MinimumRetention::Unasked)
    }

    /// Opens the store for uploads under a retention policy. A store with an object lock that
    /// follows the policy locks objects for the time for which the policy keeps every backup.
    pub fn open_for_retention(&self, policy: Option<&Policy>) -> Result<Arc<dyn Store>> {
        let span = policy.and_then(|policy| policy.guaranteed_span(Utc::now()));
        self.open_with(span.map_or(MinimumRetention::None, MinimumRetention::For))
    }

    fn open_with(&self, retention: MinimumRetention) -> Result<Arc<dyn Store>> {
        let store = (self.store)(&StoreContext { stall_timeout: self.stall_timeout, retention })?;
        self.trust.apply(Arc::from(store))
    }
}

/// Reads a destination: the common settings, and the settings of its plugin.
pub(crate) fn destination(
    name: &str,
    value: Spanned<DeValue<'_>>,
    (registry, plugin_dir): (&Registry, Option<&Path>),
) -> std::result::Result<Destination, ConfigError> {
    let span = value.span();
    let DeValue::Table(mut table) = value.into_inner() else {
        return Err(ConfigError::at(span, format!("destination \"{name}\" must be a table")));
    };
    let common = written::Destination::SETTINGS.iter().filter_map(|setting| table.remove_entry(*setting)).collect();
    let settings: written::Destination = read(Spanned::new(span.clone(), DeValue::Table(common)))?;
    let parallel = settings.parallel.filter(|parallel| (1..=MAX_PARALLEL).contains(parallel));
    if parallel != settings.parallel {
        return Err(ConfigError::at(
            span,
            format!("destination \"{name}\": parallel must be from 1 to {MAX_PARALLEL}"),
        ));
    }
    let (limits, orphan_grace) = (settings.store_settings(), settings.orphan_grace());
    let stall_timeout = limits.stall_timeout;
    let plugin = registry.store.read(Spanned::new(span, DeValue::Table(table)), plugin_dir)?;
    let name = name.to_owned();
    let store: Builder<dyn Store> = Arc::new(move |context| {
        let store: Arc<dyn Store> = Arc::from(plugin(context)?);
        if store.limits().spools && limits.max_rate.is_some() {
            let message = "max_rate would limit writes to the spool, not the upload";
            let error = Error::new(Stage::Config, Kind::Usage, &name, message);
            return Err(error.hint("limit the upload program instead, such as with bwlimit of rsync"));
        }
        Ok(with_settings(&name, store, &limits))
    });
    Ok(Destination { store, stall_timeout, trust: TrustSettings::default(), parallel, orphan_grace })
}
