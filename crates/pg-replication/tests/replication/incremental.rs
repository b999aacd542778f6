//! Incremental backups.

use std::pin::Pin;
use std::task::{Context, Poll};

use longshore_pg_replication::Error;
use longshore_pg_replication::base_backup::{BackupKind, Options};
use longshore_testkit::cluster::{Cluster, Installation};
use tokio::io::{AsyncRead, ReadBuf};

use crate::support::{back_up, fast, open, versions};

/// A reader that fails.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Err(std::io::Error::other("broken")))
    }
}

fn incremental() -> Options {
    Options { kind: BackupKind::Incremental, ..fast() }
}

#[tokio::test]
async fn incremental_backup_holds_the_changes() {
    for major in [17, 18] {
        let cluster = Cluster::start(&Installation::of_major(major), &["summarize_wal=on"]);
        let fill = "CREATE TABLE large AS SELECT i, repeat('x', 500) AS x FROM generate_series(1, 20000) AS i";
        cluster.psql("postgres", fill);
        let (full, connection) = back_up(open(&cluster).await, &fast()).await;
        connection.close().await.unwrap();
        cluster.psql("postgres", "UPDATE large SET x = 'y' WHERE i = 1");

        let mut connection = open(&cluster).await;
        connection.upload_manifest(full.manifest.as_deref().unwrap()).await.unwrap();
        let (changes, _) = back_up(connection, &incremental()).await;
        let (_, _, archive) = &changes.archives[0];
        assert!(changes.manifest_text().contains("/INCREMENTAL."));
        assert!(archive.len() < full.archives[0].2.len() / 2, "{}", archive.len());
    }
}

#[tokio::test]
async fn damaged_manifest_is_rejected() {
    let [_, version] = versions();
    let cluster = Cluster::start(&version, &["summarize_wal=on"]);
    let mut connection = open(&cluster).await;
    let error = connection.upload_manifest(&b"no manifest"[..]).await.unwrap_err();
    assert!(error.server().is_some(), "{error}");
    assert_eq!(connection.show("data_checksums").await.unwrap(), "on", "the connection stays usable");
}

#[tokio::test]
async fn unreadable_manifest_leaves_the_connection_usable() {
    let [_, version] = versions();
    let cluster = Cluster::start(&version, &["summarize_wal=on"]);
    let mut connection = open(&cluster).await;
    let error = connection.upload_manifest(Broken).await.unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error:?}");
    assert_eq!(connection.show("data_checksums").await.unwrap(), "on");
}

#[tokio::test]
async fn incremental_backup_needs_a_manifest() {
    let [_, version] = versions();
    let cluster = Cluster::start(&version, &["summarize_wal=on"]);
    let error = open(&cluster).await.base_backup(&incremental()).await.unwrap_err();
    assert!(error.server().is_some(), "{error}");
}

#[tokio::test]
async fn incremental_backup_needs_postgresql_17() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    let mut connection = open(&cluster).await;
    let error = connection.upload_manifest(&b"{}"[..]).await.unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error:?}");
    let error = connection.base_backup(&incremental()).await.unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error:?}");
}
