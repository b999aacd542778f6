//! Backups of the files of real servers.
#![allow(clippy::unwrap_used, reason = "a failing unwrap fails the test")]

mod refused;
mod snapshot;
mod stand_in;
mod stream;
mod support;
