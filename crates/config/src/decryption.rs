//! `[decrypt.NAME]`: the programs that decrypt the files of other encryptions than age.

use std::path::Path;

use longshore_core::encryption_name::EncryptionName;
use longshore_core::stage::Decrypt;
use toml::Spanned;
use toml::de::DeValue;

use crate::error::ConfigError;
use crate::registry::{Builder, Registry};

/// Reads the table of an encryption.
pub(crate) fn program(
    name: &str,
    value: Spanned<DeValue<'_>>,
    registry: &Registry,
    plugin_dir: Option<&Path>,
) -> Result<Builder<dyn Decrypt>, ConfigError> {
    if let Err(error) = EncryptionName::new(name) {
        let remedy = error.remedy().unwrap_or_default();
        return Err(ConfigError::at(value.span(), format!("{error}: {remedy}")));
    }
    registry.decrypt_program.read(value, plugin_dir)
}
