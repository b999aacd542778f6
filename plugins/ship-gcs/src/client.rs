//! Conversion of the settings to credentials, an address and a client.

use std::sync::Arc;

use longshore_core::Result;
use longshore_core::plugin::Plugin;
use longshore_core::stage::Store;
use longshore_objects::{Asking, Backend, Bucket, Guard, Guards, LockHeaders, Place, Plain, Uploads, Words};
use object_store::client::HttpConnector;
use object_store::gcp::GoogleCloudStorageBuilder;

use crate::bucket::Requests;
use crate::settings::Gcs;

/// The vocabulary of GCS.
const WORDS: Words = Words {
    bucket: "bucket",
    credentials: "check the credentials (service_account_file, GOOGLE_APPLICATION_CREDENTIALS) and their roles for the bucket",
    address: "check that storage.googleapis.com, or the endpoint, is reachable from this host",
};

/// The header of an object with its own retention. Holds and a bucket's retention are not in the
/// headers.
const LOCK: LockHeaders = LockHeaders { until: "x-goog-object-lock-retain-until-date", hold: None };

/// The address of GCS.
const GOOGLE: &str = "https://storage.googleapis.com";

impl Plugin<dyn Store> for Gcs {
    const TYPE: &'static str = "gcs";

    fn build(self, (): &()) -> Result<Box<dyn Store>> {
        let place = Place::new("gs://", &self.bucket, self.prefix.as_deref(), WORDS)?;
        let reach = self.reach()?;
        let (wire, options) = (reach.wire(Arc::new(Plain)), reach.options()?);
        let unfit = |error| place.unfit(error);
        let client = wire.connect(&options).map_err(unfit)?;
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
            .with_http_connector(wire)
            .with_retry(reach.retry());
        let store = Arc::new(builder.build().map_err(unfit)?);
        let base = self.endpoint.as_deref().unwrap_or(GOOGLE).trim_end_matches('/').to_owned();
        let requests = Requests { store: store.clone(), bucket: format!("{base}/{}", self.bucket) };
        let backend = Backend::new(store.clone(), place, reach.transfer(), LOCK).in_class(self.storage_class.as_ref());
        Ok(Box::new(Bucket::new(Backend {
            guards: Arc::new(Guards::known(Guard::Store, Guard::Look)),
            uploads: Some(Uploads { asking: Asking { client, asks: Arc::new(requests) }, aborts: store }),
            ..backend
        })))
    }
}
