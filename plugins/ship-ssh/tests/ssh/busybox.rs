//! A host that has no GNU programs, but BusyBox's: its find tells neither sizes nor times, its sync may know no folders.

use longshore_testkit::behind_ssh::{Reach, built};
use longshore_testkit::conformance::{self, Fixture, Scale};
use longshore_testkit::sshd::Account;

use longshore_ship_ssh::Ssh;

const BUSYBOX: Reach = Reach { build: built::<Ssh>, account: Account::BusyBox };

#[tokio::test(flavor = "multi_thread")]
async fn it_does_what_every_destination_must() {
    let (sshd, store) = BUSYBOX.temporary();
    let folder = sshd.backups();
    // A list takes a process for each file there, and each behaviour lists what those before it left.
    let scale = Scale { many_keys: 100, ..Scale::default() };
    conformance::store(&Fixture::new(store, sshd).in_folder(folder).scaled(scale)).await;
}

longshore_testkit::behind_ssh!(BUSYBOX);
