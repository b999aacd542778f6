//! What the settings come to: credentials, an address, a client.

use std::sync::Arc;

use longshore_core::plugin::Plugin;
use longshore_core::stage::Store;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_objects::{
    Backend, Bucket, Guard, Guards, LockHeaders, PartSize, Place, Transfer, Wire, Words, options, setting,
};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::{Attribute, Attributes, TagSet};
use secrecy::ExposeSecret;

use crate::dress::Dressed;
use crate::settings::Azure;

/// What Azure calls things.
const WORDS: Words = Words {
    bucket: "container",
    credentials: "see which credentials are used (access_key_file, sas_token_file, AZURE_* variables), and which roles they have at the container",
    address: "see account and endpoint, and whether the store answers there",
};

/// What Azure answers about a blob that an immutability policy keeps, or a legal hold.
const LOCK: LockHeaders =
    LockHeaders { until: "x-ms-immutability-policy-until-date", hold: ("x-ms-legal-hold", "true") };

impl Plugin<dyn Store> for Azure {
    const TYPE: &'static str = "azure";

    fn build(self, (): &()) -> Result<Box<dyn Store>> {
        let place = Place::new(&format!("az://{}/", self.account), &self.container, self.prefix.as_deref(), WORDS)?;
        setting::expect_sound(
            self.part_size,
            self.parts_at_once,
            self.min_rate,
            self.timeout,
            self.endpoint.as_deref(),
            self.allow_http,
        )?;
        let dress = Arc::new(Dressed::new(&self.account));
        let wire = Wire { min_rate: self.min_rate.bytes(), silence: self.timeout.duration(), dress: dress.clone() };
        let mut options = options(self.timeout.duration()).with_allow_http(self.allow_http);
        if let Some(path) = &self.ca_file {
            options = setting::trust(options, path)?;
        }
        let builder = self
            .signed()?
            .with_account(&self.account)
            .with_container_name(&self.container)
            .with_client_options(options)
            .with_http_connector(wire)
            .with_retry(setting::retries(self.retries));
        let builder = match &self.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint.clone()),
            None => builder,
        };
        let unfit = |error: object_store::Error| {
            Error::new(Stage::Config, Kind::Usage, place.name(), "these settings make no client")
                .hint(WORDS.credentials)
                .because(error)
        };
        let store = Arc::new(builder.build().map_err(unfit)?);
        dress.sign_with(store.credentials());
        let tier = self.access_tier.iter().map(|tier| (Attribute::StorageClass, tier.clone()));
        Ok(Box::new(Bucket::new(Backend {
            transfer: Transfer {
                part: PartSize::Growing(self.part_size.bytes()),
                parallel: self.parts_at_once,
                retries: self.retries,
            },
            guards: Arc::new(Guards::known(Guard::Store, Guard::Store)),
            attributes: tier.collect::<Attributes>(),
            tags: TagSet::default(),
            lock: None,
            lock_headers: LOCK,
            versions: None,
            uploads: None,
            store,
            place,
        })))
    }
}

impl Azure {
    /// A client's builder that has its credentials, or asks the host for them.
    fn signed(&self) -> Result<MicrosoftAzureBuilder> {
        match (&self.access_key_file, &self.sas_token_file) {
            (Some(file), None) => {
                Ok(MicrosoftAzureBuilder::new().with_access_key(setting::secret(file)?.expose_secret()))
            }
            (None, Some(file)) => {
                let token = setting::secret(file)?;
                let token = token.expose_secret().trim_start_matches('?').to_owned();
                Ok(MicrosoftAzureBuilder::new().with_config(AzureConfigKey::SasKey, token))
            }
            (None, None) => Ok(MicrosoftAzureBuilder::from_env()),
            (Some(_), Some(_)) => {
                let message = "access_key_file and sas_token_file are two ways to sign";
                Err(Error::new(Stage::Config, Kind::Usage, "sas_token_file", message).hint("set one of them"))
            }
        }
    }
}
