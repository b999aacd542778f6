//! Tests the verification of base backups, mostly those of real servers.
//!
//! | module | contents |
//! | --- | --- |
//! | `intact` | intact backups pass, and their facts are right |
//! | `damage` | kinds of damage, compared with `pg_verifybackup` |
//! | `flipped` | each byte flipped |
//! | `manifest` | the parser of `backup_manifest` |
//! | `wal` | the WAL in backups |
#![allow(clippy::unwrap_used, reason = "a failing unwrap fails the test")]

mod damage;
mod flipped;
mod intact;
mod manifest;
mod support;
mod wal;
