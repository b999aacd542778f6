//! Encrypts and decrypts ordinary age files, compatible with `age` in both directions.
//!
//! | module | contents |
//! | --- | --- |
//! | `encrypt` | [`Age`], the settings for encryption: recipients, or a passphrase |
//! | `recipient` | recipients: syntax, errors, fingerprints |
//! | `decrypt` | [`AgeDecrypt`], decryption; the caller supplies the identities |
//! | `header` | headers apart from their payload |
//! | `payload` | the payload, on several threads, with the key from the age crate |
//! | `identity` | identity files: age's, plugins', SSH keys, optionally with a passphrase |
//! | `passphrase`, `ask` | encryption with a passphrase, and prompts for passphrases |
//! | `secret_file` | files whose content must not leak |
//! | `generate` | [`generate`], a new identity |
//!
//! A host that backs up has only recipients and cannot decrypt its backups. Recipients and
//! identities are read and checked when the stage is built, so that a typo is a configuration error
//! and not a failed run.
//!
//! The tests run `age` and `age-keygen` (Debian: `age`), `ssh-keygen` (`openssh-client`) and
//! `script` (`bsdutils`), and fail without them.

mod ask;
mod decrypt;
mod encrypt;
mod generate;
mod header;
mod identity;
mod passphrase;
mod payload;
mod recipient;
mod secret_file;

pub use decrypt::AgeDecrypt;
pub use encrypt::Age;
pub use generate::{NewIdentity, generate};
