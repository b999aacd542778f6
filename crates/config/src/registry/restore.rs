//! The restore plugins, by the formats that they restore.

use longshore_core::manifest::Format;
use longshore_core::plugin::{Plugin, RestorePlugin, Target};
use longshore_core::stage::Restore;
use longshore_core::{Error, Kind, Result, Stage};

use super::{Plugins, Reader};

/// All restore plugins.
#[derive(Default)]
pub struct RestorePlugins {
    plugins: Plugins<dyn Restore>,
    /// Each restorable format, and the name of its plugin.
    formats: Vec<(Format, String)>,
    /// The plugin of all other programs' formats.
    others: Option<String>,
}

impl RestorePlugins {
    /// Registers a plugin of this program.
    pub fn add<P: RestorePlugin>(&mut self) {
        self.plugins.add::<P>();
        self.formats.extend(P::FORMATS.iter().cloned().map(|format| (format, P::TYPE.to_owned())));
    }

    /// Registers the plugin of this program that restores the formats of other programs, unless
    /// another plugin restores one of them.
    pub fn add_for_others<P: Plugin<dyn Restore>>(&mut self) {
        self.plugins.add::<P>();
        self.others = Some(P::TYPE.to_owned());
    }

    /// Registers a plugin that is known only at run time and restores these formats.
    ///
    /// # Errors
    ///
    /// Fails with [`AlreadyExists`](Kind::AlreadyExists) if another plugin has this name or
    /// restores one of the formats.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        formats: impl IntoIterator<Item = Format>,
        reader: Reader<dyn Restore>,
    ) -> Result<()> {
        let name = name.into();
        let formats: Vec<Format> = formats.into_iter().collect();
        if let Some((format, other)) = self.formats.iter().find(|(known, _)| formats.contains(known)) {
            let message = format!("format \"{format}\" is already restored by plugin \"{other}\"");
            return Err(Error::new(Stage::Config, Kind::AlreadyExists, name, message)
                .hint("register the plugin for other formats only"));
        }
        self.plugins.insert(name.clone(), reader)?;
        self.formats.extend(formats.into_iter().map(|format| (format, name.clone())));
        Ok(())
    }

    /// Returns the name of the plugin that restores a format.
    ///
    /// # Errors
    ///
    /// Fails with [`Refused`](Kind::Refused) if no plugin restores the format.
    pub fn name_for(&self, format: &Format) -> Result<&str> {
        let found = self.formats.iter().find(|(known, _)| known == format);
        let other = self.others.as_deref().filter(|_| matches!(format, Format::Other(_)));
        found.map(|(_, name)| name.as_str()).or(other).ok_or_else(|| {
            let message = format!("this program has no plugin that restores the format \"{format}\"");
            Error::new(Stage::Config, Kind::Refused, "restore", message).hint(
                "upgrade Longshore, or install the plugin for this format; \
                 `longshore restore NAME --output FILE` writes the backup to a file",
            )
        })
    }

    /// Builds the plugin `name` for this target.
    pub fn build(&self, name: &str, target: &Target) -> Result<Box<dyn Restore>> {
        self.plugins.build(name, target)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use longshore_core::format::FormatName;
    use longshore_core::plugin::DataDirectory;
    use serde::Deserialize;

    use super::*;

    /// A plugin of this program that restores scripts. It is never built.
    #[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
    struct Scripts {}

    impl Plugin<dyn Restore> for Scripts {
        const TYPE: &'static str = "scripts";

        fn build(self, _: &Target) -> Result<Box<dyn Restore>> {
            Err(never_built("scripts"))
        }
    }

    impl RestorePlugin for Scripts {
        const FORMATS: &'static [Format] = &[Format::Plain];
    }

    fn never_built(name: &str) -> Error {
        Error::new(Stage::Config, Kind::Failed, name, "is never built")
    }

    fn external() -> Reader<dyn Restore> {
        Reader::<dyn Restore>::new(|_: BTreeMap<String, String>, _: &Target| Err(never_built("external")))
    }

    /// Returns the format of another program.
    fn acme() -> Format {
        Format::Other(FormatName::new("acme").unwrap())
    }

    fn plugins() -> RestorePlugins {
        let mut plugins = RestorePlugins::default();
        plugins.add::<Scripts>();
        plugins.insert("external".to_owned(), [Format::Custom, acme()], external()).unwrap();
        plugins
    }

    #[test]
    fn format_selects_the_plugin() {
        let plugins = plugins();
        let target = Target::DataDirectory(DataDirectory { path: "/restored".into(), ..DataDirectory::default() });
        for (format, name) in [(Format::Plain, "scripts"), (Format::Custom, "external"), (acme(), "external")] {
            assert_eq!(plugins.name_for(&format).unwrap(), name, "{format:?}");
            let error = plugins.build(name, &target).err().unwrap();
            assert_eq!(error.to_string(), format!("config \"{name}\": is never built"));
        }
    }

    #[test]
    fn format_without_plugin_is_refused_with_hint() {
        let other = Format::Other(FormatName::new("other").unwrap());
        for (format, word) in [(Format::Base, "base"), (other, "x-other")] {
            let error = plugins().name_for(&format).unwrap_err();
            assert_eq!(error.kind(), Kind::Refused);
            let message = format!("this program has no plugin that restores the format \"{word}\"");
            assert_eq!(error.to_string(), format!("config \"restore\": {message}"));
            let hint = error.remedy().unwrap();
            assert!(hint.contains("upgrade Longshore") && hint.contains("plugin"), "{hint}");
        }
    }

    #[test]
    fn format_has_only_one_plugin() {
        let mut plugins = plugins();
        let error = plugins.insert("another", [Format::Directory, Format::Plain], external()).unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists);
        assert_eq!(error.to_string(), "config \"another\": format \"plain\" is already restored by plugin \"scripts\"");
        assert!(plugins.name_for(&Format::Directory).is_err(), "registered nothing");
        let error = plugins.insert("scripts", [Format::Directory], external()).unwrap_err();
        assert_eq!((error.kind(), error.subject()), (Kind::AlreadyExists, "scripts"));
        assert!(plugins.name_for(&Format::Directory).is_err(), "registered nothing");
    }
}
