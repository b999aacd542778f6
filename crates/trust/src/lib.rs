//! OpenSSH signatures of records: `ssh-keygen -Y verify` verifies them, and `ssh-keygen -Y sign`
//! makes equal ones.
//!
//! | module | contents |
//! | --- | --- |
//! | [`signing_key`] | the private key of a host, or a key that `ssh-keygen` signs with |
//! | [`allowed_signers`] | a file of trusted keys, and the verification of a signature by it |
//! | [`role`] | what a signer may state |
//! | `pattern` | the patterns of OpenSSH's lists |
//!
//! Nothing here reads a file or starts a program.

pub mod allowed_signers;
mod pattern;
pub mod role;
pub mod signing_key;
