//! The conformance tests of every destination.

use longshore_testkit::conformance::{self, Fixture, HUGE_PATIENCE, Scale};

use crate::temporary;

async fn fixture() -> Fixture {
    let (folder, store) = temporary();
    let path = folder.path().to_owned();
    Fixture::new(store, folder).in_folder(path)
}

async fn huge() -> Fixture {
    fixture().await.scaled(Scale { huge_bytes: 10 << 30, patience: HUGE_PATIENCE, ..Scale::default() })
}

longshore_testkit::store_conformance!(fixture);
longshore_testkit::huge_conformance!(huge);

#[tokio::test(flavor = "multi_thread")]
async fn one_directory_serves_for_everything_in_turn() {
    conformance::store(&fixture().await).await;
}
