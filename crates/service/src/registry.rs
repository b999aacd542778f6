//! Which plugins there are, by the `type` that the configuration calls them.

use std::collections::BTreeMap;
use std::sync::Arc;

use longshore_core::plugin::{Joint, Plugin};
use longshore_core::stage::{Decrypt, Dump, Encrypt, Examine, Restore, Scratch, Store, Verify};
use longshore_core::{Error, Kind, Result, Stage};
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::fault::Fault;

/// Settings that were read, ready to be built any number of times.
pub type Builder<S> = Arc<dyn Fn(&<S as Joint>::Context) -> Result<Box<S>> + Send + Sync>;

type Reader<S> = fn(Spanned<DeValue<'_>>) -> Result<Builder<S>, Fault>;

/// All plugins of one kind.
pub struct Shelf<S: Joint + ?Sized> {
    readers: BTreeMap<&'static str, Reader<S>>,
}

impl<S: Joint + ?Sized> Default for Shelf<S> {
    fn default() -> Self {
        Self { readers: BTreeMap::new() }
    }
}

impl<S: Joint + ?Sized + 'static> Shelf<S> {
    /// Makes a plugin known.
    pub fn add<P: Plugin<S>>(&mut self) {
        self.readers.insert(P::TYPE, |settings| {
            let plugin = P::deserialize(ValueDeserializer::from(settings))?;
            Ok(Arc::new(move |context| plugin.clone().build(context)))
        });
    }

    /// Reads a table whose `type` names the plugin.
    pub(crate) fn read(&self, settings: Spanned<DeValue<'_>>) -> Result<Builder<S>, Fault> {
        let span = settings.span();
        let known = || self.readers.keys().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let DeValue::Table(mut table) = settings.into_inner() else {
            return Err(Fault::at(span, format!("must be a table with a type, which is one of {}", known())));
        };
        let Some(name) = table.remove("type") else {
            return Err(Fault::at(span, format!("has no type; it is one of {}", known())));
        };
        let reader = name.get_ref().as_str().and_then(|name| self.readers.get(name));
        let Some(reader) = reader else {
            return Err(Fault::at(name.span(), format!("is no type that there is; it is one of {}", known())));
        };
        reader(Spanned::new(span, DeValue::Table(table)))
    }

    /// Builds the plugin `name` with its default settings.
    pub fn build(&self, name: &str, context: &S::Context) -> Result<Box<S>> {
        let unknown = || Error::new(Stage::Config, Kind::Refused, name, "this program has no such plugin");
        let reader = self.readers.get(name).ok_or_else(unknown)?;
        let builder = reader(Spanned::new(0..0, DeValue::Table(DeTable::new())));
        builder.map_err(|fault| unknown().because(fault.message().to_owned()))?(context)
    }
}

/// All plugins of all kinds.
#[derive(Default)]
pub struct Registry {
    /// What reads databases.
    pub dump: Shelf<dyn Dump>,
    /// What judges plaintext.
    pub verify: Shelf<dyn Verify>,
    /// The type that judges where a job names none.
    pub default_verify: &'static str,
    /// What seals.
    pub encrypt: Shelf<dyn Encrypt>,
    /// What opens, by the name that manifests give.
    pub decrypt: Shelf<dyn Decrypt>,
    /// Destinations.
    pub store: Shelf<dyn Store>,
    /// What restores.
    pub restore: Shelf<dyn Restore>,
    /// The type that restores what a manifest describes.
    pub default_restore: &'static str,
    /// What makes places for drills.
    pub scratch: Shelf<dyn Scratch>,
    /// The type that makes them where a job names none.
    pub default_scratch: &'static str,
    /// What asks restored databases.
    pub examine: Shelf<dyn Examine>,
    /// The type that asks them.
    pub default_examine: &'static str,
}
