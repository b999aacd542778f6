//! Tests of the client against real servers: PostgreSQL 15, and the newest that is installed.

// A panic in a helper fails the test at the right line.
#![allow(clippy::unwrap_used)]

mod authentication;
mod backup;
mod certificate;
mod channel_binding;
mod commands;
mod connection_loss;
mod damaged_pages;
mod hosts;
mod incremental;
mod support;
mod tls;
mod wal_stream;
