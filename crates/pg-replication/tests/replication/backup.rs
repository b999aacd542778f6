//! Base backups that succeed.

use std::fs;
use std::path::Path;
use std::process::Command;

use longshore_pg_replication::base_backup::{ManifestChecksums, Options, SizeEstimates, TablespaceMap, Wal};
use longshore_testkit::cluster::Cluster;

use crate::support::{Content, ServerFolder, back_up, fast, open, read, run, versions};

/// Starts a cluster with two tablespaces and some data in each.
fn cluster_with_tablespaces(version: &longshore_testkit::cluster::Installation) -> (Cluster, ServerFolder) {
    let folder = ServerFolder::new();
    let cluster = Cluster::start(version, &[]);
    for name in ["a", "b"] {
        let path = folder.tablespace(name);
        cluster.psql("postgres", &format!("CREATE TABLESPACE {name} LOCATION '{}'", path.display()));
        let fill = "SELECT i, repeat('x', 100) FROM generate_series(1, 5000) AS i";
        cluster.psql("postgres", &format!("CREATE TABLE in_{name} TABLESPACE {name} AS {fill}"));
    }
    (cluster, folder)
}

fn unpack(archive: &[u8], folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let file = folder.join("archive.tar");
    fs::write(&file, archive).unwrap();
    run(Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(folder));
    fs::remove_file(file).unwrap();
}

/// Unpacks a backup into a data directory.
fn restore(content: &Content, folder: &Path) {
    for (name, _, archive) in &content.archives {
        match name.strip_suffix(".tar").unwrap() {
            "base" => unpack(archive, folder),
            oid => unpack(archive, &folder.join("pg_tblspc").join(oid)),
        }
    }
    fs::write(folder.join("backup_manifest"), content.manifest.as_ref().unwrap()).unwrap();
}

#[tokio::test]
async fn pg_verifybackup_accepts_a_backup() {
    for version in versions() {
        let (cluster, _folder) = cluster_with_tablespaces(&version);
        for checksums in [ManifestChecksums::Crc32c, ManifestChecksums::Sha256] {
            let options = Options { wal: Wal::Include, manifest_checksums: checksums, ..fast() };
            let (content, mut connection) = back_up(open(&cluster).await, &options).await;
            assert_eq!(connection.show("data_checksums").await.unwrap(), "on", "the connection stays usable");
            let target = tempfile::tempdir().unwrap();
            restore(&content, target.path());
            let output = run(Command::new(cluster.bin_dir().join("pg_verifybackup")).arg(target.path()));
            assert!(output.contains("successfully verified"), "{output}");
        }
    }
}

#[tokio::test]
async fn tablespaces_come_before_the_data_directory() {
    for version in versions() {
        let (cluster, folder) = cluster_with_tablespaces(&version);
        let mut backup = open(&cluster).await.base_backup(&fast()).await.unwrap();
        let query = "SELECT oid FROM pg_tablespace WHERE spcname IN ('a', 'b') ORDER BY spcname";
        let oids = cluster.psql("postgres", query);
        let oids: Vec<u32> = oids.lines().map(|oid| oid.parse().unwrap()).collect();
        let mut tablespaces = backup.tablespaces().to_vec();
        tablespaces.sort_by_key(|tablespace| tablespace.oid);
        let paths: Vec<_> = tablespaces.iter().map(|tablespace| (tablespace.oid, tablespace.path.clone())).collect();
        assert_eq!(paths, [(oids[0], folder.path("a")), (oids[1], folder.path("b"))]);
        assert!(tablespaces.iter().all(|tablespace| tablespace.size_kib.unwrap() > 500), "{tablespaces:?}");
        let data_directory_kib = backup.data_directory_kib().unwrap();
        assert!(data_directory_kib > 10_000, "{data_directory_kib}");

        let content = read(&mut backup).await.unwrap();
        let mut names: Vec<_> = content.archives.iter().map(|(name, path, _)| (name.clone(), path.clone())).collect();
        assert_eq!(names.pop(), Some(("base.tar".to_owned(), None)));
        names.sort();
        let expected = |index: usize, name: &str| (format!("{}.tar", oids[index]), Some(folder.path(name)));
        assert_eq!(names, [expected(0, "a"), expected(1, "b")]);
        let sent: usize = content.archives.iter().map(|(_, _, archive)| archive.len()).sum();
        assert!(content.progress_bytes > 0 && content.progress_bytes <= sent as u64);
        assert!(content.archives.iter().all(|(_, _, archive)| archive.ends_with(&[0; 1024])));
    }
}

#[tokio::test]
async fn positions_are_those_of_the_manifest() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let mut backup = open(&cluster).await.base_backup(&fast()).await.unwrap();
        let start = backup.start();
        let content = read(&mut backup).await.unwrap();
        assert_eq!(backup.next().await.unwrap(), None, "the end is repeated");
        let (end, _) = backup.finish().unwrap();
        assert!(start.position < end.position && (start.timeline, end.timeline) == (1, 1));
        let range = format!("\"Start-LSN\": \"{}\", \"End-LSN\": \"{}\"", start.position, end.position);
        assert!(content.manifest_text().contains(&range), "{range}");
    }
}

#[tokio::test]
async fn options_change_the_backup() {
    let [version, _] = versions();
    let (cluster, _folder) = cluster_with_tablespaces(&version);
    let options = Options {
        label: "it's \\ a \"label\"".to_owned(),
        manifest_checksums: ManifestChecksums::None,
        tablespace_map: TablespaceMap::Links,
        size_estimates: SizeEstimates::Omit,
        ..fast()
    };
    let mut backup = open(&cluster).await.base_backup(&options).await.unwrap();
    assert_eq!((backup.data_directory_kib(), backup.tablespaces()[0].size_kib), (None, None));
    let content = read(&mut backup).await.unwrap();
    assert!(!content.manifest_text().contains("Checksum-Algorithm"));
    let target = tempfile::tempdir().unwrap();
    unpack(&content.archives.last().unwrap().2, target.path());
    let label = fs::read_to_string(target.path().join("backup_label")).unwrap();
    assert!(label.contains("LABEL: it's \\ a \"label\"\n"), "{label}");
    assert!(!target.path().join("tablespace_map").exists());
    assert_eq!(
        fs::read_dir(target.path().join("pg_wal"))
            .unwrap()
            .filter(|entry| { entry.as_ref().unwrap().file_type().unwrap().is_file() })
            .count(),
        0,
        "no WAL"
    );
    assert_eq!(fs::read_dir(target.path().join("pg_tblspc")).unwrap().count(), 2, "two links");
}

#[tokio::test]
async fn max_rate_limits_the_rate() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    let options = Options { max_rate_kib: Some(10_240), ..fast() };
    let began = std::time::Instant::now();
    let (content, _) = back_up(open(&cluster).await, &options).await;
    let sent_mib = content.archives[0].2.len() / 1024 / 1024;
    let seconds = began.elapsed().as_secs_f64();
    assert!(sent_mib >= 20 && seconds > 0.8 * sent_mib as f64 / 10.0, "{sent_mib} MiB in {seconds} s");
}

#[tokio::test]
async fn dropping_a_backup_ends_it_on_the_server() {
    for version in versions() {
        let cluster = Cluster::start(&version, &[]);
        let options = Options { max_rate_kib: Some(1024), ..fast() };
        let mut backup = open(&cluster).await.base_backup(&options).await.unwrap();
        backup.next().await.unwrap();
        let count = "SELECT count(*) FROM pg_stat_progress_basebackup";
        assert_eq!(cluster.psql("postgres", count), "1");
        drop(backup);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while cluster.psql("postgres", count) != "0" {
            assert!(std::time::Instant::now() < deadline, "the server still sends the backup");
        }
    }
}

#[tokio::test]
async fn dropped_futures_lose_no_part() {
    let [_, version] = versions();
    let cluster = Cluster::start(&version, &[]);
    let mut backup = open(&cluster).await.base_backup(&fast()).await.unwrap();
    let mut content = Content::default();
    let mut dropped = 0;
    loop {
        // The future is dropped whenever it has to wait.
        tokio::select! {
            biased;
            event = backup.next() => match event.unwrap() {
                Some(event) => content.add(event),
                None => break,
            },
            () = tokio::task::yield_now() => dropped += 1,
        }
    }
    assert!(dropped > 0);
    let target = tempfile::tempdir().unwrap();
    restore(&content, target.path());
    run(Command::new(cluster.bin_dir().join("pg_verifybackup")).arg("-n").arg(target.path()));
}

#[tokio::test]
async fn unfinished_backups_have_no_end() {
    let [version, _] = versions();
    let cluster = Cluster::start(&version, &[]);
    let mut backup = open(&cluster).await.base_backup(&fast()).await.unwrap();
    backup.next().await.unwrap();
    assert!(backup.finish().is_err());
}
