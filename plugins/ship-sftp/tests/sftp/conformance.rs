//! What every destination must prove, and every one behind an SSH server.

use longshore_testkit::conformance::Fixture;

use crate::SFTP;

async fn fixture() -> Fixture {
    let (sshd, store) = SFTP.temporary();
    Fixture::new(store, sshd)
}

longshore_testkit::store_conformance!(fixture);
longshore_testkit::behind_ssh!(SFTP);
