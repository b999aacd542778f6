//! The common part of destinations in object stores: an upload is complete or absent, and never
//! overwrites an object.
//!
//! [`object_store`] implements the protocols of S3, GCS and Azure; this crate implements uploads,
//! overwrite protection, memory limits and cleanup. A plugin reads its settings, builds its client
//! over a [`Connector`], and passes both to a [`Bucket`].
//!
//! | file | contents |
//! | --- | --- |
//! | `bucket.rs` | the destination, built from the other files |
//! | `part_size.rs` | part sizes, and the limit on the number of parts |
//! | `transfer.rs` | the settings of uploads, and the number of parts in memory |
//! | `part_buffer.rs` | a buffer that collects chunks into parts without copying |
//! | `put.rs` | the upload of a small body in one request |
//! | `multipart.rs` | the multipart upload of a large body, aborted on failure |
//! | `pending_object.rs` | a visible object whose upload can still be cancelled |
//! | `create_only.rs` | overwrite protection: by the store, or by checks before and after |
//! | `head.rs` | a check for an existing object and its upload token |
//! | `list.rs`, `read.rs` | listings in key order; reads that resume after lost connections |
//! | `unfinished_upload.rs` | unfinished uploads, in stores that list them as S3 does |
//! | `connector.rs` | HTTP: timeouts proportional to the size of requests, and request hooks |
//! | `request_log.rs` | the log of requests |
//! | `raw_client.rs` | requests that `object_store` does not offer |
//! | `remove.rs`, `version.rs` | deletion of an object with all its versions; bucket versioning |
//! | `object_lock.rs`, `object_lock_probe.rs` | Object Lock: requested, read back, and tested |
//! | `error.rs` | conversion of errors |
//! | `listing_filter.rs` | a filter for names that cannot be parsed |
//! | `location.rs` | the destination's address, and the vocabulary of its store |
//! | `check.rs` | the checks of a destination |
//! | `settings.rs` | common settings and their conversion |

mod bucket;
mod check;
mod connector;
mod create_only;
mod error;
mod head;
mod list;
mod listing_filter;
mod location;
mod multipart;
mod object_lock;
mod object_lock_probe;
mod part_buffer;
mod part_size;
mod pending_object;
mod put;
mod raw_client;
mod read;
mod remove;
mod request_log;
pub mod settings;
mod transfer;
mod unfinished_upload;
mod version;

pub use bucket::{Backend, Bucket};
pub use connector::{Connector, NoHook, RequestHook, completes_upload};
pub use create_only::{CreateOnly, CreateOnlyModes};
pub use error::convert_error;
pub use location::{Location, Vocabulary};
pub use longshore_core::secret_file::read_secret;
pub use object_lock::{LockHeaders, LockRequest};
pub use part_size::PartSize;
pub use raw_client::{RawClient, RequestSigner};
pub use transfer::Transfer;
pub use unfinished_upload::{MultipartStore, Uploads};
pub use version::Versions;
