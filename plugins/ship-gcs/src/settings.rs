//! The settings as they are written.

use std::path::PathBuf;

use longshore_objects::settings;

settings! {
    /// `{ type = "gcs", … }`: a bucket of Google Cloud Storage.
    ///
    /// Credentials come from `service_account_file`, else from the environment (`GOOGLE_APPLICATION_CREDENTIALS` and its like), else from what
    /// `gcloud auth application-default login` left, else from the instance.
    pub struct Gcs {
        /// The bucket. It must be there.
        pub bucket: String,
        /// The key of a service account, as a JSON file.
        pub service_account_file: Option<PathBuf>,
        /// The storage class of objects, such as `NEARLINE`.
        pub storage_class: Option<String>,
    }
}
