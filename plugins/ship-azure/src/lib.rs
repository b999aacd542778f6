//! Ships to a container of Azure Blob Storage, as `type = "azure"`.
//!
//! What a body passes on its way is [`longshore_objects`]'s; here is what Azure alone has. Blocks of uploads that nobody ended are gone after a
//! week, and nobody lists them, so there is nothing to sweep.
//!
//! | file | holds |
//! | --- | --- |
//! | `settings.rs` | the settings as they are written |
//! | `client.rs` | what they come to: credentials, an address, a client |
//! | `dress.rs` | what is added to requests, and signed again |

mod client;
mod dress;
mod settings;

pub use settings::Azure;
