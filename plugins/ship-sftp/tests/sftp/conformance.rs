//! The conformance tests of every destination, and of every destination behind an SSH server.

use longshore_testkit::conformance::{Fixture, HUGE_TIME_LIMIT, Scale};

use crate::SFTP;

async fn fixture() -> Fixture {
    let (sshd, store) = SFTP.temporary();
    let folder = sshd.backups();
    Fixture::new(store, sshd).in_folder(folder)
}

async fn huge() -> Fixture {
    fixture().await.scaled(Scale { time_limit: HUGE_TIME_LIMIT, ..Scale::default() })
}

longshore_testkit::store_conformance!(fixture);
longshore_testkit::huge_conformance!(huge);
longshore_testkit::ssh_conformance!(SFTP);
