//! Conversion of the settings to credentials, an address and a client.

use std::sync::Arc;

use longshore_core::Result;
use longshore_core::plugin::{Plugin, StoreContext};
use longshore_core::stage::Store;
use longshore_objects::{
    Backend, Bucket, CreateOnly, CreateOnlyModes, Location, LockHeaders, NoHook, RawClient, Uploads, Vocabulary,
};
use object_store::client::HttpConnector;
use object_store::gcp::GoogleCloudStorageBuilder;

use crate::settings::Gcs;
use crate::signer::GcsSigner;

/// The vocabulary of GCS.
const VOCABULARY: Vocabulary = Vocabulary {
    bucket: "bucket",
    credentials: "check the credentials (service_account_file, GOOGLE_APPLICATION_CREDENTIALS) and their roles for the bucket",
    address: "check that storage.googleapis.com, or the endpoint, is reachable from this host",
};

/// The header of an object with its own retention. Holds and a bucket's retention are not in the
/// headers.
const LOCK_HEADERS: LockHeaders = LockHeaders { until: "x-goog-object-lock-retain-until-date", hold: None };

/// The address of GCS.
const GOOGLE: &str = "https://storage.googleapis.com";

impl Plugin<dyn Store> for Gcs {
    const TYPE: &'static str = "gcs";

    fn build(self, _: &StoreContext) -> Result<Box<dyn Store>> {
        let location = Location::new("gs://", &self.bucket, self.prefix.as_deref(), VOCABULARY)?;
        let connection = self.connection()?;
        let (connector, options) = (connection.connector(Arc::new(NoHook)), connection.options()?);
        let invalid = |error| location.invalid_settings(error);
        let client = connector.connect(&options).map_err(invalid)?;
        let mut builder = match longshore_core::credential::optional(self.service_account_file.as_ref())? {
            Some(file) => {
                GoogleCloudStorageBuilder::new().with_service_account_path(file.to_string_lossy().into_owned())
            }
            None => GoogleCloudStorageBuilder::from_env(),
        };
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_base_url(endpoint);
        }
        let builder = builder
            .with_bucket_name(&self.bucket)
            .with_client_options(options)
            .with_http_connector(connector)
            .with_retry(connection.retry());
        let store = Arc::new(builder.build().map_err(invalid)?);
        let base = self.endpoint.as_deref().unwrap_or(GOOGLE).trim_end_matches('/').to_owned();
        let signer = GcsSigner { store: store.clone(), bucket_url: format!("{base}/{}", self.bucket) };
        let backend = Backend::new(store.clone(), location, connection.transfer(), LOCK_HEADERS)
            .with_storage_class(self.storage_class.as_ref());
        Ok(Box::new(Bucket::new(Backend {
            create_only: Arc::new(CreateOnlyModes::known(CreateOnly::ByStore, CreateOnly::ByChecks)),
            uploads: Some(Uploads { client: RawClient { client, signer: Arc::new(signer) }, multipart: store }),
            ..backend
        })))
    }
}
