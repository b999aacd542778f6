//! Hosts that become silent.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use longshore_core::Kind;
use longshore_core::cleanup::CleanupScope;
use longshore_core::plugin::StoreContext;
use longshore_core::stream::{channel, from_bytes};
use serde_json::json;

use super::{SshPlugin, eventually, files, key};
use crate::sshd::Sshd;
use crate::stream::{random, random_bytes};

/// The stall timeout of the destination.
const STALL_TIMEOUT: Duration = Duration::from_secs(4);
/// The time limit of a test: enough for the connection that ends and one more.
const LIMIT: Duration = Duration::from_secs(16);

pub async fn stalled_hosts_time_out(plugin: &SshPlugin) {
    tokio::join!(connecting(plugin), answering(plugin), sending(plugin), taking(plugin));
}

/// Returns a server, and a destination on it with a stall timeout.
fn stalling(plugin: &SshPlugin) -> (Sshd, Box<dyn longshore_core::stage::Store>) {
    let sshd = Sshd::start();
    let context = StoreContext { stall_timeout: STALL_TIMEOUT, ..StoreContext::default() };
    let store = plugin.store_with(&sshd, plugin.account, json!({ "connect_timeout": "60s" }), &context);
    (sshd, store)
}

/// Verifies that an operation on a host that is silent from now on fails in time.
async fn gives_up<T>(wait: &str, work: impl Future<Output = longshore_core::Result<T>>) {
    let begun = Instant::now();
    let given_up = tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| panic!("{wait}: still waiting"));
    let error = given_up.err().unwrap_or_else(|| panic!("{wait}: a silent host has answered"));
    assert_eq!(error.kind(), Kind::Unavailable, "{wait}: {}", error.chain());
    assert!(begun.elapsed() >= STALL_TIMEOUT / 2, "{wait}: failed after {:?}", begun.elapsed());
}

async fn connecting(plugin: &SshPlugin) {
    let (sshd, store) = stalling(plugin);
    sshd.stall();
    gives_up("connecting", store.list(None)).await;
}

async fn answering(plugin: &SshPlugin) {
    let (sshd, store) = stalling(plugin);
    store.ship(&key("main/first.dump"), from_bytes("x")).await.unwrap();
    sshd.stall();
    gives_up("the first byte", store.list(None)).await;
}

async fn sending(plugin: &SshPlugin) {
    let (sshd, store) = stalling(plugin);
    let key = key("main/appdb.dump");
    store.ship(&key, random(1, 64 << 20)).await.unwrap();
    let mut fetched = store.fetch(&key, None).await.unwrap();
    fetched.next().await.unwrap().unwrap();
    sshd.stall();
    let rest = async {
        while let Some(chunk) = fetched.next().await {
            chunk?;
        }
        Ok(())
    };
    gives_up("a later byte", rest).await;
}

async fn taking(plugin: &SshPlugin) {
    let (sshd, store) = stalling(plugin);
    let (sender, body) = channel();
    let key = key("main/appdb.dump");
    let scope = CleanupScope::default();
    let shipping = scope.run(store.ship(&key, body));
    let stalls = async {
        sender.send(random_bytes(1, 100_000)).await.unwrap();
        if !store.limits().spools {
            eventually(|| files(&sshd.backups()).iter().any(|file| file.metadata().is_ok_and(|file| file.len() > 0)))
                .await;
        }
        sshd.stall();
        sender.finish().await.unwrap();
        std::future::pending::<()>().await;
    };
    let shipped = async {
        tokio::select! {
            shipped = shipping => shipped,
            () = stalls => Ok(()),
        }
    };
    gives_up("closing", shipped).await;
    tokio::time::timeout(LIMIT, scope.wait()).await.expect("the deletion of the temporary file times out as well");
}
