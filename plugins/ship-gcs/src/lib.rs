//! Ships to a bucket of Google Cloud Storage, as `type = "gcs"`.
//!
//! What a body passes on its way is [`longshore_objects`]'s; here is what GCS alone has. Its create-only requests hold for bodies of one request;
//! uploads in parts know no conditions, so there Longshore looks before and after.
//!
//! | file | holds |
//! | --- | --- |
//! | `settings.rs` | the settings as they are written |
//! | `client.rs` | what they come to: credentials, an address, a client |
//! | `bucket.rs` | requests about the bucket itself |

mod bucket;
mod client;
mod settings;

pub use settings::Gcs;
