//! The known plugins, by the `type` that names them in the configuration.

mod decryption;
mod restore;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;

use longshore_core::format::Format;
use longshore_core::plugin::{JobContext, Plugin, PluginKind};
use longshore_core::stage::{Decrypt, Dump, Encrypt, Examine, Scratch, Store, Verify};
use longshore_core::{Error, Kind, Result, Stage};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, quote_unless_secret};
use crate::suggestion::nearest;
use crate::table::read as read_setting;

pub use self::restore::RestorePlugins;

/// Parsed settings from which a stage can be built any number of times.
pub type Builder<S> = Arc<dyn Fn(&<S as PluginKind>::Context) -> Result<Box<S>> + Send + Sync>;

type Read<S> = dyn Fn(Spanned<DeValue<'_>>, Option<&Path>) -> Result<Builder<S>, ConfigError> + Send + Sync;

/// Reads the settings of a plugin, as written in the configuration beside `type`, and knows their
/// JSON Schema.
pub struct Reader<S: PluginKind + ?Sized> {
    read: Box<Read<S>>,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

impl<S: PluginKind + ?Sized + 'static> Reader<S> {
    /// Returns a reader of settings, from which `build` builds the stage.
    pub fn new<T, B>(build: B) -> Self
    where
        T: DeserializeOwned + JsonSchema + Clone + Send + Sync + 'static,
        B: Fn(T, &S::Context) -> Result<Box<S>> + Clone + Send + Sync + 'static,
    {
        Self::located(|settings, _| settings, build)
    }

    /// Returns a reader like [`new`](Self::new), whose settings name programs that `locate` finds
    /// in the folder of such programs.
    fn located<T, B>(locate: fn(T, &Path) -> T, build: B) -> Self
    where
        T: DeserializeOwned + JsonSchema + Clone + Send + Sync + 'static,
        B: Fn(T, &S::Context) -> Result<Box<S>> + Clone + Send + Sync + 'static,
    {
        let read = move |settings: Spanned<DeValue<'_>>, plugin_dir: Option<&Path>| {
            let settings: T = read_setting(settings)?;
            let settings = match plugin_dir {
                Some(plugin_dir) => locate(settings, plugin_dir),
                None => settings,
            };
            let build = build.clone();
            let builder: Builder<S> = Arc::new(move |context: &S::Context| build(settings.clone(), context));
            Ok(builder)
        };
        Self { read: Box::new(read), schema: T::json_schema }
    }
}

/// All plugins of one kind: those of this program, and those that are known only at run time.
pub struct Plugins<S: PluginKind + ?Sized> {
    readers: BTreeMap<String, Reader<S>>,
}

impl<S: PluginKind + ?Sized> Default for Plugins<S> {
    fn default() -> Self {
        Self { readers: BTreeMap::new() }
    }
}

impl<S: PluginKind + ?Sized + 'static> Plugins<S> {
    /// Registers a plugin of this program.
    pub fn add<P: Plugin<S>>(&mut self) {
        self.readers.insert(P::TYPE.to_owned(), Reader::<S>::located(P::in_plugin_dir, P::build));
    }

    /// Registers a plugin that is known only at run time, such as an external program.
    ///
    /// # Errors
    ///
    /// Fails with [`AlreadyExists`](Kind::AlreadyExists) if another plugin has this name.
    pub fn insert(&mut self, name: impl Into<String>, reader: Reader<S>) -> Result<()> {
        match self.readers.entry(name.into()) {
            Entry::Vacant(free) => {
                free.insert(reader);
                Ok(())
            }
            Entry::Occupied(taken) => {
                let message = "another plugin has this name";
                Err(Error::new(Stage::Config, Kind::AlreadyExists, taken.key(), message)
                    .hint("register the plugin under another name"))
            }
        }
    }

    /// Reads a table whose `type` names the plugin. Programs named without a slash are in
    /// `plugin_dir`.
    pub(crate) fn read(
        &self,
        settings: Spanned<DeValue<'_>>,
        plugin_dir: Option<&Path>,
    ) -> Result<Builder<S>, ConfigError> {
        let span = settings.span();
        let known = || self.readers.keys().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let DeValue::Table(mut table) = settings.into_inner() else {
            return Err(ConfigError::at(span, format!("expected a table with a type; known types are {}", known())));
        };
        let Some(name) = table.remove("type") else {
            return Err(ConfigError::at(span, format!("type is missing; known types are {}", known())));
        };
        let Some(type_name) = name.get_ref().as_str() else {
            return Err(ConfigError::at(name.span(), format!("type must be a string, one of {}", known())));
        };
        let Some(reader) = self.readers.get(type_name) else {
            let correction = match nearest(type_name, self.readers.keys().map(String::as_str)) {
                Some(name) => format!("did you mean \"{name}\"? known types are"),
                None => "known types are".to_owned(),
            };
            let message = format!("type {} is unknown; {correction} {}", quote_unless_secret(type_name), known());
            return Err(ConfigError::at(name.span(), message));
        };
        (reader.read)(Spanned::new(span, DeValue::Table(table)), plugin_dir)
    }

    /// Returns the name of each plugin and the JSON Schema of its settings, without `type`.
    pub(crate) fn schemas(&self, generator: &mut SchemaGenerator) -> Vec<(&str, Schema)> {
        self.readers.iter().map(|(name, reader)| (name.as_str(), (reader.schema)(generator))).collect()
    }

    /// Builds the plugin `name` with its default settings.
    pub fn build(&self, name: &str, context: &S::Context) -> Result<Box<S>> {
        let unknown = || Error::new(Stage::Config, Kind::Refused, name, "this program has no such plugin");
        let reader = self.readers.get(name).ok_or_else(unknown)?;
        let builder = (reader.read)(Spanned::new(0..0, DeValue::Table(DeTable::new())), None);
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
    /// The verifiers of a job that names none. Each verifies other formats.
    pub default_verify: Vec<String>,
    /// Encryption.
    pub encrypt: Plugins<dyn Encrypt>,
    /// Decryption, by the name in a manifest.
    pub decrypt: Plugins<dyn Decrypt>,
    /// Decryption by programs, which a table `[decrypt.NAME]` configures.
    pub decrypt_program: Plugins<dyn Decrypt>,
    /// Destinations.
    pub store: Plugins<dyn Store>,
    /// Restore programs, by the format in a manifest.
    pub restore: RestorePlugins,
    /// Scratch servers for drills.
    pub scratch: Plugins<dyn Scratch>,
    /// The scratch server of a job that names none.
    pub default_scratch: String,
    /// Examiners of restored databases.
    pub examine: Plugins<dyn Examine>,
    /// The default examiner.
    pub default_examine: String,
}

impl Registry {
    /// Builds the verifiers of a job that names none.
    pub fn default_verifiers(&self, context: &JobContext) -> Result<Vec<Box<dyn Verify>>> {
        self.default_verify.iter().map(|name| self.verify.build(name, context)).collect()
    }

    /// Builds the default verifier of a format, or the first default verifier, which refuses the
    /// format.
    pub fn default_verifier(&self, format: &Format, context: &JobContext) -> Result<Box<dyn Verify>> {
        let mut verifiers = self.default_verifiers(context)?;
        let index = verifiers.iter().position(|verifier| verifier.verifies(format)).unwrap_or(0);
        if verifiers.is_empty() {
            let message = "this program has no default verifier";
            return Err(Error::new(Stage::Config, Kind::Refused, "verify", message));
        }
        Ok(verifiers.swap_remove(index))
    }
}

#[cfg(test)]
mod tests {
    use longshore_testkit::fake_stage::Xor;

    use super::*;

    /// A plugin of this program that is never built.
    #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
    struct Local {}

    impl Plugin<dyn Encrypt> for Local {
        const TYPE: &'static str = "local";

        fn build(self, (): &()) -> Result<Box<dyn Encrypt>> {
            Err(Error::new(Stage::Config, Kind::Refused, "local", "is never built"))
        }
    }

    /// The settings of a plugin that is registered at run time.
    #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct External {
        /// The message of the error with which building fails.
        error: Option<String>,
    }

    fn external() -> Reader<dyn Encrypt> {
        Reader::<dyn Encrypt>::new(|settings: External, _: &()| match settings.error {
            Some(message) => Err(Error::new(Stage::Config, Kind::Failed, "external", message)),
            None => Ok(Box::new(Xor)),
        })
    }

    /// Returns the plugin of this program, and one that is registered at run time.
    fn plugins() -> Plugins<dyn Encrypt> {
        let mut plugins = Plugins::default();
        plugins.add::<Local>();
        plugins.insert(["external", "7"].join("-"), external()).unwrap();
        plugins
    }

    fn read(plugins: &Plugins<dyn Encrypt>, settings: &str) -> Result<Builder<dyn Encrypt>, ConfigError> {
        let text = format!("it = {settings}");
        let mut table = DeTable::parse(&text).unwrap().into_inner();
        plugins.read(table.remove("it").unwrap(), None)
    }

    fn read_error(plugins: &Plugins<dyn Encrypt>, settings: &str) -> String {
        match read(plugins, settings) {
            Ok(_) => panic!("{settings} was accepted"),
            Err(error) => error.message().to_owned(),
        }
    }

    #[test]
    fn unknown_type_error_suggests_nearest_type() {
        let mut plugins = Plugins::<dyn Encrypt>::default();
        plugins.add::<Local>();
        for (settings, message) in [
            ("{ type = 'lcoal' }", "type \"lcoal\" is unknown; did you mean \"local\"? known types are \"local\""),
            ("{ type = 'tape' }", "type \"tape\" is unknown; known types are \"local\""),
            ("{ type = 'postgresql://u:x@h' }", "type \"…\" is unknown; known types are \"local\""),
            ("{ type = 7 }", "type must be a string, one of \"local\""),
            ("{ path = '/' }", "type is missing; known types are \"local\""),
            ("'local'", "expected a table with a type; known types are \"local\""),
        ] {
            assert_eq!(read_error(&plugins, settings), message);
        }
    }

    #[test]
    fn plugin_registered_at_run_time_is_read_and_built() {
        let plugins = plugins();
        let builder = read(&plugins, "{ type = 'external-7' }").unwrap();
        assert_eq!(builder(&()).unwrap().name(), "xor");
        assert_eq!(plugins.build("external-7", &()).unwrap().name(), "xor", "with default settings");
        let builder = read(&plugins, "{ type = 'external-7', error = 'the setting' }").unwrap();
        for _ in 0..2 {
            let error = builder(&()).err().unwrap();
            assert_eq!(error.to_string(), "config \"external\": the setting");
        }
    }

    #[test]
    fn errors_list_plugins_registered_at_run_time() {
        let plugins = plugins();
        assert_eq!(
            read_error(&plugins, "{ type = 'external7' }"),
            "type \"external7\" is unknown; did you mean \"external-7\"? known types are \"external-7\", \"local\""
        );
        let error = read_error(&plugins, "{ type = 'external-7', depth = 3 }");
        assert!(error.contains("unknown field `depth`"), "{error}");
    }

    #[test]
    fn name_of_existing_plugin_is_refused() {
        let mut plugins = plugins();
        let error = plugins.insert("local", external()).unwrap_err();
        assert_eq!((error.kind(), error.subject()), (Kind::AlreadyExists, "local"));
        let error = plugins.build("local", &()).err().unwrap();
        assert_eq!(error.to_string(), "config \"local\": is never built", "still the first plugin");
    }
}
