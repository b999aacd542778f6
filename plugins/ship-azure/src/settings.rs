//! The settings as they are written.

use std::path::PathBuf;

use longshore_core::quantity::{Size, Span};
use longshore_objects::setting;
use serde::Deserialize;

/// `{ type = "azure", … }`: a container of Azure Blob Storage.
///
/// Credentials come from the files named here, else from the environment (`AZURE_STORAGE_ACCOUNT_KEY`, `AZURE_CLIENT_ID` and its like), else
/// from the managed identity of the host.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Azure {
    /// The storage account.
    pub account: String,
    /// The container. It must be there.
    pub container: String,
    /// A folder in it.
    pub prefix: Option<String>,
    /// A file with an access key of the account, and nothing else.
    pub access_key_file: Option<PathBuf>,
    /// A file with a shared access signature, which may be one that can only write.
    pub sas_token_file: Option<PathBuf>,
    /// The address of the account, where it is not `https://ACCOUNT.blob.core.windows.net`.
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
    /// The access tier of blobs, such as `Cool`.
    pub access_tier: Option<String>,
}
