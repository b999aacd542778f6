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
//! | `dress.rs` | additional headers, and new signatures |
//! | `lock.rs` | Object Lock: headers of requests and responses |
//! | `bucket.rs` | requests about the bucket itself, and about versions |

mod bucket;
mod client;
mod credentials;
mod dress;
mod lock;
mod profile;
mod settings;

pub use settings::{Checksum, LockMode, ObjectLock, Retain, S3, Sse};
