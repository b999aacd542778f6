//! Programs of the user, and substitutes for LVM's programs, since no test machine has a device
//! mapper. The substitutes copy the files, and record their arguments.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use longshore_core::Kind;
use longshore_core::subject::Subject;
use longshore_testkit::cluster::{Cluster, Installation};
use longshore_testkit::loop_mount::LoopMount;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{expect_idle, snapshot_stage, take, take_fails};

/// A folder with programs, their records and their snapshots.
struct Programs(TempDir);

impl Programs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a program that records its arguments, and then runs `script`.
    fn write(&self, name: &str, script: &str) -> String {
        let path = self.path(name);
        let log = self.path("log");
        let text = format!("#!/bin/sh\necho \"{name} $*\" >> '{}'\nset -e\n{script}\n", log.display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Returns the recorded programs, without the stamps of snapshots and the temporary folders.
    fn log(&self, replaced: &[(&Path, &str)]) -> Vec<String> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let plain = |line: &str| {
            let mut line = line.to_owned();
            for (path, name) in replaced {
                line = line.replace(path.to_str().unwrap(), name);
            }
            match line.find("longshore-main-") {
                Some(_) => line
                    .split("longshore-main-")
                    .enumerate()
                    .map(|(index, part)| if index == 0 { part } else { part.get(16..).unwrap_or_default() })
                    .collect::<Vec<_>>()
                    .join("NAME"),
                None => line,
            }
        };
        log.lines().map(plain).collect()
    }

    /// Returns the names in the folder of mounts.
    fn mounts(&self) -> usize {
        fs::read_dir(self.path("mounts")).map_or(0, Iterator::count)
    }
}

/// Returns the mount point of the file system that contains a cluster.
fn mount_point(cluster: &Cluster) -> PathBuf {
    let device = |path: &Path| std::os::unix::fs::MetadataExt::dev(&fs::metadata(path).unwrap());
    let data = fs::canonicalize(cluster.data_dir()).unwrap();
    let own = device(&data);
    data.ancestors().take_while(|path| device(path) == own).last().unwrap().to_owned()
}

/// Returns the settings of programs that copy the data directory.
fn commands(programs: &Programs, cluster: &Cluster, create: &str) -> Value {
    let data = fs::canonicalize(cluster.data_dir()).unwrap();
    let inner = data.strip_prefix(mount_point(cluster)).unwrap().to_owned();
    let copies = programs.path("copies");
    let (data, copies, inner) = (data.display(), copies.display(), inner.display());
    json!({
        "checkpoint": "fast",
        "mount_dir": programs.path("mounts"),
        "timeout": "10s",
        "with": {
            "create": [programs.write("create", &format!("{create}\nmkdir -p '{copies}'\ncp -a '{data}' '{copies}/'$2")), "--now"],
            "mount": [programs.write("mount", &format!("mkdir -p \"$3\"/'{inner}'\ncp -a '{copies}/'$1/. \"$3\"/'{inner}'"))],
            "unmount": [programs.write("unmount", "find \"$3\" -mindepth 1 -delete")],
            "remove": [programs.write("remove", &format!("rm -rf '{copies}/'$1"))],
        },
    })
}

#[tokio::test]
async fn commands_of_the_owner_make_a_base_backup() {
    let cluster = Cluster::start(&Installation::of_major(17), &[]);
    let programs = Programs::new();
    let stage = snapshot_stage(&cluster, commands(&programs, &cluster, ""));
    let taken = take(&*stage).await.unwrap();
    taken.pg_verifybackup(&cluster);
    let volume = mount_point(&cluster);
    let mounts = programs.path("mounts");
    let log = programs.log(&[(&mounts, "MOUNTS")]);
    let volume = volume.display();
    let expected = [
        format!("create --now NAME {volume}"),
        format!("mount NAME {volume} MOUNTS/NAME/0"),
        format!("unmount NAME {volume} MOUNTS/NAME/0"),
        format!("remove NAME {volume}"),
    ];
    assert_eq!(log, expected);
    assert_eq!((programs.mounts(), fs::read_dir(programs.path("copies")).unwrap().count()), (0, 0));
}

#[tokio::test]
async fn failed_command_removes_the_snapshot() {
    let cluster = Cluster::start(&Installation::of_major(17), &[]);
    let programs = Programs::new();
    let create = "echo 'the account has no quota' >&2; exit 3";
    let error = take_fails(&*snapshot_stage(&cluster, commands(&programs, &cluster, create))).await;
    assert_eq!(error.kind(), Kind::Failed);
    assert!(error.chain().contains("exit status 3") && error.chain().contains("no quota"), "{}", error.chain());
    expect_idle(&cluster).await;
    for _ in 0..200 {
        if programs.mounts() == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(programs.mounts(), 0);
    assert!(programs.log(&[]).last().unwrap().starts_with("remove"));
}

#[tokio::test]
async fn lost_session_discards_the_snapshot() {
    let cluster = Cluster::start(&Installation::of_major(17), &[]);
    let programs = Programs::new();
    let psql = cluster.bin_dir().join("psql");
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'longshore'";
    let create = format!("'{}' -d '{}' -c \"{end}\"", psql.display(), cluster.connection());
    let error = take_fails(&*snapshot_stage(&cluster, commands(&programs, &cluster, &create))).await;
    assert!(error.chain().contains("session of the backup was lost"), "{}", error.chain());
    for _ in 0..200 {
        if programs.mounts() == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!((programs.mounts(), fs::read_dir(programs.path("copies")).unwrap().count()), (0, 0));
}

#[tokio::test]
async fn interrupted_mount_is_removed_by_the_next_run() {
    let cluster = Cluster::start(&Installation::of_major(17), &[]);
    let programs = Programs::new();
    let settings = commands(&programs, &cluster, "");
    // As after a power cut during the backup.
    fs::create_dir_all(programs.path("mounts/longshore-main-20260102T030405Z/0/rest")).unwrap();
    fs::create_dir_all(programs.path("copies/longshore-main-20260102T030405Z")).unwrap();
    let mut dumped = snapshot_stage(&cluster, settings).dump(&Subject::Base).await.unwrap();
    while let Some(chunk) = dumped.stream.next().await {
        chunk.unwrap();
    }
    let warnings = &dumped.notes.get().unwrap().warnings;
    assert!(warnings[0].contains("20260102T030405Z"), "{warnings:?}");
    assert_eq!((programs.mounts(), fs::read_dir(programs.path("copies")).unwrap().count()), (0, 0));
}

#[tokio::test]
async fn lvm_is_driven_by_its_programs() {
    let cluster = Cluster::start(&Installation::of_major(17), &[]);
    let programs = Programs::new();
    let data = fs::canonicalize(cluster.data_dir()).unwrap();
    let volume = mount_point(&cluster);
    let inner = data.strip_prefix(&volume).unwrap().to_owned();
    let copies = programs.path("copies");
    let (data, copies, inner) = (data.display(), copies.display(), inner.display());
    // The substitute for a mounted snapshot is a bind mount of the copy.
    programs.write("lvs", &format!("case $# in 1) test -d '{copies}/'\"${{1#*/}}\";; *) echo '  vg0/data';; esac"));
    programs.write("lvcreate", &format!("mkdir -p '{copies}/'$5/'{inner}'\ncp -a '{data}/.' '{copies}/'$5/'{inner}'"));
    programs.write("mount", &format!("/bin/mount --bind '{copies}/'\"${{3##*/}}\" \"$4\""));
    programs.write("umount", "/bin/umount \"$1\"");
    programs.write("lvremove", &format!("rm -rf '{copies}/'\"${{2#*/}}\""));
    let settings = json!({
        "with": "lvm",
        "size": "1G",
        "checkpoint": "fast",
        "mount_dir": programs.path("mounts"),
        "program_dir": programs.path(""),
    });
    let taken = take(&*snapshot_stage(&cluster, settings)).await.unwrap();
    taken.pg_verifybackup(&cluster);
    let mounts = programs.path("mounts");
    let log = programs.log(&[(&mounts, "MOUNTS")]);
    let made: Vec<_> = log.iter().filter(|line| !line.starts_with("lvs")).collect();
    let expected = [
        "lvcreate --snapshot --setactivationskip n --name NAME-0 --size 1G vg0/data",
        "mount -o ro /dev/vg0/NAME-0 MOUNTS/NAME/0",
        "umount MOUNTS/NAME/0",
        "lvremove --yes vg0/NAME-0",
    ];
    assert_eq!(made, expected);
    assert!(log[0].starts_with("lvs --noheadings --separator / --options vg_name,lv_name "), "{log:?}");
    assert_eq!((programs.mounts(), fs::read_dir(programs.path("copies")).unwrap().count()), (0, 0));
}

/// A cluster with a tablespace on another file system, and copies of both by substitutes.
struct TwoVolumes {
    cluster: Cluster,
    programs: Programs,
    /// The mount points: of the data directory, and of the tablespace.
    points: [PathBuf; 2],
    /// The folders of the cluster on them.
    folders: [PathBuf; 2],
    _mount: LoopMount,
}

impl TwoVolumes {
    fn new() -> Self {
        let mount = LoopMount::xfs();
        let cluster = Cluster::start(&Installation::of_major(17), &[]);
        let annex = mount.path().join("annex");
        fs::create_dir(&annex).unwrap();
        let owner = fs::metadata(cluster.data_dir()).unwrap();
        std::os::unix::fs::chown(&annex, Some(owner.uid()), Some(owner.gid())).unwrap();
        cluster.psql("postgres", &format!("create tablespace annex location '{}'", annex.display()));
        cluster.psql("postgres", "create table t tablespace annex as select generate_series(1, 9000) n");
        let data = fs::canonicalize(cluster.data_dir()).unwrap();
        let points = [mount_point(&cluster), fs::canonicalize(mount.path()).unwrap()];
        Self { cluster, programs: Programs::new(), points, folders: [data, annex], _mount: mount }
    }

    /// Returns a command that copies the volume of this number into a folder.
    fn copy(&self, number: usize, to: &str) -> String {
        let (point, folder) = (&self.points[number], &self.folders[number]);
        let inner = folder.strip_prefix(point).unwrap().display();
        format!("mkdir -p \"{to}\"/'{inner}'; cp -a '{}/.' \"{to}\"/'{inner}'", folder.display())
    }

    async fn expect_whole_backup(&self, settings: Value) {
        let taken = take(&*snapshot_stage(&self.cluster, settings)).await.unwrap();
        let facts = taken.facts();
        assert_eq!(facts.tablespaces.len(), 1);
        assert!(facts.tablespaces[0].bytes > 300_000, "{:?}", facts.tablespaces);
        taken.pg_verifybackup(&self.cluster);
        assert_eq!(self.programs.mounts(), 0);
        assert_eq!(fs::read_dir(self.programs.path("copies")).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn commands_get_all_volumes() {
    let volumes = TwoVolumes::new();
    let programs = &volumes.programs;
    let copies = programs.path("copies").display().to_string();
    let copy = |number: usize| volumes.copy(number, &format!("{copies}/$1/{number}"));
    let number = format!("case \"$2\" in '{}') n=1;; *) n=0;; esac", volumes.points[1].display());
    let settings = json!({
        "checkpoint": "fast",
        "mount_dir": programs.path("mounts"),
        "with": {
            "create": [programs.write("create", &format!("{}\n{}", copy(0), copy(1)))],
            "mount": [programs.write("mount", &format!("{number}\n/bin/mount --bind '{copies}/'$1/$n \"$3\""))],
            "unmount": [programs.write("unmount", "if mountpoint -q \"$3\"; then /bin/umount \"$3\"; fi")],
            "remove": [programs.write("remove", &format!("rm -rf '{copies}/'$1"))],
        },
    });
    volumes.expect_whole_backup(settings).await;
    let [data, annex] = volumes.points.each_ref().map(|point| point.display());
    let log = volumes.programs.log(&[(&volumes.programs.path("mounts"), "MOUNTS")]);
    let expected = [
        format!("create NAME {data} {annex}"),
        format!("mount NAME {data} MOUNTS/NAME/0"),
        format!("mount NAME {annex} MOUNTS/NAME/1"),
        format!("unmount NAME {annex} MOUNTS/NAME/1"),
        format!("unmount NAME {data} MOUNTS/NAME/0"),
        format!("remove NAME {data} {annex}"),
    ];
    assert_eq!(log, expected);
}

#[tokio::test]
async fn lvm_makes_a_snapshot_of_each_volume() {
    let volumes = TwoVolumes::new();
    let programs = &volumes.programs;
    let copies = programs.path("copies").display().to_string();
    let copy = |number: usize| volumes.copy(number, &format!("{copies}/$5"));
    // The last argument is a device, by which a logical volume is found.
    programs.write(
        "lvs",
        &format!(
            "case $# in 1) test -d '{copies}/'\"${{1#*/}}\";; *) for last; do :; done; case $last in /dev/loop*) echo '  vg0/annex';; *) echo '  vg0/data';; esac;; esac"
        ),
    );
    programs.write("lvcreate", &format!("case $5 in *-0) {};; *-1) {};; esac", copy(0), copy(1)));
    programs.write("mount", &format!("/bin/mount --bind '{copies}/'\"${{3##*/}}\" \"$4\""));
    programs.write("umount", "/bin/umount \"$1\"");
    programs.write("lvremove", &format!("rm -rf '{copies}/'\"${{2#*/}}\""));
    let settings = json!({
        "with": "lvm",
        "checkpoint": "fast",
        "mount_dir": programs.path("mounts"),
        "program_dir": programs.path(""),
    });
    volumes.expect_whole_backup(settings).await;
    let log = volumes.programs.log(&[(&volumes.programs.path("mounts"), "MOUNTS")]);
    let made: Vec<_> = log.iter().filter(|line| !line.starts_with("lvs")).collect();
    let expected = [
        "lvcreate --snapshot --setactivationskip n --name NAME-0 vg0/data",
        "lvcreate --snapshot --setactivationskip n --name NAME-1 vg0/annex",
        "mount -o ro /dev/vg0/NAME-0 MOUNTS/NAME/0",
        "mount -o ro,nouuid /dev/vg0/NAME-1 MOUNTS/NAME/1",
        "umount MOUNTS/NAME/1",
        "umount MOUNTS/NAME/0",
        "lvremove --yes vg0/NAME-0",
        "lvremove --yes vg0/NAME-1",
    ];
    assert_eq!(made, expected);
}

#[tokio::test]
async fn zfs_makes_snapshots_of_one_moment() {
    let volumes = TwoVolumes::new();
    let programs = &volumes.programs;
    let [data, annex] = volumes.points.each_ref().map(|point| {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mount = mounts.lines().rfind(|line| line.split(' ').nth(4) == point.to_str()).unwrap();
        mount.split(" - ").nth(1).unwrap().split(' ').nth(1).unwrap().to_owned()
    });
    let copies = programs.path("copies").display().to_string();
    let copy = |number: usize| volumes.copy(number, &format!("{copies}/$name/{number}"));
    let clones = programs.path("clones").display().to_string();
    let number = format!("case \"$dataset\" in '{annex}') n=1;; *) n=0;; esac");
    // A dataset has the name of the device that is mounted, and a clone that of its snapshot.
    programs.write(
        "zfs",
        &format!(
            "for last; do :; done
case $1 in
snapshot) name=${{2#*@}}; {}; {};;
clone) dataset=${{6%@*}}; name=${{6#*@}}; target=${{5#mountpoint=}}; {number}
    /bin/mount --bind '{copies}'/$name/$n \"$target\"; mkdir -p '{clones}/'\"$7\"; echo \"$target\" > '{clones}/'\"$7\"/target;;
destroy) case $last in
    *@*) dataset=${{last%@*}}; {number}; rm -rf '{copies}'/${{last#*@}}/$n; rmdir --ignore-fail-on-non-empty '{copies}'/${{last#*@}};;
    *) /bin/umount \"$(cat '{clones}/'$last/target)\"; rm -rf '{clones}/'$last;; esac;;
list) case $last in
    *@*) dataset=${{last%@*}}; {number}; test -d '{copies}'/${{last#*@}}/$n;;
    '{data}' | '{annex}') ;;
    *) test -d '{clones}/'$last;; esac;;
esac",
            copy(0),
            copy(1)
        ),
    );
    let settings = json!({
        "with": "zfs",
        "checkpoint": "fast",
        "mount_dir": programs.path("mounts"),
        "program_dir": programs.path(""),
    });
    volumes.expect_whole_backup(settings).await;
    let log = volumes.programs.log(&[(&volumes.programs.path("mounts"), "MOUNTS")]);
    let made: Vec<_> = log.iter().filter(|line| line.starts_with("zfs snapshot")).collect();
    assert_eq!(made, [&format!("zfs snapshot {data}@NAME {annex}@NAME")]);
}
