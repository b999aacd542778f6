//! Tests WAL of real servers, compared with `pg_waldump` of the same release.
//!
//! | module | contents |
//! | --- | --- |
//! | `archive` | segments that a server archives |
//! | `promotion` | the files that promotions leave in an archive |
//! | `crash` | records that a crash left unfinished |
//! | `damage` | kinds of damage, and each flipped byte |
#![allow(clippy::unwrap_used, reason = "a failing unwrap fails the test")]

mod archive;
mod crash;
mod damage;
mod promotion;
mod support;
