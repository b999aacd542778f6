//! The known plugins, by the `type` that names them in the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use longshore_core::plugin::{Plugin, PluginKind};
use longshore_core::stage::{Decrypt, Dump, Encrypt, Examine, Restore, Scratch, Store, Verify};
use longshore_core::{Error, Kind, Result, Stage};
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::error::{ConfigError, quote_unless_secret};
use crate::suggestion::nearest;

/// Parsed settings from which a stage can be built any number of times.
pub type Builder<S> = Arc<dyn Fn(&<S as PluginKind>::Context) -> Result<Box<S>> + Send + Sync>;

type Parser<S> = fn(Spanned<DeValue<'_>>) -> Result<Builder<S>, ConfigError>;

/// All plugins of one kind.
pub struct Plugins<S: PluginKind + ?Sized> {
    parsers: BTreeMap<&'static str, Parser<S>>,
}

impl<S: PluginKind + ?Sized> Default for Plugins<S> {
    fn default() -> Self {
        Self { parsers: BTreeMap::new() }
    }
}

impl<S: PluginKind + ?Sized + 'static> Plugins<S> {
    /// Registers a plugin.
    pub fn add<P: Plugin<S>>(&mut self) {
        self.parsers.insert(P::TYPE, |settings| {
            let plugin = P::deserialize(ValueDeserializer::from(settings))?;
            Ok(Arc::new(move |context| plugin.clone().build(context)))
        });
    }

    /// Reads a table whose `type` names the plugin.
    pub(crate) fn read(&self, settings: Spanned<DeValue<'_>>) -> Result<Builder<S>, ConfigError> {
        let span = settings.span();
        let known = || self.parsers.keys().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let DeValue::Table(mut table) = settings.into_inner() else {
            return Err(ConfigError::at(span, format!("expected a table with a type; known types are {}", known())));
        };
        let Some(name) = table.remove("type") else {
            return Err(ConfigError::at(span, format!("type is missing; known types are {}", known())));
        };
        let Some(type_name) = name.get_ref().as_str() else {
            return Err(ConfigError::at(name.span(), format!("type must be a string, one of {}", known())));
        };
        let Some(parser) = self.parsers.get(type_name) else {
            let correction = match nearest(type_name, self.parsers.keys().copied()) {
                Some(name) => format!("did you mean \"{name}\"? known types are"),
                None => "known types are".to_owned(),
            };
            let message = format!("type {} is unknown; {correction} {}", quote_unless_secret(type_name), known());
            return Err(ConfigError::at(name.span(), message));
        };
        parser(Spanned::new(span, DeValue::Table(table)))
    }

    /// Builds the plugin `name` with its default settings.
    pub fn build(&self, name: &str, context: &S::Context) -> Result<Box<S>> {
        let unknown = || Error::new(Stage::Config, Kind::Refused, name, "this program has no such plugin");
        let parser = self.parsers.get(name).ok_or_else(unknown)?;
        let builder = parser(Spanned::new(0..0, DeValue::Table(DeTable::new())));
        builder.map_err(|error| unknown().because(error.message().to_owned()))?(context)
    }
}

/// All plugins of all kinds.
#[derive(Default)]
pub struct Registry {
    /// Dump programs.
    pub dump: Plugins<dyn Dump>,
    /// Verifiers of plaintext.
    pub verify: Plugins<dyn Verify>,
    /// The verifier of a job that names none.
    pub default_verify: &'static str,
    /// Encryption.
    pub encrypt: Plugins<dyn Encrypt>,
    /// Decryption, by the name in a manifest.
    pub decrypt: Plugins<dyn Decrypt>,
    /// Destinations.
    pub store: Plugins<dyn Store>,
    /// Restore programs.
    pub restore: Plugins<dyn Restore>,
    /// The restore program for what a manifest describes.
    pub default_restore: &'static str,
    /// Scratch servers for drills.
    pub scratch: Plugins<dyn Scratch>,
    /// The scratch server of a job that names none.
    pub default_scratch: &'static str,
    /// Examiners of restored databases.
    pub examine: Plugins<dyn Examine>,
    /// The default examiner.
    pub default_examine: &'static str,
}

#[cfg(test)]
mod tests {
    use longshore_core::plugin::JobContext;

    use super::*;

    /// A plugin that is never built.
    #[derive(Debug, Clone, serde::Deserialize)]
    struct Local {}

    impl Plugin<dyn Verify> for Local {
        const TYPE: &'static str = "local";

        fn build(self, _: &JobContext) -> Result<Box<dyn Verify>> {
            Err(Error::new(Stage::Config, Kind::Refused, "local", "is never built"))
        }
    }

    fn read_error(settings: &str) -> String {
        let mut plugins = Plugins::<dyn Verify>::default();
        plugins.add::<Local>();
        let text = format!("it = {settings}");
        let mut table = DeTable::parse(&text).unwrap().into_inner();
        let value = table.remove("it").unwrap();
        match plugins.read(value) {
            Ok(_) => panic!("{settings} was accepted"),
            Err(error) => error.message().to_owned(),
        }
    }

    #[test]
    fn unknown_type_error_suggests_nearest_type() {
        for (settings, message) in [
            ("{ type = 'lcoal' }", "type \"lcoal\" is unknown; did you mean \"local\"? known types are \"local\""),
            ("{ type = 'tape' }", "type \"tape\" is unknown; known types are \"local\""),
            ("{ type = 'postgresql://u:x@h' }", "type \"…\" is unknown; known types are \"local\""),
            ("{ type = 7 }", "type must be a string, one of \"local\""),
            ("{ path = '/' }", "type is missing; known types are \"local\""),
            ("'local'", "expected a table with a type; known types are \"local\""),
        ] {
            assert_eq!(read_error(settings), message);
        }
    }
}
