//! Dumps of real servers, as pg_dump writes them, damaged, forged and rewritten.
//!
//! | module | contents |
//! | --- | --- |
//! | `intact` | intact dumps in all formats: their facts equal those of the server |
//! | `damage` | a matrix of damages of archives in the custom format |
//! | `directory_damage` | the same for archives of many files: directories and tars |
//! | `hostile` | malicious and random archives: no panics, and bounded memory and time |
//! | `piece_sizes` | archives that arrive in pieces of any sizes |
//! | `offsets` | the offsets of data, for archives that were written to a pipe |
//! | `rewrite` | archives with renamed roles |
//! | `support` | the archives, and everything that several modules use |
#![allow(clippy::unwrap_used, reason = "a failing unwrap fails the test")]

mod damage;
mod directory_damage;
mod hostile;
mod intact;
mod offsets;
mod piece_sizes;
mod rewrite;
mod support;
