//! Backups of the files of real servers.
#![allow(clippy::unwrap_used, reason = "a failing unwrap fails the test")]

mod refused;
mod stream;
mod support;
