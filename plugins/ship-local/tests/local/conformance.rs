//! What every destination must prove.

use longshore_testkit::conformance::{self, Fixture};

use crate::temporary;

async fn fixture() -> Fixture {
    let (folder, store) = temporary();
    Fixture::new(store, folder)
}

longshore_testkit::store_conformance!(fixture);

#[tokio::test(flavor = "multi_thread")]
async fn one_directory_serves_for_everything_in_turn() {
    conformance::store(&fixture().await).await;
}
