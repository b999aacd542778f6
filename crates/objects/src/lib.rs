//! What destinations in object stores share: a body arrives whole or not at all, and never over anything.
//!
//! [`object_store`] speaks the languages of S3, GCS and Azure; how bodies are sent, guarded, counted and taken back is here, once. A plugin
//! reads its settings, builds its client over a [`Wire`], and hands both to a [`Bucket`].
//!
//! | file | holds |
//! | --- | --- |
//! | `bucket.rs` | the destination: its joints, put together from what follows |
//! | `part.rs` | how large the parts of an upload are, and when there are too many |
//! | `transfer.rs` | how many parts are held at once, so that memory is bounded |
//! | `gather.rs` | a body's chunks, gathered into parts without a copy |
//! | `put.rs` | a small body on its way, in one request |
//! | `upload.rs` | a large body on its way, in parts; taken back when it fails |
//! | `published.rs` | what is visible while its shipper may still go away |
//! | `guard.rs` | who keeps a name from being taken twice: the store, or we |
//! | `look.rs` | whether something is there, and whether it is ours |
//! | `list.rs`, `read.rs` | what is there, in the order of keys; its bytes, through connections that are cut |
//! | `leftover.rs` | uploads that nobody ended, in stores that list them as S3 does |
//! | `wire.rs` | HTTP: requests whose time is measured by their size, and that are signed again when something is added |
//! | `ask.rs` | requests that `object_store` has no words for |
//! | `remove.rs`, `version.rs` | an object taken away, with every version of it; what keeps it |
//! | `lock.rs`, `lock_trial.rs` | locks: asked for with each object, told of it, and tried out |
//! | `failure.rs` | what an answer means, and the way out |
//! | `foreign.rs` | names in a listing that are not read |
//! | `place.rs` | where the destination is, and what its settings are called |
//! | `check.rs` | what would fail at 3 a.m. |
//! | `settings.rs`, `secret.rs` | settings that all of them have, and what they come to; secrets in files |

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
