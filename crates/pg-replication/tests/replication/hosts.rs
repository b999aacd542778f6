//! Several hosts, their states, and time limits.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use longshore_pg_replication::{Error, connect};
use longshore_testkit::cluster::Cluster;

use crate::support::{parameters, try_connect, versions};

/// Returns the keywords of a connection to ports of this machine, in turn.
fn keywords(ports: &[u16], more: &str) -> String {
    let hosts = vec!["127.0.0.1"; ports.len()].join(",");
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    format!("host={hosts} port={} user=postgres {more}", ports.join(","))
}

/// Returns a port on which no process listens.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn states_of_servers_select_the_host() {
    for version in versions() {
        let primary = Cluster::start(&version, &[]);
        let standby = primary.start_standby(&[]);
        let (first, second) = (primary.port(), standby.port());
        for (ports, wanted, expected) in [
            ([first, second], "any", first),
            ([second, first], "any", second),
            ([second, first], "primary", first),
            ([second, first], "read-write", first),
            ([first, second], "standby", second),
            ([first, second], "read-only", second),
            ([first, second], "prefer-standby", second),
        ] {
            let keywords = keywords(&ports, &format!("target_session_attrs={wanted}"));
            let mut connection = try_connect(&keywords).await.unwrap();
            let port = connection.show("port").await.unwrap();
            assert_eq!(port, expected.to_string(), "{wanted}");
        }
        let only = |wanted: &str, port| keywords(&[port], &format!("target_session_attrs={wanted}"));
        assert!(try_connect(&only("prefer-standby", first)).await.is_ok());
        for (wanted, port) in [("standby", first), ("read-only", first), ("primary", second), ("read-write", second)] {
            let error = try_connect(&only(wanted, port)).await.unwrap_err();
            assert!(matches!(error, Error::SessionState { .. }), "{wanted}: {error:?}");
        }
    }
}

#[tokio::test]
async fn read_only_default_is_a_state() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &["default_transaction_read_only=on"]);
    let with = |wanted: &str| keywords(&[cluster.port()], &format!("target_session_attrs={wanted}"));
    assert!(try_connect(&with("read-only")).await.is_ok());
    assert!(try_connect(&with("primary")).await.is_ok());
    assert!(matches!(try_connect(&with("read-write")).await, Err(Error::SessionState { .. })));
}

#[tokio::test]
async fn refused_connection_leads_to_the_next_host() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    let mut connection = try_connect(&keywords(&[closed_port(), cluster.port()], "")).await.unwrap();
    connection.identify_system().await.unwrap();

    let error = try_connect(&keywords(&[closed_port(), closed_port()], "")).await.unwrap_err();
    let Error::Hosts { attempts } = &error else { panic!("{error:?}") };
    assert!(attempts.iter().all(|attempt| matches!(attempt, Error::Connect { .. })) && attempts.len() == 2);
    let error = try_connect(&keywords(&[closed_port()], "")).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
}

#[tokio::test]
async fn failed_authentication_ends_the_search() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    let keywords = keywords(&[cluster.port(), cluster.port()], "").replace("user=postgres", "user=nobody_here");
    let error = try_connect(&keywords).await.unwrap_err();
    assert!(matches!(error, Error::Server(_)), "{error:?}");
}

#[tokio::test]
async fn random_order_uses_all_hosts() {
    let [version, _] = versions();
    let (one, two) = (Cluster::start(&version, &[]), Cluster::start(&version, &[]));
    let parameters = parameters(&keywords(&[one.port(), two.port()], "load_balance_hosts=random"));
    let mut ports = std::collections::BTreeSet::new();
    for _ in 0..60 {
        ports.insert(connect(&parameters).await.unwrap().show("port").await.unwrap());
    }
    assert_eq!(ports.len(), 2, "missing after 60 attempts: 1 in 2^59");
}

#[tokio::test]
async fn silent_host_ends_with_the_time_limit() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().map(|address| (silent, address.port())).unwrap();
    let began = Instant::now();
    let keywords = keywords(&[silent.1, cluster.port()], "connect_timeout=2");
    try_connect(&keywords).await.unwrap();
    assert!((2..20).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());

    let mut parameters = parameters(&keywords);
    parameters.hosts.truncate(1);
    parameters.connect_timeout = Some(Duration::from_millis(50));
    let error = connect(&parameters).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn unknown_host_is_named() {
    let error = try_connect("host=no-such-host.invalid port=1 user=postgres").await.unwrap_err();
    let Error::UnknownHost { host, .. } = &error else { panic!("{error:?}") };
    assert_eq!(host, "no-such-host.invalid");
}
