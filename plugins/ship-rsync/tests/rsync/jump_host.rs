//! Hosts behind a jump host: rsync's own ssh uses the jump host as well.

use std::path::Path;

use longshore_ship_rsync::Rsync;
use longshore_testkit::ssh_conformance::{self, SshPlugin, build};
use longshore_testkit::sshd::Account;
use serde_json::json;

pub(crate) const RSYNC: SshPlugin = SshPlugin {
    build: |mut settings, context| {
        let path = settings["path"].as_str().unwrap().to_owned();
        settings["spool_dir"] = json!(Path::new(&path).with_file_name("spool"));
        build::<Rsync>(settings, context)
    },
    account: Account::Shell,
};

#[tokio::test(flavor = "multi_thread")]
async fn connects_through_a_jump_host() {
    ssh_conformance::connects_through_a_jump_host(&RSYNC).await;
}
