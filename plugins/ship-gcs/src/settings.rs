//! The settings as they are written.

use std::path::PathBuf;

use longshore_core::quantity::{Size, Span};
use longshore_objects::setting;
use serde::Deserialize;

/// `{ type = "gcs", … }`: a bucket of Google Cloud Storage.
///
/// Credentials come from `service_account_file`, else from the environment (`GOOGLE_APPLICATION_CREDENTIALS` and its like), else from what
/// `gcloud auth application-default login` left, else from the instance.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gcs {
    /// The bucket. It must be there.
    pub bucket: String,
    /// A folder in it.
    pub prefix: Option<String>,
    /// The key of a service account, as a JSON file.
    pub service_account_file: Option<PathBuf>,
    /// The address of another store that speaks Google's XML language.
    pub endpoint: Option<String>,
    /// Whether an `http://` endpoint is good enough.
    #[serde(default)]
    pub allow_http: bool,
    /// Certificates to trust beside the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The size of the first parts of large bodies.
    #[serde(default = "setting::default_part_size")]
    pub part_size: Size,
    /// How many parts are sent at once, while they are small.
    #[serde(default = "setting::default_parts_at_once")]
    pub parts_at_once: usize,
    /// The slowest that an upload may be, in bytes a second: what takes longer has stalled, and is sent again.
    #[serde(default = "setting::default_min_rate")]
    pub min_rate: Size,
    /// How long nothing may come where an answer is awaited.
    #[serde(default = "setting::default_timeout")]
    pub timeout: Span,
    /// How often a request is sent again.
    #[serde(default = "setting::default_retries")]
    pub retries: usize,
    /// The storage class of objects, such as `NEARLINE`.
    pub storage_class: Option<String>,
}
