//! Ships to a container of Azure Blob Storage, as `type = "azure"`.
//!
//! The common part of uploads is in [`longshore_objects`]; this crate contains only the specifics
//! of Azure. Blocks of unfinished uploads are deleted by Azure after a week and cannot be listed,
//! so there is nothing to sweep.
//!
//! | file | contents |
//! | --- | --- |
//! | `settings.rs` | the settings |
//! | `client.rs` | conversion to credentials, an address and a client |
//! | `request_hook.rs` | additional headers, and new signatures |

mod client;
mod request_hook;
mod settings;

pub use settings::Azure;
