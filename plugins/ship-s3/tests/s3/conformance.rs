//! The conformance tests of every destination, with the in-process server.

use longshore_testkit::conformance::{Fixture, Scale};
use serde_json::json;

use crate::server::Server;

async fn fixture() -> Fixture {
    let server = Server::start().await;
    // More than two pages of a listing.
    let scale = Scale { many_keys: 2100, ..Scale::default() };
    Fixture::new(server.s3(json!({ "prefix": "post/gresql" })), server).scaled(scale)
}

longshore_testkit::store_conformance!(fixture);
