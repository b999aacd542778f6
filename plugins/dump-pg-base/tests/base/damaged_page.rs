//! Pages whose checksum is wrong.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use longshore_core::{Kind, Stage};
use longshore_pg_base::facts::PageChecksums;
use longshore_testkit::cluster::Cluster;
use serde_json::json;

use crate::support::{superuser_stage, take, take_fails, versions};

/// Changes a byte of block 3 of a new table, and returns the path of its file.
fn damage_a_page(cluster: &Cluster) -> String {
    let create = "create table damaged as select repeat('x', 1000) from generate_series(1, 100); checkpoint;
                  select pg_relation_filepath('damaged')";
    let path = cluster.psql("postgres", create);
    let file = OpenOptions::new().read(true).write(true).open(cluster.data_dir().join(&path)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 3 * 8192 + 5000).unwrap();
    file.write_all_at(&[byte[0] ^ 0xFF], 3 * 8192 + 5000).unwrap();
    path
}

#[tokio::test]
async fn damaged_page_fails_the_dump_after_the_last_byte() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let path = damage_a_page(&cluster);
        let error = take_fails(&*superuser_stage(&cluster, json!({ "checkpoint": "fast" }))).await;
        assert_eq!((error.stage(), error.kind(), error.subject()), (Stage::Dump, Kind::Corrupt, "base"));
        assert_eq!(error.sqlstate().unwrap().as_str(), "XX001");
        assert!(error.chain().contains(&path) && error.chain().contains("block 3"), "{}", error.chain());
        assert!(error.remedy().is_some_and(|hint| hint.contains("damaged_pages = \"record\"")), "{error:?}");
    }
}

#[tokio::test]
async fn damaged_page_can_be_recorded() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    let path = damage_a_page(&cluster);
    let stage = superuser_stage(&cluster, json!({ "checkpoint": "fast", "damaged_pages": "record" }));
    let facts = take(&*stage).await.unwrap().facts();
    let PageChecksums::On { damaged, .. } = facts.page_checksums else { panic!("the cluster has checksums") };
    let pages: Vec<_> = damaged.first.iter().map(|page| (page.path.as_str(), page.block)).collect();
    assert_eq!(pages, [(path.as_str(), 3)]);
}
