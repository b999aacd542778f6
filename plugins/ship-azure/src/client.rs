//! Conversion of the settings to credentials, an address and a client.

use std::sync::Arc;

use longshore_core::plugin::Plugin;
use longshore_core::stage::Store;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_objects::{Backend, Bucket, Guard, Guards, LockHeaders, Place, Words, secret};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use secrecy::ExposeSecret;

use crate::dress::Dressed;
use crate::settings::Azure;

/// The vocabulary of Azure.
const WORDS: Words = Words {
    bucket: "container",
    credentials: "check the credentials (access_key_file, sas_token_file, AZURE_* variables) and their roles for the container",
    address: "check account and endpoint, and that the store is reachable",
};

/// The headers of a blob that an immutability policy or a legal hold protects.
const LOCK: LockHeaders =
    LockHeaders { until: "x-ms-immutability-policy-until-date", hold: Some(("x-ms-legal-hold", "true")) };

impl Plugin<dyn Store> for Azure {
    const TYPE: &'static str = "azure";

    fn build(self, (): &()) -> Result<Box<dyn Store>> {
        let place = Place::new(&format!("az://{}/", self.account), &self.container, self.prefix.as_deref(), WORDS)?;
        let reach = self.reach()?;
        let dress = Arc::new(Dressed::new(&self.account));
        let builder = self
            .signed()?
            .with_account(&self.account)
            .with_container_name(&self.container)
            .with_client_options(reach.options()?)
            .with_http_connector(reach.wire(dress.clone()))
            .with_retry(reach.retry());
        let builder = match &self.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint.clone()),
            None => builder,
        };
        let store = Arc::new(builder.build().map_err(|error| place.unfit(error))?);
        dress.sign_with(store.credentials());
        let backend = Backend::new(store, place, reach.transfer(), LOCK).in_class(self.access_tier.as_ref());
        let guards = Arc::new(Guards::known(Guard::Store, Guard::Store));
        Ok(Box::new(Bucket::new(Backend { guards, ..backend })))
    }
}

impl Azure {
    /// Returns a client builder with credentials from the settings, the environment or the host.
    fn signed(&self) -> Result<MicrosoftAzureBuilder> {
        match (&self.access_key_file, &self.sas_token_file) {
            (Some(file), None) => Ok(MicrosoftAzureBuilder::new().with_access_key(secret(file)?.expose_secret())),
            (None, Some(file)) => {
                let token = secret(file)?;
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
