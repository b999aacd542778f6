//! Backups of real servers, and the verdict of PostgreSQL's own program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use longshore_pg_base::merge::Merge;
use longshore_testkit::cluster::{Cluster, Installation};
use tempfile::TempDir;

use super::tar::Member;

/// A cluster with a tablespace, tables in both, and a database of its own.
pub(crate) struct Source {
    pub(crate) cluster: Cluster,
    /// The folder of the tablespace.
    pub(crate) tablespace: TempDir,
}

/// A backup in the form of `pg_basebackup --format=tar`.
pub(crate) struct Backup {
    /// The archives of tablespaces by OID, `base.tar` last.
    pub(crate) archives: Vec<(Option<u32>, Vec<u8>)>,
    pub(crate) manifest: Vec<u8>,
}

impl Source {
    pub(crate) fn start(installation: &Installation, settings: &[&str]) -> Self {
        let settings: Vec<&str> = settings.iter().copied().chain(["wal_level=replica", "max_wal_senders=4"]).collect();
        let cluster = Cluster::start(installation, &settings);
        let tablespace = tempfile::tempdir().unwrap();
        give_to_postgres(tablespace.path());
        let place = tablespace.path().display();
        cluster.psql("postgres", &format!("CREATE TABLESPACE outer_space LOCATION '{place}';"));
        cluster.psql(
            "postgres",
            "CREATE TABLE stars TABLESPACE outer_space AS SELECT n, repeat('x', 100) FROM generate_series(1, 5000) n;
             CREATE TABLE things AS SELECT n, md5(n::text) FROM generate_series(1, 5000) n;
             CREATE UNLOGGED TABLE fleeting (n int); CREATE INDEX ON things (n); VACUUM; CHECKPOINT;",
        );
        Self { cluster, tablespace }
    }

    /// Takes a backup through `pg_basebackup`.
    pub(crate) fn back_up(&self, options: &[&str]) -> Backup {
        back_up(&self.cluster, options)
    }
}

/// Takes a backup through `pg_basebackup`.
pub(crate) fn back_up(cluster: &Cluster, options: &[&str]) -> Backup {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(cluster.bin_dir().join("pg_basebackup"))
        .args(["-d", &cluster.connection(), "-Ft", "--checkpoint=fast", "--no-sync", "-l", "evening, full", "-D"])
        .arg(folder.path())
        .args(options)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut archives: Vec<(Option<u32>, Vec<u8>)> = names
        .filter(|name| name != "backup_manifest")
        .map(|name| (name.strip_suffix(".tar").unwrap().parse().ok(), fs::read(folder.path().join(&name)).unwrap()))
        .collect();
    archives.sort_by_key(|(oid, _)| (oid.is_none(), *oid));
    Backup { archives, manifest: fs::read(folder.path().join("backup_manifest")).unwrap() }
}

impl Backup {
    /// Merges the archives in pieces of 32 KiB, as a server sends them.
    pub(crate) fn merged(&self) -> Vec<u8> {
        let (mut merge, mut out) = (Merge::new(), Vec::new());
        for (oid, archive) in &self.archives {
            merge.begin_archive(*oid).unwrap();
            archive.chunks(32 << 10).for_each(|piece| out.extend(merge.push(Bytes::copy_from_slice(piece)).unwrap()));
            merge.end_archive().unwrap();
        }
        out.push(merge.manifest_header(self.manifest.len() as u64).unwrap());
        out.extend(merge.push(Bytes::copy_from_slice(&self.manifest)).unwrap());
        out.push(merge.finish().unwrap());
        out.concat()
    }
}

fn give_to_postgres(folder: &Path) {
    // Fails if tests do not run as root; the server then runs as the same user.
    Command::new("chown").arg("postgres:postgres").arg(folder).output().unwrap();
}

/// A data directory made of an archive's members.
pub(crate) struct Unpacked {
    folder: TempDir,
    members: Vec<Member>,
    verifier: PathBuf,
}

impl Unpacked {
    pub(crate) fn new(installation: &Installation, members: &[Member]) -> Self {
        let unpacked = Self {
            folder: tempfile::tempdir().unwrap(),
            members: members.to_vec(),
            verifier: installation.program("pg_verifybackup"),
        };
        members.iter().for_each(|member| unpacked.write(member));
        unpacked
    }

    /// Makes the directory like an archive of other members, runs `pg_verifybackup`, and restores
    /// the directory. Returns true if the program found nothing wrong.
    pub(crate) fn is_intact_with(&self, members: &[Member]) -> bool {
        let gone = |from: &[Member], to: &[Member]| -> Vec<Member> {
            from.iter().filter(|member| !to.contains(member)).cloned().collect()
        };
        let (removed, added) = (gone(&self.members, members), gone(members, &self.members));
        removed.iter().for_each(|member| self.remove(member));
        added.iter().for_each(|member| self.write(member));
        let output = Command::new(&self.verifier).args(["-n", "-q"]).arg(self.folder.path()).output().unwrap();
        added.iter().for_each(|member| self.remove(member));
        removed.iter().for_each(|member| self.write(member));
        output.status.success()
    }

    fn write(&self, member: &Member) {
        let path = self.folder.path().join(&member.path);
        if member.is_directory() {
            return fs::create_dir_all(path).unwrap();
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &member.content).unwrap();
    }

    fn remove(&self, member: &Member) {
        if !member.is_directory() {
            fs::remove_file(self.folder.path().join(&member.path)).unwrap();
        }
    }
}
