//! Backups of the files of real servers.
#![allow(clippy::unwrap_used, reason = "a failing unwrap fails the test")]

mod crash;
mod programs;
mod refused;
mod snapshot;
mod stream;
mod support;
mod zfs;
