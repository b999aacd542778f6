//! The known plugins, by the `type` that names them in the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use longshore_core::plugin::{Joint, Plugin};
use longshore_core::stage::{Decrypt, Dump, Encrypt, Examine, Restore, Scratch, Store, Verify};
use longshore_core::{Error, Kind, Result, Stage};
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::fault::{self, Fault};
use crate::suggestion::nearest;

/// Parsed settings from which a stage can be built any number of times.
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
    /// Registers a plugin.
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
            return Err(Fault::at(span, format!("expected a table with a type; known types are {}", known())));
        };
        let Some(name) = table.remove("type") else {
            return Err(Fault::at(span, format!("type is missing; known types are {}", known())));
        };
        let Some(written) = name.get_ref().as_str() else {
            return Err(Fault::at(name.span(), format!("type must be a string, one of {}", known())));
        };
        let Some(reader) = self.readers.get(written) else {
            let meant = match nearest(written, self.readers.keys().copied()) {
                Some(name) => format!("did you mean \"{name}\"? known types are"),
                None => "known types are".to_owned(),
            };
            let message = format!("type {} is unknown; {meant} {}", fault::shown(written), known());
            return Err(Fault::at(name.span(), message));
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
    /// Dump programs.
    pub dump: Shelf<dyn Dump>,
    /// Verifiers of plaintext.
    pub verify: Shelf<dyn Verify>,
    /// The verifier of a job that names none.
    pub default_verify: &'static str,
    /// Encryption.
    pub encrypt: Shelf<dyn Encrypt>,
    /// Decryption, by the name in a manifest.
    pub decrypt: Shelf<dyn Decrypt>,
    /// Destinations.
    pub store: Shelf<dyn Store>,
    /// Restore programs.
    pub restore: Shelf<dyn Restore>,
    /// The restore program for what a manifest describes.
    pub default_restore: &'static str,
    /// Scratch servers for drills.
    pub scratch: Shelf<dyn Scratch>,
    /// The scratch server of a job that names none.
    pub default_scratch: &'static str,
    /// Examiners of restored databases.
    pub examine: Shelf<dyn Examine>,
    /// The default examiner.
    pub default_examine: &'static str,
}

#[cfg(test)]
mod tests {
    use longshore_core::plugin::Site;

    use super::*;

    /// A plugin that is never built.
    #[derive(Debug, Clone, serde::Deserialize)]
    struct Local {}

    impl Plugin<dyn Verify> for Local {
        const TYPE: &'static str = "local";

        fn build(self, _: &Site) -> Result<Box<dyn Verify>> {
            Err(Error::new(Stage::Config, Kind::Refused, "local", "is never built"))
        }
    }

    fn fault(settings: &str) -> String {
        let mut shelf = Shelf::<dyn Verify>::default();
        shelf.add::<Local>();
        let text = format!("it = {settings}");
        let mut table = DeTable::parse(&text).unwrap().into_inner();
        let it = table.remove("it").unwrap();
        match shelf.read(it) {
            Ok(_) => panic!("{settings} was accepted"),
            Err(fault) => fault.message().to_owned(),
        }
    }

    #[test]
    fn an_unknown_type_is_named_with_the_nearest_that_is_known() {
        for (settings, message) in [
            ("{ type = 'lcoal' }", "type \"lcoal\" is unknown; did you mean \"local\"? known types are \"local\""),
            ("{ type = 'tape' }", "type \"tape\" is unknown; known types are \"local\""),
            ("{ type = 'postgresql://u:x@h' }", "type \"…\" is unknown; known types are \"local\""),
            ("{ type = 7 }", "type must be a string, one of \"local\""),
            ("{ path = '/' }", "type is missing; known types are \"local\""),
            ("'local'", "expected a table with a type; known types are \"local\""),
        ] {
            assert_eq!(fault(settings), message);
        }
    }
}
