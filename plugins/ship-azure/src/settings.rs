//! The settings as they are written.

use std::path::PathBuf;

use longshore_objects::settings;

settings! {
    /// `{ type = "azure", … }`: a container of Azure Blob Storage.
    ///
    /// Credentials come from the files named here, else from the environment (`AZURE_STORAGE_ACCOUNT_KEY`, `AZURE_CLIENT_ID` and its like), else
    /// from the managed identity of the host.
    pub struct Azure {
        /// The storage account.
        pub account: String,
        /// The container. It must be there.
        pub container: String,
        /// A file with an access key of the account, and nothing else.
        pub access_key_file: Option<PathBuf>,
        /// A file with a shared access signature, which may be one that can only write.
        pub sas_token_file: Option<PathBuf>,
        /// The access tier of blobs, such as `Cool`.
        pub access_tier: Option<String>,
    }
}
