//! Ships to a bucket of Amazon S3, or of a store that speaks its language, as `type = "s3"`.
//!
//! What a body passes on its way is [`longshore_objects`]'s; here is what S3 alone has.
//!
//! | file | holds |
//! | --- | --- |
//! | `settings.rs` | the settings as they are written |
//! | `client.rs` | what they come to: an address, a region, a client |
//! | `credentials.rs` | whose credentials are used, and where they come from |
//! | `profile.rs` | the files that Amazon's own tools share |
//! | `dress.rs` | what is added to requests, and signed again |
//! | `lock.rs` | Object Lock: what a request says that asks for it, and the answers that tell of it |
//! | `bucket.rs` | requests about the bucket itself, and about versions |

mod bucket;
mod client;
mod credentials;
mod dress;
mod lock;
mod profile;
mod settings;

pub use settings::{Checksum, LockMode, ObjectLock, Retain, S3, Sse};
