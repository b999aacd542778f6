//! The settings.

use std::path::PathBuf;

use longshore_objects::settings;

settings! {
    /// `{ type = "gcs", … }`: a bucket of Google Cloud Storage.
    ///
    /// Credentials come from `service_account_file`, from the environment
    /// (`GOOGLE_APPLICATION_CREDENTIALS` and similar), from `gcloud auth application-default
    /// login`, or from the instance, in this order.
    pub struct Gcs {
        /// The bucket, which must exist.
        pub bucket: String,
        /// The key of a service account, as a JSON file.
        pub service_account_file: Option<PathBuf>,
        /// The storage class of objects, such as `NEARLINE`.
        pub storage_class: Option<String>,
    }
}
