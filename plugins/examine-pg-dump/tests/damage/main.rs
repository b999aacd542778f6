//! Damage in the files of a real cluster is found by checking and reading its databases.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use longshore_core::drill::{Comparison, ComparisonOutcome};
use longshore_core::plugin::{Cluster as Connection, Plugin};
use longshore_core::stage::{Examine, StructurePart};
use longshore_examine_pg_dump::PgDump;
use longshore_testkit::cluster::{Cluster, Installation};

/// The size of a page.
const PAGE: u64 = 8192;

fn examiner(cluster: &Cluster) -> Box<dyn Examine> {
    let connection = Connection {
        name: "scratch".to_owned(),
        connection: cluster.connection().into(),
        password: None,
        bin_dir: Some(cluster.bin_dir().to_owned()),
    };
    PgDump::default().build(&connection).unwrap()
}

/// Starts a cluster with the database `shop`, and its copy `damaged`, of which the server has read
/// nothing yet. In the second page of the table there, these bytes are written at this offset.
fn source(offset: u64, bytes: &[u8]) -> Cluster {
    let cluster = Cluster::start(&Installation::system(), &[]);
    cluster.create_database("shop");
    cluster.psql(
        "shop",
        "create table orders (n int primary key, note text); insert into orders select n, 'order ' || n from generate_series(1, 2000) n;
         select lo_from_bytea(0, 'object');",
    );
    cluster.psql("postgres", "create database damaged template shop strategy file_copy");
    let path = cluster.psql("damaged", "select pg_relation_filepath('orders')");
    let file = OpenOptions::new().write(true).open(cluster.data_dir().join(path)).unwrap();
    file.write_all_at(bytes, PAGE + offset).unwrap();
    cluster
}

fn outcomes(comparisons: &[Comparison]) -> Vec<&ComparisonOutcome> {
    comparisons.iter().map(|comparison| &comparison.outcome).collect()
}

#[tokio::test]
async fn whole_database_is_checked_and_read() {
    let cluster = source(0, &[]);
    let examiner = examiner(&cluster);
    for part in [StructurePart::Tables, StructurePart::Indexes] {
        let found = examiner.check_structure("shop", part).await.unwrap();
        assert_eq!(outcomes(&found), [&ComparisonOutcome::Same], "{found:?}");
    }
    let found = examiner.read("shop").await.unwrap();
    assert_eq!(outcomes(&found), [&ComparisonOutcome::Same], "{found:?}");
    assert_eq!(found[0].found.as_deref(), Some("readable: 2000 rows of 1 tables, 1 large objects"));
}

#[tokio::test]
async fn damaged_page_is_found_by_checking_and_reading() {
    let cluster = source(0, &[0xff; 64]);
    let examiner = examiner(&cluster);
    let found = examiner.check_structure("damaged", StructurePart::Tables).await.unwrap();
    assert_eq!(outcomes(&found), [&ComparisonOutcome::Different], "{found:?}");
    let error = examiner.read("damaged").await.err().unwrap();
    assert!(error.chain().contains("invalid page"), "{}", error.chain());
}

#[tokio::test]
async fn damaged_row_pointer_is_found_by_checking() {
    // The pointer of the first row, after the header of the page.
    let cluster = source(24, &[0xff, 0x7f, 0x01, 0x00]);
    let found = examiner(&cluster).check_structure("damaged", StructurePart::Tables).await.unwrap();
    assert_eq!(outcomes(&found), [&ComparisonOutcome::Different], "{found:?}");
    assert!(found[0].found.as_ref().unwrap().contains("orders"), "{found:?}");
}
