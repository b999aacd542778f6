//! Real WAL: the segments of two timelines of a cluster, and those of a copy that continued by
//! itself, with the same names.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::LazyLock;

use longshore_testkit::cluster::{Cluster, Installation, NewFolder};

/// The number of finished segments of each history.
const SEGMENTS: usize = 8;

/// The size of a segment in bytes: the smallest one.
pub(super) const SEGMENT_BYTES: usize = 1 << 20;

/// The names and contents of files in `pg_wal`.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

pub(super) struct Source {
    /// The control file of each timeline.
    pub(super) control: [Vec<u8>; 2],
    /// The finished segments of both timelines, and the history of the second one.
    pub(super) files: Files,
    /// The segments of the copy.
    pub(super) others: Files,
}

pub(super) static SOURCE: LazyLock<Source> = LazyLock::new(|| {
    let (installation, settings) = (Installation::newer(), ["wal_level=replica", "wal_keep_size=1GB"]);
    let cluster = Cluster::start_with_segments(&installation, 1, &settings);
    let folder = NewFolder::new();
    let copied = Command::new("cp").arg("-a").arg(cluster.data_dir()).arg(folder.data_dir()).status().unwrap();
    assert!(copied.success());
    fs::remove_file(folder.data_dir().join("postmaster.pid")).unwrap();
    let standby = cluster.start_standby(&settings);
    let control = |cluster: &Cluster| {
        cluster.psql("postgres", "checkpoint");
        fs::read(cluster.data_dir().join("global/pg_control")).unwrap()
    };
    let mut files = finish_segments(&cluster);
    let first = control(&cluster);
    let end = cluster.psql("postgres", "select pg_current_wal_lsn()");
    while standby.psql("postgres", &format!("select pg_last_wal_replay_lsn() >= '{end}'")) != "t" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(cluster);
    standby.psql("postgres", "select pg_promote()");
    files.extend(finish_segments(&standby));
    let history = fs::read(standby.data_dir().join("pg_wal/00000002.history")).unwrap();
    files.insert("00000002.history".to_owned(), history);
    let control = [first, control(&standby)];
    drop(standby);
    let copy = Cluster::start_on(folder, &installation, &["wal_keep_size=1GB"]);
    let others = finish_segments(&copy);
    Source { control, files, others }
});

/// Finishes segments, and returns them.
fn finish_segments(cluster: &Cluster) -> Files {
    let finish = || {
        let name = cluster.psql("postgres", "select pg_walfile_name(pg_create_restore_point('segment'))");
        cluster.psql("postgres", "select pg_switch_wal()");
        name
    };
    let names: Vec<String> = (0..SEGMENTS).map(|_| finish()).collect();
    let wal = cluster.data_dir().join("pg_wal");
    names.into_iter().map(|name| (name.clone(), fs::read(wal.join(name)).unwrap())).collect()
}

impl Source {
    /// Returns the files of the first timeline.
    pub(super) fn first_timeline(&self) -> impl Iterator<Item = (&String, &Vec<u8>)> {
        self.files.iter().filter(|(name, _)| name.starts_with("00000001"))
    }
}
