//! The settings.

use std::path::PathBuf;

use longshore_objects::settings;

settings! {
    /// `{ type = "azure", … }`: a container of Azure Blob Storage.
    ///
    /// Credentials come from the files named here, from the environment
    /// (`AZURE_STORAGE_ACCOUNT_KEY`, `AZURE_CLIENT_ID` and similar), or from the managed identity
    /// of the host, in this order.
    pub struct Azure {
        /// The storage account.
        pub account: String,
        /// The container, which must exist.
        pub container: String,
        /// A file with an access key of the account only.
        pub access_key_file: Option<PathBuf>,
        /// A file with a shared access signature, which may be write-only.
        pub sas_token_file: Option<PathBuf>,
        /// The access tier of blobs, such as `Cool`.
        pub access_tier: Option<String>,
    }
}
