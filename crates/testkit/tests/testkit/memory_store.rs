//! The store in memory keeps the guarantees of every destination, and breaks them only on demand.

use std::sync::Arc;

use futures_util::StreamExt;
use longshore_core::Kind;
use longshore_core::key::Key;
use longshore_core::stage::{Ship, Store};
use longshore_core::stream::from_bytes;
use longshore_testkit::conformance::{self, Fixture};
use longshore_testkit::memory::{Fault, MemoryStore, Operation};
use longshore_testkit::stream::{digest, random};

async fn fixture() -> Fixture {
    Fixture::new(Arc::new(MemoryStore::new()) as Arc<dyn Store>, ())
}

longshore_testkit::store_conformance!(fixture);

#[tokio::test(flavor = "multi_thread")]
async fn suite_runs_on_one_destination() {
    conformance::store(&fixture().await).await;
}

#[tokio::test]
async fn faults_affect_only_their_operation() {
    let store = MemoryStore::new();
    let [dump, manifest] = ["a/x.dump", "a/x.json"].map(|text| Key::parse(text).unwrap());
    store.fault_at(Operation::Ship, ".json", Fault::Deny);
    store.ship(&dump, random(1, 100)).await.unwrap();
    assert_eq!(store.ship(&manifest, from_bytes("{}")).await.unwrap_err().kind(), Kind::Denied);

    store.fault(Operation::Fetch, Fault::FailAfter(10));
    let error = digest(store.fetch(&dump, None).await.unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);

    store.fault(Operation::List, Fault::FailAfter(1));
    let listed: Vec<_> = store.list(None).await.unwrap().collect().await;
    assert!(listed[0].is_ok() && listed[1].is_err() && listed.len() == 2, "{listed:?}");

    store.heal();
    store.ship(&manifest, from_bytes("{}")).await.unwrap();
    assert_eq!(store.shipped(), [dump, manifest]);
}
