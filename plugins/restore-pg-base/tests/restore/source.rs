//! A cluster to back up, with a tablespace.

use std::fs;
use std::process::Command;

use bytes::Bytes;
use longshore_pg_base::merge::Merge;
use longshore_testkit::cluster::{Cluster, Installation};
use tempfile::TempDir;

use crate::server::server_folder;

/// A cluster with a table in a tablespace and another outside of it.
pub(crate) struct Source {
    pub(crate) cluster: Cluster,
    /// The folder of the tablespace `stars`.
    pub(crate) tablespace: TempDir,
    /// The OID of the tablespace.
    pub(crate) tablespace_oid: u32,
}

impl Source {
    /// Starts a cluster whose configuration archives WAL, and that changes no file by itself.
    pub(crate) fn start(installation: &Installation) -> Self {
        let cluster = Cluster::start(installation, &["autovacuum=off"]);
        let tablespace = server_folder();
        let location = tablespace.path().display();
        cluster.psql("postgres", &format!("CREATE TABLESPACE stars LOCATION '{location}'"));
        cluster.psql("postgres", "ALTER SYSTEM SET archive_mode = on");
        cluster.psql("postgres", "ALTER SYSTEM SET archive_command = '/bin/true'");
        cluster.psql(
            "postgres",
            "CREATE TABLE stars TABLESPACE stars AS SELECT n, repeat('x', 100) FROM generate_series(1, 5000) n;
             CREATE TABLE things AS SELECT n, md5(n::text) FROM generate_series(1, 5000) n;
             VACUUM; CHECKPOINT;",
        );
        let oid = cluster.psql("postgres", "SELECT oid FROM pg_tablespace WHERE spcname = 'stars'");
        Self { cluster, tablespace, tablespace_oid: oid.parse().unwrap() }
    }

    /// Takes a base backup with its WAL, as one tar.
    pub(crate) fn back_up(&self) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(self.cluster.bin_dir().join("pg_basebackup"))
            .args(["-d", &self.cluster.connection(), "-Ft", "-X", "fetch", "--checkpoint=fast", "--no-sync", "-D"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let read = |name: &str| Bytes::from(fs::read(folder.path().join(name)).unwrap());
        let (mut merge, mut tar) = (Merge::new(), Vec::new());
        for oid in [Some(self.tablespace_oid), None] {
            let name = oid.map_or("base.tar".to_owned(), |oid| format!("{oid}.tar"));
            merge.begin_archive(oid).unwrap();
            tar.extend(merge.push(read(&name)).unwrap());
            merge.end_archive().unwrap();
        }
        let manifest = read("backup_manifest");
        tar.push(merge.manifest_header(manifest.len() as u64).unwrap());
        tar.extend(merge.push(manifest).unwrap());
        tar.push(merge.finish().unwrap());
        tar.concat()
    }
}
