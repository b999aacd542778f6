//! Received WAL is archived within seconds, and reported to the server only once it is durable.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use longshore_testkit::cluster::{Cluster, Installation, NewFolder};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{ArchiveEnv, wait_for};

/// The settings of a receiver that stores the unfinished segment after a second.
const SOON: [&str; 3] = ["--create-slot", "--partial-every", "1s"];

/// A running receiver. Dropping it kills it.
struct Receiver {
    child: Child,
    output: Arc<Mutex<String>>,
}

impl Receiver {
    fn start(archive: &ArchiveEnv, arguments: &[&str]) -> Self {
        let mut command = archive.command(&archive.env.path(""));
        command.args(["wal", "receive"]).args(arguments).stdin(Stdio::null()).stderr(Stdio::piped());
        // As in the service that the manual describes: else each thread keeps freed memory.
        command.env("MALLOC_ARENA_MAX", "1");
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&output);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *written.lock().unwrap() += &(line + "\n");
            }
        });
        Self { child, output }
    }

    fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits until the receiver has printed these words.
    fn wait_for(&self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.output().contains(words) {
            assert!(Instant::now() < deadline, "{words:?} not in\n{}", self.output());
            thread::sleep(Duration::from_millis(25));
        }
    }

    /// Waits for the end of the receiver, and returns its exit code and output.
    fn finish(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, self.output())
    }

    /// Sends a signal, and waits for the end.
    fn stop(self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.finish()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // The receiver may have ended.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// Starts a cluster that does not archive by itself, with a base backup and a table.
fn source(settings: &[&str]) -> ArchiveEnv {
    let settings = [&["archive_mode=off"], settings].concat();
    let archive = ArchiveEnv::without_command(&Installation::newer(), &settings);
    archive.configure("");
    archive.env.cluster.psql("postgres", "create table ledger (i int)");
    archive
}

/// Inserts a row. Returns the position after its commit.
fn insert(cluster: &Cluster, row: u32) -> String {
    // Without the wait for a flush, a commit is durable within three times wal_writer_delay.
    cluster.psql("postgres", &format!("set synchronous_commit = on; insert into ledger values ({row})"));
    cluster.psql("postgres", "select pg_current_wal_flush_lsn()")
}

/// Waits until the server knows that a position is durable at the receiver.
fn wait_until_flushed(cluster: &Cluster, position: &str) {
    let query =
        format!("select flush_lsn >= '{position}' from pg_stat_replication where application_name = 'longshore'");
    wait_for(&format!("{position} to be reported"), || (cluster.psql("postgres", &query) == "t").then_some(()));
}

/// Recovers the newest backup to the end of the archive, and returns the rows.
fn recovered_rows(archive: &ArchiveEnv) -> String {
    let folder = NewFolder::new();
    let data_dir = folder.data_dir().display().to_string();
    let identity = archive.env.identity().display().to_string();
    let restore = ["restore", "main", "--base", "--at", "latest", "--to-dir", &data_dir, "-i", &identity];
    archive.longshore(&restore).expect(0);
    let cluster = Cluster::start_on(folder, &Installation::newer(), &[]);
    wait_for("the end of recovery", || (cluster.psql("postgres", "select pg_is_in_recovery()") == "f").then_some(()));
    cluster.psql("postgres", "select coalesce(string_agg(i::text, ' ' order by i), '') from ledger")
}

/// Ends the current segment. Returns its name.
fn switch(cluster: &Cluster) -> String {
    let name = cluster.psql("postgres", "select pg_walfile_name(pg_current_wal_lsn())");
    cluster.psql("postgres", "select pg_switch_wal()");
    name
}

fn wait_until_archived(archive: &ArchiveEnv, name: &str) {
    wait_for(&format!("{name} to be archived"), || {
        archive.archived("local").iter().any(|file| file.contains(&format!("/{name}-"))).then_some(())
    });
}

#[test]
fn committed_rows_survive_the_loss_of_the_server() {
    let archive = source(&[]);
    let receiver = Receiver::start(&archive, &SOON);
    receiver.wait_for("receiving WAL from");
    archive.longshore(&["run"]).expect(0);
    let cluster = &archive.env.cluster;
    insert(cluster, 1);
    let name = switch(cluster);
    wait_until_archived(&archive, &name);
    for row in 2..=4 {
        let position = insert(cluster, row);
        wait_until_flushed(cluster, &position);
    }
    // The server and its disk are lost.
    let process_id = fs::read_to_string(cluster.data_dir().join("postmaster.pid")).unwrap();
    let process_id = Pid::from_raw(process_id.lines().next().unwrap().parse().unwrap()).unwrap();
    kill_process(process_id, Signal::KILL).unwrap();
    fs::remove_dir_all(cluster.data_dir().join("pg_wal")).unwrap();
    receiver.wait_for("the receiver connects again");
    let (code, output) = receiver.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(recovered_rows(&archive), "1 2 3 4");
    archive.longshore(&["wal", "status"]).expect(0);
}

#[test]
fn only_durable_wal_is_reported() {
    let archive = source(&["wal_sender_timeout=3s"]);
    let receiver = Receiver::start(&archive, &SOON);
    let cluster = &archive.env.cluster;
    let before = insert(cluster, 1);
    wait_until_flushed(cluster, &before);
    let reported = || cluster.psql("postgres", "select flush_lsn from pg_stat_replication");
    let local = archive.env.local();
    let away = local.with_extension("away");
    fs::rename(&local, &away).unwrap();
    let position = insert(cluster, 2);
    receiver.wait_for("tries again until it succeeds");
    let restart = "select restart_lsn <= (select flush_lsn from pg_stat_replication) from pg_replication_slots";
    let query = format!("select flush_lsn < '{position}' from pg_stat_replication");
    // Reports continue meanwhile.
    let replied = "select reply_time from pg_stat_replication";
    let first = cluster.psql("postgres", replied);
    wait_for("another report", || (cluster.psql("postgres", replied) != first).then_some(()));
    assert_eq!(cluster.psql("postgres", &query), "t", "{} of {position}", reported());
    assert_eq!(cluster.psql("postgres", restart), "t");
    fs::rename(&away, &local).unwrap();
    wait_until_flushed(cluster, &position);
    receiver.wait_for("stores WAL again");
    let (code, output) = receiver.stop(Signal::INT);
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(output.matches("error:").count(), 1, "{output}");
}

#[test]
fn synchronous_commit_waits_for_the_archive() {
    let archive = source(&["synchronous_standby_names=longshore"]);
    let receiver = Receiver::start(&archive, &["--create-slot", "--synchronous"]);
    let cluster = &archive.env.cluster;
    let commit = |row: u32| {
        let statement = format!("set synchronous_commit = on; insert into ledger values ({row})");
        let begun = Instant::now();
        cluster.psql("postgres", &statement);
        begun.elapsed()
    };
    commit(1);
    let local = archive.env.local();
    let away = local.with_extension("away");
    fs::rename(&local, &away).unwrap();
    let waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
    thread::scope(|scope| {
        let committed = scope.spawn(|| commit(2));
        wait_for("the commit to wait", || (cluster.psql("postgres", waiting) == "1").then_some(()));
        receiver.wait_for("tries again until it succeeds");
        assert_eq!(cluster.psql("postgres", waiting), "1");
        assert!(!committed.is_finished());
        fs::rename(&away, &local).unwrap();
        committed.join().unwrap();
    });
    // Transactions that commit at the same time share a file.
    let before = archive.archived("local").len();
    thread::scope(|scope| {
        (3..23).map(|row| scope.spawn(move || commit(row))).for_each(drop);
    });
    let files = archive.archived("local").len() - before;
    assert!((1..=20).contains(&files), "{files}");
    assert_eq!(receiver.stop(Signal::TERM).0, Some(0));
}

#[test]
fn promotion_is_followed() {
    let archive = source(&["full_page_writes=on"]);
    let standby = archive.env.cluster.start_standby(&["full_page_writes=on"]);
    // The configuration names the standby.
    let config = fs::read_to_string(archive.env.config_path()).unwrap();
    let config = config.replace(&archive.env.cluster.connection(), &standby.connection());
    fs::write(archive.env.config_path(), config).unwrap();
    archive.give_files();
    let receiver = Receiver::start(&archive, &SOON);
    receiver.wait_for("receiving WAL from 00000001");
    archive.longshore(&["run"]).expect(0);
    let position = insert(&archive.env.cluster, 1);
    wait_until_flushed(&standby, &position);
    standby.psql("postgres", "select pg_promote()");
    receiver.wait_for("where timeline 2 begins");
    let position = insert(&standby, 2);
    wait_until_flushed(&standby, &position);
    let archived = archive.archived("local");
    assert!(archived.iter().any(|file| file.contains("/00000002.history-")), "{archived:?}");
    let is_partial = |file: &String| file.contains("/00000001") && file.contains(".partial-");
    assert!(archived.iter().any(is_partial), "{archived:?}");
    assert_eq!(recovered_rows(&archive), "1 2");
    let name = switch(&standby);
    wait_until_archived(&archive, &name);
    assert_eq!(receiver.stop(Signal::TERM).0, Some(0));
    assert_eq!(recovered_rows(&archive), "1 2");
}

#[test]
fn second_receiver_waits_for_the_slot() {
    let archive = source(&[]);
    let first = Receiver::start(&archive, &SOON);
    first.wait_for("receiving WAL from");
    let second = Receiver::start(&archive, &SOON);
    second.wait_for("is active for PID");
    // It tries again meanwhile, and reports nothing more.
    thread::sleep(Duration::from_secs(4));
    assert_eq!(first.stop(Signal::TERM).0, Some(0));
    second.wait_for("receiving WAL from");
    let (code, output) = second.stop(Signal::TERM);
    assert_eq!((code, output.matches("is active for PID").count()), (Some(0), 1), "{output}");
}

#[test]
fn beginnings_of_whole_segments_are_pruned() {
    let archive = source(&[]);
    let receiver = Receiver::start(&archive, &SOON);
    archive.longshore(&["run"]).expect(0);
    let cluster = &archive.env.cluster;
    let partials = |of: &str| {
        let name = format!("/{of}.partial-");
        archive.archived("local").iter().filter(|file| file.contains(&name)).count()
    };
    let position = insert(cluster, 1);
    wait_until_flushed(cluster, &position);
    let first = switch(cluster);
    wait_until_archived(&archive, &first);
    assert!(partials(&first) > 0);
    let position = insert(cluster, 2);
    wait_until_flushed(cluster, &position);
    let second = switch(cluster);
    wait_until_archived(&archive, &second);
    assert_eq!(receiver.stop(Signal::TERM).0, Some(0));
    archive.longshore(&["prune"]).expect(0).shows(&format!("{first}.partial"));
    assert_eq!(partials(&first), 0);
    // The last segment may have no successor: its beginning stays beside it.
    assert!(partials(&second) > 0);
    assert_eq!(recovered_rows(&archive), "1 2");
}

#[test]
fn lost_slot_is_an_error_with_a_way_out() {
    let archive = source(&[]);
    archive.set("alter system set max_slot_wal_keep_size = '1MB'");
    let cluster = &archive.env.cluster;
    let missing = archive.longshore(&["wal", "receive"]).expect(2);
    missing.shows("does not exist on the server").shows("--create-slot");
    let receiver = Receiver::start(&archive, &SOON);
    insert(cluster, 1);
    let archived = switch(cluster);
    wait_until_archived(&archive, &archived);
    assert_eq!(receiver.stop(Signal::TERM).0, Some(0));
    for row in 2..6 {
        insert(cluster, row);
        switch(cluster);
    }
    cluster.psql("postgres", "checkpoint");
    assert_eq!(cluster.psql("postgres", "select wal_status from pg_replication_slots"), "lost");
    let lost = archive.longshore(&["wal", "receive"]).expect(2);
    lost.shows("does not have the WAL").shows("pg_drop_replication_slot('longshore')").shows("base backup");
    // The way out works, and the gap is named.
    archive.set("alter system reset max_slot_wal_keep_size");
    cluster.psql("postgres", "select pg_drop_replication_slot('longshore')");
    let receiver = Receiver::start(&archive, &SOON);
    receiver.wait_for("the archive has a gap");
    receiver.wait_for("are missing, from 00000001");
    let position = insert(cluster, 7);
    wait_until_flushed(cluster, &position);
    archive.longshore(&["run"]).expect(0);
    let position = insert(cluster, 8);
    wait_until_flushed(cluster, &position);
    assert_eq!(receiver.stop(Signal::TERM).0, Some(0));
    assert_eq!(recovered_rows(&archive), "1 2 3 4 5 7 8");
}

#[test]
fn idle_server_stays_healthy() {
    let archive = source(&["wal_sender_timeout=1s"]);
    let receiver = Receiver::start(&archive, &SOON);
    let cluster = &archive.env.cluster;
    let position = insert(cluster, 1);
    wait_until_flushed(cluster, &position);
    let process = "select pid from pg_stat_replication where state = 'streaming'";
    let process_id = cluster.psql("postgres", process);
    let files = archive.archived("local").len();
    // A receiver that answers nothing is disconnected after a second.
    thread::sleep(Duration::from_secs(4));
    assert_eq!(cluster.psql("postgres", process), process_id);
    assert!(archive.archived("local").len() <= files + 1, "an idle server has no WAL");
    let (code, output) = receiver.stop(Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(!output.contains("error"), "{output}");
    assert!(!cluster.log().contains("unexpected EOF"), "{}", cluster.log());
}

#[test]
fn killed_receiver_continues_without_a_gap() {
    let archive = source(&[]);
    archive.longshore(&["run"]).expect(0);
    let cluster = &archive.env.cluster;
    for row in 1..=4 {
        let receiver = Receiver::start(&archive, &SOON);
        receiver.wait_for("receiving WAL from");
        insert(cluster, row);
        if row % 2 == 0 {
            let name = switch(cluster);
            insert(cluster, row + 10);
            wait_until_archived(&archive, &name);
        }
        assert_eq!(receiver.stop(Signal::KILL).0, None);
        switch(cluster);
        insert(cluster, row + 20);
    }
    let receiver = Receiver::start(&archive, &SOON);
    let position = insert(cluster, 30);
    wait_until_flushed(cluster, &position);
    let (code, output) = receiver.stop(Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(!output.contains("gap"), "{output}");
    archive.longshore(&["wal", "status"]).expect(0);
    assert_eq!(recovered_rows(&archive), "1 2 3 4 12 14 21 22 23 24 30");
}

#[test]
fn receiver_and_archive_command_run_at_once() {
    let archive = ArchiveEnv::start(&Installation::newer(), &[]);
    let cluster = &archive.env.cluster;
    cluster.psql("postgres", "create table ledger (i int)");
    let receiver = Receiver::start(&archive, &SOON);
    receiver.wait_for("receiving WAL from");
    archive.longshore(&["run"]).expect(0);
    for row in 1..=5 {
        insert(cluster, row);
        archive.archive();
    }
    let position = insert(cluster, 6);
    wait_until_flushed(cluster, &position);
    assert_eq!(cluster.psql("postgres", "select failed_count from pg_stat_archiver"), "0");
    let (code, output) = receiver.stop(Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(!output.contains("error"), "{output}");
    let segments: Vec<String> =
        archive.archived("local").into_iter().filter(|file| !file.contains(".partial")).collect();
    let mut names: Vec<&str> = segments.iter().filter_map(|file| file.split('-').next()).collect();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "each segment is archived once");
    archive.longshore(&["wal", "status"]).expect(0);
    assert_eq!(recovered_rows(&archive), "1 2 3 4 5 6");
}

#[test]
fn restarted_server_is_received_from_again() {
    let archive = source(&[]);
    let receiver = Receiver::start(&archive, &SOON);
    let cluster = &archive.env.cluster;
    let position = insert(cluster, 1);
    wait_until_flushed(cluster, &position);
    cluster.psql("postgres", "select pg_terminate_backend(pid) from pg_stat_replication");
    receiver.wait_for("connected again");
    let position = insert(cluster, 2);
    wait_until_flushed(cluster, &position);
    let (code, output) = receiver.stop(Signal::TERM);
    assert_eq!(code, Some(0));
    assert_eq!(output.matches("error:").count(), 1, "{output}");
}

#[test]
fn shutdown_waits_for_the_archive_only() {
    let archive = source(&[]);
    archive.longshore(&["run"]).expect(0);
    let receiver = Receiver::start(&archive, &["--create-slot", "--partial-every", "1h"]);
    receiver.wait_for("receiving WAL from");
    let cluster = &archive.env.cluster;
    insert(cluster, 1);
    let postmaster = cluster.data_dir().join("postmaster.pid");
    let process_id = fs::read_to_string(&postmaster).unwrap();
    let process_id = Pid::from_raw(process_id.lines().next().unwrap().parse().unwrap()).unwrap();
    kill_process(process_id, Signal::INT).unwrap();
    wait_for("the server to stop", || (!postmaster.exists()).then_some(()));
    assert_eq!(receiver.stop(Signal::TERM).0, Some(0));
    assert_eq!(recovered_rows(&archive), "1");
}

#[test]
fn check_accepts_a_receiver_without_archive_command() {
    let archive = source(&[]);
    archive.longshore(&["check"]).expect(2).shows("archive_mode = off");
    let receiver = Receiver::start(&archive, &SOON);
    receiver.wait_for("receiving WAL from");
    archive.longshore(&["check"]).shows("is archived at").omits("archive_mode");
    assert_eq!(receiver.stop(Signal::TERM).0, Some(0));
}

/// Returns the most memory that a receiver has used.
fn peak_kib(receiver: &Receiver) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", receiver.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_is_bounded_while_segments_are_received() {
    let archive = source(&[]);
    let receiver = Receiver::start(&archive, &SOON);
    receiver.wait_for("receiving WAL from");
    let cluster = &archive.env.cluster;
    let idle_kib = peak_kib(&receiver);
    // Random text is hardly smaller when it is compressed.
    let rows =
        "insert into noise select md5(i::text || random()) || md5(random()::text) from generate_series(1, 400000) i";
    cluster.psql("postgres", &format!("create table noise (t text); {rows}; {rows}"));
    let position = insert(cluster, 1);
    wait_until_flushed(cluster, &position);
    let wal_bytes = cluster.psql("postgres", "select pg_current_wal_lsn() - '0/0'");
    assert!(wal_bytes.parse::<u64>().unwrap() > 100 << 20, "{wal_bytes}");
    let busy_kib = peak_kib(&receiver);
    assert!(busy_kib < idle_kib + (64 << 10), "{idle_kib} KiB, then {busy_kib} KiB");
    assert_eq!(receiver.stop(Signal::TERM).0, Some(0));
}
