//! Hosts behind a jump host: rsync's own ssh uses the jump host as well.

use std::path::Path;

use longshore_ship_rsync::Rsync;
use longshore_testkit::behind_ssh::{self, Reach, built};
use longshore_testkit::sshd::Account;
use serde_json::json;

pub(crate) const RSYNC: Reach = Reach {
    build: |mut settings| {
        let path = settings["path"].as_str().unwrap().to_owned();
        settings["spool_dir"] = json!(Path::new(&path).with_file_name("spool"));
        built::<Rsync>(settings)
    },
    account: Account::Shell,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_behind_another_is_reached_through_it() {
    behind_ssh::a_host_behind_another_is_reached_through_it(&RSYNC).await;
}
