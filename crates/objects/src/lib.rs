//! The common part of destinations in object stores: an upload is complete or absent, and never
//! overwrites an object.
//!
//! [`object_store`] implements the protocols of S3, GCS and Azure; this crate implements uploads,
//! overwrite protection, memory limits and cleanup. A plugin reads its settings, builds its client
//! over a [`Wire`], and passes both to a [`Bucket`].
//!
//! | file | contents |
//! | --- | --- |
//! | `bucket.rs` | the destination, built from the other files |
//! | `part.rs` | part sizes, and the limit on the number of parts |
//! | `transfer.rs` | the number of parts in memory |
//! | `gather.rs` | a buffer that collects chunks into parts without copying |
//! | `put.rs` | the upload of a small body in one request |
//! | `upload.rs` | the multipart upload of a large body, aborted on failure |
//! | `published.rs` | a visible object whose upload can still be cancelled |
//! | `guard.rs` | overwrite protection: by the store, or by checks before and after |
//! | `look.rs` | a check for an existing object and its writer |
//! | `list.rs`, `read.rs` | listings in key order; reads that resume after lost connections |
//! | `leftover.rs` | unfinished uploads, in stores that list them as S3 does |
//! | `wire.rs` | HTTP: timeouts proportional to the size of requests, and additional headers |
//! | `ask.rs` | requests that `object_store` does not offer |
//! | `remove.rs`, `version.rs` | deletion of an object with all its versions; bucket versioning |
//! | `lock.rs`, `lock_trial.rs` | Object Lock: requested, read back, and tested |
//! | `failure.rs` | conversion of errors |
//! | `foreign.rs` | a filter for names that cannot be parsed |
//! | `place.rs` | the destination's address, and the names of its settings |
//! | `check.rs` | the checks of a destination |
//! | `settings.rs`, `secret.rs` | common settings and their conversion; files with secrets |

mod ask;
mod bucket;
mod check;
mod failure;
mod foreign;
mod gather;
mod guard;
mod leftover;
mod list;
mod lock;
mod lock_trial;
mod look;
mod part;
mod place;
mod published;
mod put;
mod read;
mod remove;
mod secret;
pub mod settings;
mod transfer;
mod upload;
mod version;
mod wire;

pub use ask::{Asking, Asks};
pub use bucket::{Backend, Bucket};
pub use failure::failure;
pub use guard::{Guard, Guards};
pub use leftover::{Aborts, Uploads};
pub use lock::{Lock, LockHeaders};
pub use part::PartSize;
pub use place::{Place, Words};
pub use secret::secret;
pub use transfer::Transfer;
pub use version::Versions;
pub use wire::{Dress, Plain, Wire, completes};
