//! Hosts that stop responding, and world-writable folders.

use longshore_testkit::behind_ssh;

use crate::jump::RSYNC;

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stalls_is_given_up_in_time() {
    behind_ssh::a_host_that_stalls_is_given_up_in_time(&RSYNC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_everybody_may_write_to_is_reported() {
    behind_ssh::a_folder_that_everybody_may_write_to_is_reported(&RSYNC).await;
}
