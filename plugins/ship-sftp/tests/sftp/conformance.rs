//! What every destination must prove.

use longshore_testkit::conformance::Fixture;

use crate::temporary;

async fn fixture() -> Fixture {
    let (sshd, store) = temporary();
    Fixture::new(store, sshd)
}

longshore_testkit::store_conformance!(fixture);
