//! Replication commands.

use longshore_pg_replication::command::{SlotLifetime, WalReservation};
use longshore_testkit::cluster::Cluster;

use crate::support::{open, try_connect, versions};

#[tokio::test]
async fn identity_is_that_of_the_server() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let mut connection = open(&cluster).await;
        let identity = connection.identify_system().await.unwrap();
        let expected = cluster.psql("postgres", "SELECT system_identifier FROM pg_control_system()");
        assert_eq!(identity.system_identifier.to_string(), expected);
        assert_eq!(identity.timeline, 1);
        let flushed = cluster.psql("postgres", "SELECT pg_current_wal_flush_lsn()");
        assert!(identity.position.to_string() <= flushed && identity.position.0 > 0, "{flushed}");
        assert_eq!(connection.facts().major_version(), Some(version.major));
        let in_view = "SELECT pid, application_name FROM pg_stat_replication";
        assert_eq!(cluster.psql("postgres", in_view), format!("{}|longshore", connection.facts().process_id));
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn settings_are_shown() {
    for version in versions() {
        let cluster = Cluster::start(&version, &["longshore.test=it's"]);
        let mut connection = open(&cluster).await;
        assert_eq!(connection.show("wal_segment_size").await.unwrap(), "16MB");
        assert_eq!(connection.show("data_checksums").await.unwrap(), "on");
        assert_eq!(connection.show("longshore.test").await.unwrap(), "it's");
        let error = connection.show("nothing; SELECT 1").await.unwrap_err();
        assert_eq!(error.server().unwrap().sqlstate, "42704", "{error}");
        assert_eq!(connection.show("data_checksums").await.unwrap(), "on", "the connection survives an error");
    }
}

#[tokio::test]
async fn options_reach_the_session() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    let keywords = format!("{} options=-cwork_mem=77MB application_name=other", cluster.connection());
    let mut connection = try_connect(&keywords).await.unwrap();
    assert_eq!(connection.show("work_mem").await.unwrap(), "77MB");
    assert_eq!(connection.show("application_name").await.unwrap(), "other");
}

#[tokio::test]
async fn slots_are_created_read_and_dropped() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let mut connection = open(&cluster).await;
        assert_eq!(connection.read_slot("backup").await.unwrap(), None);
        connection.create_slot("backup", SlotLifetime::Permanent, WalReservation::Immediate).await.unwrap();
        let slot = connection.read_slot("backup").await.unwrap().unwrap();
        assert_eq!(slot.restart_timeline, Some(1));
        let restart = cluster.psql("postgres", "SELECT restart_lsn, temporary FROM pg_replication_slots");
        assert_eq!(restart, format!("{}|f", slot.restart_lsn.unwrap()));

        connection.create_slot("later", SlotLifetime::Permanent, WalReservation::Deferred).await.unwrap();
        let later = connection.read_slot("later").await.unwrap().unwrap();
        assert_eq!((later.restart_lsn, later.restart_timeline), (None, None));

        let again = connection.create_slot("backup", SlotLifetime::Permanent, WalReservation::Immediate).await;
        assert_eq!(again.unwrap_err().server().unwrap().sqlstate, "42710");
        connection.drop_slot("backup").await.unwrap();
        assert_eq!(connection.read_slot("backup").await.unwrap(), None);
        let again = connection.drop_slot("backup").await.unwrap_err();
        assert_eq!(again.server().unwrap().sqlstate, "42704");
    }
}

#[tokio::test]
async fn temporary_slots_end_with_the_connection() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let mut connection = open(&cluster).await;
        connection.create_slot("held", SlotLifetime::Temporary, WalReservation::Immediate).await.unwrap();
        let temporary = "SELECT slot_name, temporary, restart_lsn IS NOT NULL FROM pg_replication_slots";
        assert_eq!(cluster.psql("postgres", temporary), "held|t|t");
        connection.close().await.unwrap();
        let gone = "DO $$ BEGIN FOR i IN 1..1000 LOOP EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots); \
                    PERFORM pg_sleep(0.01); END LOOP; END $$; SELECT count(*) FROM pg_replication_slots";
        assert_eq!(cluster.psql("postgres", gone), "0");
    }
}

#[tokio::test]
async fn zero_bytes_in_arguments_are_rejected() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    let mut connection = open(&cluster).await;
    let error = connection.read_slot("a\0b").await.unwrap_err();
    assert!(matches!(error, longshore_pg_replication::Error::Argument { .. }), "{error:?}");
    assert_eq!(connection.show("data_checksums").await.unwrap(), "on");
}
