//! Seals and opens ordinary age files: whatever this crate seals, `age -d` opens, and the other way round.
//!
//! | module | holds |
//! | --- | --- |
//! | `encrypt` | [`Age`], the settings that seal: recipients, or a passphrase |
//! | `recipient` | what a recipient looks like, what is wrong with one, its fingerprint |
//! | `decrypt` | [`Opener`], the settings that open: none of its own, the identities come from outside |
//! | `payload` | the payload by several threads, under the key that the age crate made or found |
//! | `identity` | identity files: age's own, plugins', SSH private keys, each also under a passphrase |
//! | `passphrase`, `ask` | sealing with a passphrase, and asking for one |
//! | `secret_file` | files whose content must not leak |
//! | `generate` | [`generate`], a new identity for those who have none |
//!
//! A host that backs up holds recipients only and cannot read what it has sealed. Recipients and identities are read and proven when the
//! stage is built, so that a typo is an error of the configuration and not of a night.
//!
//! The tests run `age` and `age-keygen` (Debian: `age`), `ssh-keygen` (`openssh-client`) and `script` (`bsdutils`), and fail without them.

mod ask;
mod decrypt;
mod encrypt;
mod generate;
mod identity;
mod passphrase;
mod payload;
mod recipient;
mod secret_file;

pub use decrypt::Opener;
pub use encrypt::Age;
pub use generate::{NewIdentity, generate};
