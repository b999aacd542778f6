//! Ships to a bucket of Amazon S3, or of a compatible store, as `type = "s3"`.
//!
//! The common part of uploads is in [`longshore_objects`]; this crate contains only the specifics
//! of S3.
//!
//! | file | contents |
//! | --- | --- |
//! | `settings.rs` | the settings |
//! | `client.rs` | conversion to an address, a region and a client |
//! | `credentials.rs` | the search for credentials and the region |
//! | `profile.rs` | the files that Amazon's own tools share |
//! | `request_hook.rs` | additional headers, and new signatures |
//! | `object_lock.rs` | Object Lock: headers of requests and responses |
//! | `signer.rs` | signatures of requests about the bucket itself, and about versions |

mod client;
mod credentials;
mod object_lock;
mod profile;
mod request_hook;
mod settings;
mod signer;

pub use settings::{Checksum, LockMode, ObjectLock, Retain, S3, Sse};
