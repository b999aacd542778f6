//! The conformance tests of every destination.

use longshore_testkit::conformance::{self, Fixture, HUGE_TIME_LIMIT, Scale};

use crate::temporary;

async fn fixture() -> Fixture {
    let (folder, store) = temporary();
    let path = folder.path().to_owned();
    Fixture::new(store, folder).in_folder(path)
}

async fn huge() -> Fixture {
    fixture().await.scaled(Scale { huge_bytes: 10 << 30, time_limit: HUGE_TIME_LIMIT, ..Scale::default() })
}

longshore_testkit::store_conformance!(fixture);
longshore_testkit::huge_conformance!(huge);

#[tokio::test(flavor = "multi_thread")]
async fn conforms_with_one_directory() {
    conformance::store(&fixture().await).await;
}
