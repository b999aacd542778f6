//! The conformance tests of every destination, and of every destination behind an SSH server.

use longshore_testkit::conformance::{Fixture, HUGE_PATIENCE, Scale};

use crate::SSH;

async fn fixture() -> Fixture {
    let (sshd, store) = SSH.temporary();
    let folder = sshd.backups();
    Fixture::new(store, sshd).in_folder(folder)
}

async fn huge() -> Fixture {
    fixture().await.scaled(Scale { patience: HUGE_PATIENCE, ..Scale::default() })
}

longshore_testkit::store_conformance!(fixture);
longshore_testkit::huge_conformance!(huge);
longshore_testkit::behind_ssh!(SSH);
