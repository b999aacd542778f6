//! Tests a bucket as a destination: the conformance tests, and the behaviour of S3.

// Allows unwrap in helpers: a failure there fails the test.
#![allow(clippy::unwrap_used)]

mod ceph;
mod client;
mod conformance;
mod credential;
mod garage;
mod header;
mod memory_bucket;
mod network;
mod server;

use longshore_core::key::Key;

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}
