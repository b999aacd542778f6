//! Base backups of real servers.
#![allow(clippy::unwrap_used, reason = "a failing unwrap fails the test")]

mod check;
mod damaged_page;
mod program;
mod refused;
mod stream;
mod support;
mod wal;
