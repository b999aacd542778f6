//! WAL while the server writes it.

use std::time::Duration;

use longshore_pg_replication::command::{SlotLifetime, WalReservation};
use longshore_pg_replication::wal_stream::{ReplyRequest, TimelineEnd};
use longshore_pg_replication::{Connection, Error, WalEvent, WalStream};
use longshore_pg_wal::Lsn;
use longshore_pg_wal::segment::{Segment, SegmentSize};
use longshore_pg_wal::{History, walk};
use longshore_testkit::cluster::Cluster;

use crate::support::{open, versions};

const SLOT: &str = "longshore";

/// Creates the slot, and streams from the beginning of its first segment.
async fn stream(cluster: &Cluster) -> (WalStream, Lsn) {
    let mut connection = open(cluster).await;
    connection.create_slot(SLOT, SlotLifetime::Permanent, WalReservation::Immediate).await.unwrap();
    let slot = connection.read_slot(SLOT).await.unwrap().unwrap();
    let segment = Segment::containing(1, slot.restart_lsn.unwrap(), SegmentSize::DEFAULT);
    let from = segment.start(SegmentSize::DEFAULT);
    (connection.start_replication(SLOT, from, 1).await.unwrap(), from)
}

/// Receives WAL up to a position.
async fn receive(stream: &mut WalStream, from: Lsn, to: Lsn) -> Vec<u8> {
    let mut received = Vec::new();
    while from.0 + (received.len() as u64) < to.0 {
        match stream.next().await.unwrap() {
            WalEvent::Data { start, bytes } => {
                assert_eq!(start.0, from.0 + received.len() as u64);
                received.extend_from_slice(&bytes);
            }
            WalEvent::Keepalive { .. } => {}
            WalEvent::End(end) => panic!("{end:?}"),
        }
    }
    received
}

fn flush_position(cluster: &Cluster) -> Lsn {
    cluster.psql("postgres", "select pg_current_wal_flush_lsn()").parse().unwrap()
}

#[tokio::test]
async fn segment_equals_that_of_the_server() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let (mut stream, from) = stream(&cluster).await;
        let name = cluster.psql("postgres", &format!("select pg_walfile_name('{}')", Lsn(from.0 + 1)));
        cluster.psql("postgres", "create table t as select generate_series(1, 10000)");
        cluster.psql("postgres", "select pg_switch_wal()");
        let end = Lsn(from.0 + u64::from(SegmentSize::DEFAULT.bytes()));
        let received = receive(&mut stream, from, end).await;
        let expected = std::fs::read(cluster.data_dir().join("pg_wal").join(name)).unwrap();
        assert!(received[..expected.len()] == expected, "the segments differ");
        assert!(walk::read(&expected[..]).unwrap().is_complete());
        stream.close().await.unwrap();
    }
}

#[tokio::test]
async fn report_moves_the_slot() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let (mut stream, from) = stream(&cluster).await;
        cluster.psql("postgres", "create table t as select 1");
        let position = flush_position(&cluster);
        receive(&mut stream, from, position).await;
        let query = "select flush_lsn from pg_stat_replication";
        stream.report(Lsn::INVALID, ReplyRequest::Immediate).await.unwrap();
        assert!(matches!(stream.next().await.unwrap(), WalEvent::Keepalive { reply_requested: false, .. }));
        assert_eq!(cluster.psql("postgres", query), "", "nothing is durable");
        stream.report(position, ReplyRequest::Immediate).await.unwrap();
        let end = loop {
            match stream.next().await.unwrap() {
                WalEvent::Keepalive { end, .. } => break end,
                WalEvent::Data { .. } => {}
                WalEvent::End(end) => panic!("{end:?}"),
            }
        };
        assert!(end >= position);
        assert_eq!(cluster.psql("postgres", query), position.to_string());
        let restart = "select restart_lsn from pg_replication_slots";
        assert_eq!(cluster.psql("postgres", restart), position.to_string());
    }
}

#[tokio::test]
async fn dropped_futures_lose_no_event() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    let (mut stream, from) = stream(&cluster).await;
    cluster.psql("postgres", "create table t as select generate_series(1, 100000)");
    let position = flush_position(&cluster);
    let mut at = from;
    while at < position {
        // A dropped future must keep what it has received.
        let Ok(event) = tokio::time::timeout(Duration::from_micros(50), stream.next()).await else { continue };
        if let WalEvent::Data { start, bytes } = event.unwrap() {
            assert_eq!(start, at);
            at = Lsn(start.0 + bytes.len() as u64);
        }
    }
}

/// Expects the end of timeline 1, and returns the connection.
async fn expect_end(mut stream: WalStream) -> (TimelineEnd, Connection) {
    loop {
        if let WalEvent::End(end) = stream.next().await.unwrap() {
            return (end, stream.finish().unwrap());
        }
    }
}

#[tokio::test]
async fn promotion_ends_the_timeline() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let standby = cluster.start_standby(&[]);
        let (stream, _) = stream(&standby).await;
        standby.psql("postgres", "select pg_promote()");
        let (end, mut connection) = expect_end(stream).await;
        assert_eq!(end.next_timeline, 2);
        let file = connection.timeline_history(2).await.unwrap();
        assert_eq!(file.name, "00000002.history");
        let history = History::parse(2, &file.content).unwrap();
        assert_eq!(history.switch_point(1), Some(end.switch_point));
        let missing = connection.timeline_history(3).await.unwrap_err();
        assert_eq!(missing.server().unwrap().sqlstate, "58P01");

        // At the very end of the old timeline, the server sends no WAL.
        let stream = connection.start_replication(SLOT, end.switch_point, 1).await.unwrap();
        let (again, connection) = expect_end(stream).await;
        assert_eq!(again, end);
        let segment = Segment::containing(2, end.switch_point, SegmentSize::DEFAULT);
        let from = segment.start(SegmentSize::DEFAULT);
        let mut stream = connection.start_replication(SLOT, from, 2).await.unwrap();
        receive(&mut stream, from, flush_position(&standby)).await;
    }
}

#[tokio::test]
async fn missing_slots_and_wal_are_errors_with_codes() {
    for version in versions() {
        let cluster = Cluster::start(&version, &["max_slot_wal_keep_size=1MB"]);
        let connection = open(&cluster).await;
        let error = connection.start_replication("none", Lsn(0x100_0000), 1).await.unwrap_err();
        assert_eq!(error.server().unwrap().sqlstate, "42704");
        let (stream, from) = stream(&cluster).await;
        let busy = open(&cluster).await.start_replication(SLOT, from, 1).await.unwrap_err();
        assert_eq!(busy.server().unwrap().sqlstate, "55006");
        stream.close().await.unwrap();
        for _ in 0..4 {
            cluster.psql("postgres", "create table t (); drop table t; select pg_switch_wal()");
        }
        cluster.psql("postgres", "checkpoint");
        assert_eq!(cluster.psql("postgres", "select wal_status from pg_replication_slots"), "lost");
        // PostgreSQL 15 starts the stream before it looks for the WAL.
        let error = match open(&cluster).await.start_replication(SLOT, from, 1).await {
            Ok(mut stream) => stream.next().await.unwrap_err(),
            Err(error) => error,
        };
        let state = error.server().unwrap().sqlstate.clone();
        assert!(["58P01", "55000"].contains(&state.as_str()), "{error}");
        let mut connection = open(&cluster).await;
        assert_eq!(connection.read_slot(SLOT).await.unwrap().unwrap().restart_lsn, None);
    }
}

#[tokio::test]
async fn shutdown_waits_for_the_report() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    let (mut stream, _) = stream(&cluster).await;
    let postmaster = std::fs::read_to_string(cluster.data_dir().join("postmaster.pid")).unwrap();
    let process_id = postmaster.lines().next().unwrap().to_owned();
    crate::support::run(std::process::Command::new("kill").args(["-INT", &process_id]));
    let mut at = Lsn::INVALID;
    let error = loop {
        match stream.next().await {
            Ok(WalEvent::Data { start, bytes }) => at = Lsn(start.0 + bytes.len() as u64),
            Ok(WalEvent::Keepalive { end, reply_requested: true }) if end == at => {
                stream.report(at, ReplyRequest::None).await.unwrap();
            }
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
}
