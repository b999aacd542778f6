//! What every destination must prove.

use longshore_testkit::conformance::{Fixture, Scale};

use crate::temporary;

async fn fixture() -> Fixture {
    let (sshd, store) = temporary();
    // Each file is two commands there and a call of rsync: fewer of them tell as much.
    Fixture::new(store, sshd).scaled(Scale { many_keys: 40, ..Scale::default() })
}

longshore_testkit::store_conformance!(fixture);
