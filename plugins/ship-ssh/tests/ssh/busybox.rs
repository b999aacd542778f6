//! A host with BusyBox instead of GNU programs: its find prints neither sizes nor times, and its
//! sync may not support directories.

use longshore_testkit::conformance::{self, Fixture, Scale};
use longshore_testkit::ssh_conformance::{SshPlugin, build};
use longshore_testkit::sshd::Account;

use longshore_ship_ssh::Ssh;

const BUSYBOX: SshPlugin = SshPlugin { build: build::<Ssh>, account: Account::BusyBox };

#[tokio::test(flavor = "multi_thread")]
async fn conforms_on_busybox() {
    let (sshd, store) = BUSYBOX.temporary();
    let folder = sshd.backups();
    // A list starts a process for each file there, and each test lists the files of the tests
    // before it.
    let scale = Scale { many_keys: 50, large_bytes: 8 << 20, ..Scale::default() };
    conformance::store(&Fixture::new(store, sshd).in_folder(folder).scaled(scale)).await;
}

longshore_testkit::ssh_conformance!(BUSYBOX);
