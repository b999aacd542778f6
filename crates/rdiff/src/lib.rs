//! Differences between two files in the delta format of librsync, so that the program `rdiff`
//! applies them. The crate knows nothing of dumps.
//!
//! | module | contents |
//! | --- | --- |
//! | [`command`] | the commands of a delta: copies and literal data |
//! | [`block`] | the digests of a block: a strong one, and one that rolls |
//! | [`signature`] | the digests of all blocks of a file, written and read |
//! | [`encode`] | a new file, encoded against the signature of an old one |
//! | [`patch`](mod@patch) | an old file and a delta, merged into the new file |
//!
//! Both directions read their inputs forward once, in bounded memory. The price is that a delta
//! copies only forward: the parts of the old file appear in the new one in the same order. This
//! holds for two dumps of one database. The encoder never needs the old file, only its signature.
//! `rdiff signature` writes another format, whose short sums can be forged by the author of the
//! data; here the digests are keyed.

pub mod block;
pub mod command;
pub mod encode;
mod index;
pub mod patch;
pub mod signature;

pub use block::{BlockHasher, Key};
pub use encode::Encoder;
pub use patch::patch;
pub use signature::{Signature, SignatureWriter, Summary};
