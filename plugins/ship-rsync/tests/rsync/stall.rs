//! Hosts that stop responding, and world-writable folders.

use longshore_testkit::ssh_conformance;

use crate::jump_host::RSYNC;

#[tokio::test(flavor = "multi_thread")]
async fn stalled_hosts_time_out() {
    ssh_conformance::stalled_hosts_time_out(&RSYNC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_world_writable_folders() {
    ssh_conformance::check_reports_world_writable_folders(&RSYNC).await;
}
