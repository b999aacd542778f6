//! Conversion of the settings to credentials, an address and a client.

use std::sync::Arc;

use longshore_core::plugin::{Plugin, StoreContext};
use longshore_core::stage::Store;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_objects::{Backend, Bucket, CreateOnly, CreateOnlyModes, Location, LockHeaders, Vocabulary, read_secret};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use secrecy::ExposeSecret;

use crate::request_hook::AzureHook;
use crate::settings::Azure;

/// The vocabulary of Azure.
const VOCABULARY: Vocabulary = Vocabulary {
    bucket: "container",
    credentials: "check the credentials (access_key_file, sas_token_file, AZURE_* variables) and their roles for the container",
    address: "check account and endpoint, and that the store is reachable",
};

/// The headers of a blob that an immutability policy or a legal hold protects.
const LOCK_HEADERS: LockHeaders =
    LockHeaders { until: "x-ms-immutability-policy-until-date", hold: Some(("x-ms-legal-hold", "true")) };

impl Plugin<dyn Store> for Azure {
    const TYPE: &'static str = "azure";

    fn build(self, _: &StoreContext) -> Result<Box<dyn Store>> {
        let location =
            Location::new(&format!("az://{}/", self.account), &self.container, self.prefix.as_deref(), VOCABULARY)?;
        let connection = self.connection()?;
        let hook = Arc::new(AzureHook::new(&self.account));
        let builder = self
            .builder()?
            .with_account(&self.account)
            .with_container_name(&self.container)
            .with_client_options(connection.options()?)
            .with_http_connector(connection.connector(hook.clone()))
            .with_retry(connection.retry());
        let builder = match &self.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint.clone()),
            None => builder,
        };
        let store = Arc::new(builder.build().map_err(|error| location.invalid_settings(error))?);
        hook.set_credentials(store.credentials());
        let backend = Backend::new(store, location, connection.transfer(), LOCK_HEADERS)
            .with_storage_class(self.access_tier.as_ref());
        let create_only = Arc::new(CreateOnlyModes::known(CreateOnly::ByStore, CreateOnly::ByStore));
        Ok(Box::new(Bucket::new(Backend { create_only, ..backend })))
    }
}

impl Azure {
    /// Returns a client builder with credentials from the settings, the environment or the host.
    fn builder(&self) -> Result<MicrosoftAzureBuilder> {
        match (&self.access_key_file, &self.sas_token_file) {
            (Some(file), None) => Ok(MicrosoftAzureBuilder::new().with_access_key(read_secret(file)?.expose_secret())),
            (None, Some(file)) => {
                let token = read_secret(file)?;
                let token = token.expose_secret().trim_start_matches('?').to_owned();
                Ok(MicrosoftAzureBuilder::new().with_config(AzureConfigKey::SasKey, token))
            }
            (None, None) => Ok(MicrosoftAzureBuilder::from_env()),
            (Some(_), Some(_)) => {
                let message = "access_key_file and sas_token_file exclude each other";
                Err(Error::new(Stage::Config, Kind::Usage, "sas_token_file", message).hint("set one of them"))
            }
        }
    }
}
