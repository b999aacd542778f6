//! Encrypts and decrypts with a program of the operator, as `type = "exec"`: the program reads
//! standard input to its end, and writes standard output.
//!
//! | file | contents |
//! | --- | --- |
//! | `encrypt.rs` | [`Exec`]: encryption, of a job |
//! | `decrypt.rs` | [`ExecDecrypt`]: decryption, of a table `[decrypt.NAME]` |
//! | `filter.rs` | the output of a program as a stream, and the conditions of its clean end |
//!
//! The name of the encryption is the end of the names of its files, and selects the program that
//! decrypts them: a host that makes backups need not have one.

mod decrypt;
mod encrypt;
mod filter;

pub use self::decrypt::ExecDecrypt;
pub use self::encrypt::Exec;
