//! On a second real store, which honours create-only requests of one body, and enforces Object Lock.

use longshore_core::stage::Store;
use longshore_testkit::ceph::{Ceph, KEY, Keeps, REGION, SECRET};
use longshore_testkit::conformance::{self, Fixture, Race, Scale};
use serde_json::{Value, json};

use crate::client::s3;

/// A store of its own, with bucket `acme`.
async fn ceph(keeps: Keeps) -> Ceph {
    let start = move || {
        let ceph = Ceph::start();
        ceph.bucket("acme", keeps);
        ceph
    };
    tokio::task::spawn_blocking(start).await.unwrap()
}

/// The destination in its bucket.
fn store(ceph: &Ceph, more: Value) -> Box<dyn Store> {
    let mut settings = json!({ "region": REGION });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    s3(ceph.address(), KEY, SECRET, settings)
}

/// What every destination must do.
async fn conforms(keeps: Keeps, race: Race) {
    let ceph = ceph(keeps).await;
    let store = store(&ceph, json!({ "prefix": "postgresql" }));
    let scale = Scale { many_keys: 1100, ..Scale::default() };
    conformance::store(&Fixture::new(store, ceph).scaled(scale).racing(race)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_real_store_does_what_every_destination_must() {
    conforms(Keeps::Nothing, Race::One).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_does_where_it_keeps_versions() {
    conforms(Keeps::Versions, Race::Latest).await;
}
