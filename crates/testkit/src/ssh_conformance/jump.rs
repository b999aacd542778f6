//! Hosts that are reached through a jump host.

use std::fs;

use futures_util::TryStreamExt;
use longshore_core::Kind;
use longshore_core::stream::from_bytes;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{SshPlugin, key};
use crate::sshd::{Account, Sshd};

/// Returns two ways to configure a jump host: the setting `jump`, and ssh's own configuration.
fn ways(bastion: &Sshd, account: Account) -> [(NamedTempFile, Value); 2] {
    let known = bastion.client_config("bastion", account);
    [(String::new(), json!(["bastion"])), ("Host 127.0.0.1\n ProxyJump bastion\n".to_owned(), json!([]))].map(
        |(way, jump)| {
            let configuration = NamedTempFile::new().unwrap();
            // The jump host itself must be reached directly.
            fs::write(configuration.path(), format!("{known} ProxyJump none\n{way}")).unwrap();
            let settings = json!({ "config_file": configuration.path(), "jump": jump });
            (configuration, settings)
        },
    )
}

pub async fn connects_through_a_jump_host(plugin: &SshPlugin) {
    let (sshd, bastion) = (Sshd::start(), Sshd::start());
    let logins = |host: &Sshd| host.log().matches("Accepted publickey").count();
    for ((_configuration, settings), n) in ways(&bastion, Account::Shell).into_iter().zip(1..) {
        let store = plugin.store(&sshd, settings);
        store.ship(&key(&format!("main/{n}.dump")), from_bytes("x")).await.unwrap();
        let listed: Vec<_> = store.list(None).await.unwrap().try_collect().await.unwrap();
        assert_eq!(listed.len(), n);
        assert!(logins(&bastion) == n && logins(&sshd) >= n, "{}", bastion.log());
    }
}

pub async fn reports_a_refusing_jump_host(plugin: &SshPlugin) {
    let (sshd, bastion) = (Sshd::start(), Sshd::start());
    for (_configuration, settings) in ways(&bastion, Account::UnknownKey) {
        let error = plugin.store(&sshd, settings).ship(&key("main/x.dump"), from_bytes("x")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{}", error.chain());
        assert!(error.to_string().contains("on the way"), "{}", error.chain());
        assert!(error.remedy().unwrap().contains("ProxyJump"), "{error:?}");
    }
}
