//! What every destination must prove, and every one behind an SSH server.

use longshore_testkit::conformance::{Fixture, Scale};

use crate::SSH;

async fn fixture() -> Fixture {
    let (sshd, store) = SSH.temporary();
    // Each file is two commands there: fewer of them tell as much.
    Fixture::new(store, sshd).scaled(Scale { many_keys: 60, ..Scale::default() })
}

longshore_testkit::store_conformance!(fixture);
longshore_testkit::behind_ssh!(SSH);
