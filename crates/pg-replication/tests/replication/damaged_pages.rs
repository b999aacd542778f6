//! Pages with wrong checksums.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use longshore_pg_replication::base_backup::{Options, PageChecksums};
use longshore_pg_replication::server_error::Severity;
use longshore_testkit::cluster::Cluster;

use crate::support::{Content, back_up, fast, open, versions};

/// Changes a byte of a page of a new table, and returns the path of its file.
fn damage_a_page(cluster: &Cluster) -> String {
    let create = "CREATE TABLE damaged AS SELECT repeat('x', 1000) FROM generate_series(1, 100); CHECKPOINT;
                  SELECT pg_relation_filepath('damaged')";
    let path = cluster.psql("postgres", create);
    let file = OpenOptions::new().read(true).write(true).open(cluster.data_dir().join(&path)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 3 * 8192 + 5000).unwrap();
    file.write_all_at(&[byte[0] ^ 0xFF], 3 * 8192 + 5000).unwrap();
    path
}

#[tokio::test]
async fn damaged_page_fails_after_the_last_byte() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let path = damage_a_page(&cluster);
        let mut backup = open(&cluster).await.base_backup(&fast()).await.unwrap();
        let mut content = Content::default();
        let error = loop {
            match backup.next().await {
                Ok(Some(event)) => content.add(event),
                Ok(None) => panic!("the backup ended cleanly"),
                Err(error) => break error,
            }
        };
        assert!(content.manifest_text().ends_with("}\n"), "the manifest is complete");
        assert!(content.archives[0].2.ends_with(&[0; 1024]), "the archive is complete");
        assert_eq!(error.server().unwrap().sqlstate, "XX001", "{error}");
        let named = |notice: &&longshore_pg_replication::ServerError| {
            notice.severity == Severity::Warning && notice.message.contains(&path) && notice.message.contains("block 3")
        };
        assert_eq!(backup.notices().kept().iter().filter(named).count(), 1, "{:?}", backup.notices());
        assert!(backup.next().await.is_err(), "a failed backup stays failed");
        assert!(backup.finish().is_err());
    }
}

#[tokio::test]
async fn damaged_page_is_ignored_on_request() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    damage_a_page(&cluster);
    let options = Options { page_checksums: PageChecksums::Ignore, ..fast() };
    let (content, connection) = back_up(open(&cluster).await, &options).await;
    assert!(content.manifest.is_some());
    assert!(connection.notices().kept().iter().all(|notice| notice.severity != Severity::Warning));
}
