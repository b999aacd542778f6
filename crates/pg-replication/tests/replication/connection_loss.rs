//! Connections that end early.

use std::process::Command;

use longshore_pg_replication::base_backup::{BaseBackup, Options};
use longshore_pg_replication::{Error, Event};
use longshore_testkit::cluster::Cluster;
use longshore_testkit::proxy::{Direction, Fault, Proxy};

use crate::support::{fast, open, run, try_connect, versions};

/// Starts a backup at a low rate, and reads its first data.
async fn slow_backup(cluster: &Cluster) -> (BaseBackup, i32) {
    let connection = open(cluster).await;
    let process_id = connection.facts().process_id;
    let options = Options { max_rate_kib: Some(2048), ..fast() };
    let mut backup = connection.base_backup(&options).await.unwrap();
    while !matches!(backup.next().await.unwrap(), Some(Event::Data(_))) {}
    (backup, process_id)
}

/// Reads a backup until it fails.
async fn failure(backup: &mut BaseBackup) -> Error {
    loop {
        match backup.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the backup ended cleanly"),
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn terminated_process_fails_the_backup() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let (mut backup, process_id) = slow_backup(&cluster).await;
        cluster.psql("postgres", &format!("SELECT pg_terminate_backend({process_id})"));
        // Amid the data of a backup, the server may send no reason.
        let error = failure(&mut backup).await;
        let is_named = matches!(&error, Error::Server(server) if server.sqlstate == "57P01");
        assert!(is_named || matches!(error, Error::Lost { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn killed_process_fails_the_backup() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let (mut backup, process_id) = slow_backup(&cluster).await;
        run(Command::new("kill").args(["-9", &process_id.to_string()]));
        let error = failure(&mut backup).await;
        assert!(matches!(error, Error::Lost { .. }), "{error:?}");
        assert!(backup.finish().is_err());
    }
}

#[tokio::test]
async fn cut_connection_fails_the_backup() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let proxy = Proxy::start(([127, 0, 0, 1], cluster.port()).into()).await;
        let keywords = format!("host=127.0.0.1 port={} user=postgres", proxy.address().port());
        for after in [5_000, 1_000_000, 10_000_000] {
            proxy.fault(Direction::Down, Fault::Cut(after));
            let mut backup = try_connect(&keywords).await.unwrap().base_backup(&fast()).await.unwrap();
            let error = failure(&mut backup).await;
            assert!(matches!(error, Error::Lost { .. }), "{after}: {error:?}");
        }
    }
}

#[tokio::test]
async fn command_on_a_dead_connection_reports_the_reason() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    let mut connection = open(&cluster).await;
    cluster.psql("postgres", &format!("SELECT pg_terminate_backend({}, 10000)", connection.facts().process_id));
    let error = connection.identify_system().await.unwrap_err();
    assert_eq!(error.server().unwrap().sqlstate, "57P01", "{error}");
}
