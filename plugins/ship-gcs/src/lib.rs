//! Ships to a bucket of Google Cloud Storage, as `type = "gcs"`.
//!
//! The common part of uploads is in [`longshore_objects`]; this crate contains only the specifics
//! of GCS. GCS supports create-only requests for bodies sent in one request; uploads in parts have
//! no conditions, so Longshore checks before and after them.
//!
//! | file | contents |
//! | --- | --- |
//! | `settings.rs` | the settings |
//! | `client.rs` | conversion to credentials, an address and a client |
//! | `signer.rs` | authorised requests about the bucket itself |

mod client;
mod settings;
mod signer;

pub use settings::Gcs;
