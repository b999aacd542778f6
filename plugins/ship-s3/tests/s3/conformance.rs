//! The conformance tests of every destination, with the in-process server.

use longshore_testkit::conformance::Fixture;
use serde_json::json;

use crate::server::Server;

async fn fixture() -> Fixture {
    let server = Server::start().await;
    Fixture::new(server.s3(json!({ "prefix": "post/gresql" })), server)
}

longshore_testkit::store_conformance!(fixture);
