//! What a bucket promises as a destination: what every destination does, and what is S3's own.

// What fails here fails a test, in helpers, too.
#![allow(clippy::unwrap_used)]

mod ceph;
mod client;
mod conformance;
mod credential;
mod garage;
mod header;
mod network;
mod server;
mod shelf;

use longshore_core::key::Key;

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}
