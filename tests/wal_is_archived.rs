//! Success of `wal push` means that the file is stored at every required destination.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use longshore_testkit::cluster::{Cluster, Installation};
use longshore_testkit::garage::{Garage, Permission};

use crate::support::{ArchiveEnv, Job, file_with, files, finish, wait_for};

/// Returns the name of a segment that the server has finished and that is not archived.
fn finished_segment(archive: &ArchiveEnv) -> String {
    archive.env.cluster.psql("postgres", "create table if not exists t (i int); insert into t values (1)");
    archive.switch()
}

#[test]
fn server_archives_with_the_binary() {
    let archive = ArchiveEnv::start(&Installation::newer(), &[]);
    let first = archive.archive();
    let second = archive.archive();
    let archived = archive.archived("local");
    for name in [&first, &second] {
        assert!(archived.iter().any(|file| file.contains(&format!("/{name}-"))), "{name}: {archived:?}");
    }
    assert!(archived.iter().all(|file| file.ends_with(".zst.age")), "{archived:?}");
    assert_eq!(archive.env.cluster.psql("postgres", "select failed_count from pg_stat_archiver"), "0");
    archive.longshore(&["wal", "status"]).expect(0).stdout_shows(&second[8..]);
    // Without a base backup, nothing but the files has the size of a segment.
    let identity = archive.env.identity().display().to_string();
    archive.longshore(&["verify", "main/wal", "-i", &identity]).expect(0).omits("damaged");
    // WAL is neither a backup nor a leftover of one.
    archive.longshore(&["list"]).expect(0).omits("belong");
}

#[test]
fn repeated_push_succeeds_with_write_only_credentials() {
    let garage = Garage::start();
    let archive = ArchiveEnv::without_command(&Installation::newer(), &[]);
    let bucket = archive.env.in_bucket(&garage, "wal", Permission::Write, "");
    let more = format!(
        "[cluster.main.wal]\nship = ['offsite']\nencrypt = {{ type = 'age', recipients = ['{}'] }}\n",
        archive.env.recipient()
    );
    archive.configure_job(&Job { remote: &[("offsite", bucket)], more: &more, ..Job::default() });
    let path = format!("pg_wal/{}", finished_segment(&archive));
    archive.in_data_dir(&["wal", "push", &path]).expect(0);
    archive.in_data_dir(&["wal", "push", &path]).expect(0);
}

#[test]
fn other_content_of_the_same_name_is_refused() {
    let archive = ArchiveEnv::without_command(&Installation::newer(), &[]);
    archive.configure("");
    let name = finished_segment(&archive);
    let path = format!("pg_wal/{name}");
    archive.in_data_dir(&["wal", "push", &path]).expect(0);
    let before = archive.archived("local");

    // A server that was copied writes other WAL under the same name.
    let other = fs::read(archive.env.cluster.data_dir().join(&path)).unwrap();
    let mut other = other[..other.len()].to_vec();
    let end = other.len() - 1;
    other[end] ^= 1;
    fs::write(archive.env.cluster.data_dir().join(&path), &other).unwrap();
    let refused = archive.in_data_dir(&["wal", "push", &path]).expect(1);
    let digest = before.iter().find_map(|file| file.rsplit('-').next()?.split('.').next()).unwrap();
    refused.shows("another file of this name").shows(digest).shows("this file has the digest");
    assert_eq!(archive.archived("local"), before, "nothing is overwritten");
}

#[test]
fn foreign_segments_are_refused() {
    let archive = ArchiveEnv::without_command(&Installation::newer(), &[]);
    archive.configure("");
    let name = finished_segment(&archive);
    let wal = archive.env.cluster.data_dir().join("pg_wal");
    let content = fs::read(wal.join(&name)).unwrap();

    let foreign = Cluster::start(&Installation::newer(), &[]);
    let walfile = foreign.psql("postgres", "select pg_walfile_name(pg_current_wal_lsn())");
    let foreign_segment = fs::read(foreign.data_dir().join("pg_wal").join(walfile)).unwrap();
    let recycled = "0000000100000000000000F0";
    for (file, bytes, reason) in [
        (name.as_str(), foreign_segment, "of the cluster with system identifier"),
        (name.as_str(), content[..content.len() / 2].to_vec(), "the size of a segment"),
        (recycled, content, "another segment than that of its name"),
    ] {
        fs::write(wal.join(file), bytes).unwrap();
        fs::set_permissions(wal.join(file), fs::Permissions::from_mode(0o644)).unwrap();
        archive.in_data_dir(&["wal", "push", &format!("pg_wal/{file}")]).expect(1).shows(reason);
    }
    assert_eq!(archive.archived("local"), Vec::<String>::new());
}

#[test]
fn damaged_segment_is_stored_with_a_warning() {
    let archive = ArchiveEnv::without_command(&Installation::newer(), &[]);
    archive.configure("");
    let name = finished_segment(&archive);
    let path = archive.env.cluster.data_dir().join("pg_wal").join(&name);
    let mut content = fs::read(&path).unwrap();
    content[8192 + 40..8192 + 60].fill(0xA5);
    fs::write(&path, content).unwrap();
    let pushed = archive.in_data_dir(&["wal", "push", &format!("pg_wal/{name}")]).expect(0);
    pushed.shows("recovery would end there").shows("make a base backup");
    assert_eq!(archive.archived("local").len(), 1);
}

#[test]
fn first_segment_of_a_new_timeline_is_archived() {
    let archive = ArchiveEnv::start(&Installation::newer(), &[]);
    archive.archive();
    let archive_command = format!("archive_command={}", archive.archive_command());
    let standby = archive.env.cluster.start_standby(&["archive_mode=on", &archive_command]);
    standby.psql("postgres", "select pg_promote()");
    standby.psql("postgres", "select pg_switch_wal()");
    wait_for("the history and the first segment of timeline 2", || {
        let archived = archive.archived("local");
        let has = |start: &str| archived.iter().any(|file| file.rsplit('/').next().unwrap().starts_with(start));
        (has("00000002.history-") && has("00000002000000")).then_some(())
    });
    assert_eq!(standby.psql("postgres", "select failed_count from pg_stat_archiver"), "0");
}

#[test]
fn empty_backup_history_file_is_archived() {
    let archive = ArchiveEnv::without_command(&Installation::newer(), &[]);
    archive.configure("");
    let file = "pg_wal/000000010000000000000002.00000028.backup";
    fs::write(archive.env.cluster.data_dir().join(file), "").unwrap();
    archive.in_data_dir(&["wal", "push", file]).expect(0);
    fs::write(archive.env.cluster.data_dir().join(file), "START WAL LOCATION: 0/2000028\n").unwrap();
    archive.in_data_dir(&["wal", "push", file]).expect(0);
    assert_eq!(archive.archived("local").len(), 2);
}

#[test]
fn segments_are_stored_ahead_and_acknowledged_by_digest() {
    let archive = ArchiveEnv::without_command(&Installation::newer(), &[]);
    archive.configure("");
    let names: Vec<String> = (0..4).map(|_| finished_segment(&archive)).collect();
    archive.in_data_dir(&["wal", "push", &format!("pg_wal/{}", names[0])]).expect(0);
    let archived = archive.archived("local");
    assert!(names.iter().all(|name| archived.iter().any(|file| file.contains(name.as_str()))), "{archived:?}");

    // The destination is not needed for what it has.
    let local = archive.env.local();
    fs::rename(&local, local.with_extension("away")).unwrap();
    archive.in_data_dir(&["wal", "push", &format!("pg_wal/{}", names[1])]).expect(0);
    // A name that PostgreSQL uses again, after a restore, is not acknowledged for its old content.
    let path = archive.env.cluster.data_dir().join("pg_wal").join(&names[2]);
    let mut content = fs::read(&path).unwrap();
    let end = content.len() - 1;
    content[end] ^= 1;
    fs::write(&path, content).unwrap();
    archive.in_data_dir(&["wal", "push", &format!("pg_wal/{}", names[2])]).expect(1);
    fs::rename(local.with_extension("away"), &local).unwrap();
    archive.in_data_dir(&["wal", "push", &format!("pg_wal/{}", names[2])]).expect(1).shows("another file of this name");
}

#[test]
fn required_destinations_decide() {
    let archive = ArchiveEnv::without_command(&Installation::newer(), &[]);
    let (near, far) = (archive.env.make_folder("near"), archive.env.make_folder("far"));
    let configure = |required: &str| {
        let more = format!(
            "[cluster.main.wal]\nship = ['near', 'far']\nencrypt = {{ type = 'none' }}\nrequired = {required}\n"
        );
        archive.configure_job(&Job { ship: &[("near", &near), ("far", &far)], more: &more, ..Job::default() });
    };
    configure("['near']");
    let name = finished_segment(&archive);
    let path = format!("pg_wal/{name}");
    fs::remove_dir(&far).unwrap();
    archive.in_data_dir(&["wal", "push", &path]).expect(0).shows("\"far\" does not have it");
    assert_eq!(files(&near).len(), 1);
    configure("'all'");
    archive.in_data_dir(&["wal", "push", &path]).expect(1).shows("far");
    configure("2");
    archive.in_data_dir(&["wal", "push", &path]).expect(1);
    configure("1");
    archive.in_data_dir(&["wal", "push", &path]).expect(0);
}

#[test]
fn push_exits_with_0_or_1() {
    let archive = ArchiveEnv::without_command(&Installation::newer(), &[]);
    archive.configure("");
    let path = format!("pg_wal/{}", finished_segment(&archive));
    archive.in_data_dir(&["wal", "push", &path, "--unknown"]).expect(1);
    archive.in_data_dir(&["wal", "push"]).expect(1);
    archive.in_data_dir(&["wal", "push", "pg_wal/notes.txt"]).expect(1).shows("not a file of WAL");
    archive
        .in_data_dir(&["wal", "push", "pg_wal/0000000100000000000000FF"])
        .expect(1)
        .shows("0000000100000000000000FF");
    archive.in_data_dir(&["wal", "push", &path, "--cluster", "other"]).expect(1).shows("other");
    let config = fs::read_to_string(archive.env.config_path()).unwrap();
    fs::write(archive.env.config_path(), "not toml").unwrap();
    archive.in_data_dir(&["wal", "push", &path]).expect(1);
    fs::write(archive.env.config_path(), config.replace("type = 'age'", "type = 'rot13'")).unwrap();
    archive.in_data_dir(&["wal", "push", &path]).expect(1);

    // A destination that accepts connections and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = archive.env.s3("silent", listener.local_addr().unwrap(), "garage", ["id", "secret"], "");
    let more = "[cluster.main.wal]\nship = ['silent']\nencrypt = { type = 'none' }\n";
    archive.configure_job(&Job { remote: &[("silent", silent)], more, ..Job::default() });
    let mut push = archive.command(&archive.env.cluster.data_dir());
    let mut push = push.args(["wal", "push", &path]).stderr(Stdio::null()).spawn().unwrap();
    let _connection = listener.accept().unwrap();
    let pid = rustix::process::Pid::from_child(&push);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(push.wait().unwrap().code(), Some(1));
}

#[test]
fn abandoned_segments_are_a_gap() {
    let archive = ArchiveEnv::start(&Installation::newer(), &[]);
    archive.archive();
    let (local, away) = (archive.env.local(), archive.env.path("away"));
    fs::rename(&local, &away).unwrap();
    let lost = [archive.switch(), archive.switch()];
    let path = format!("pg_wal/{}", lost[1]);
    archive.in_data_dir(&["wal", "push", &format!("pg_wal/{}", lost[0])]).expect(1);
    archive.in_data_dir(&["wal", "abandon", &path]).expect(6).shows("--yes");
    archive.in_data_dir(&["wal", "abandon", "pg_wal/00000002.history", "--yes"]).expect(1).shows("only segments");
    archive.in_data_dir(&["wal", "abandon", "pg_wal/0000000100000000000000FF", "--yes"]).expect(1).shows(".ready");
    archive.in_data_dir(&["wal", "abandon", &path, "--yes"]).expect(0).shows(&lost[1]);
    archive.in_data_dir(&["wal", "push", &path]).expect(0).shows("not archived");
    // The server repeats a failed command after a minute, or when a segment is finished.
    archive.switch();
    let recycled = format!("select last_archived_wal >= '{}' from pg_stat_archiver", lost[1]);
    wait_for("the server to abandon the segments", || {
        (archive.env.cluster.psql("postgres", &recycled) == "t").then_some(())
    });
    fs::rename(&away, &local).unwrap();
    archive.archive();
    archive.longshore(&["wal", "status"]).expect(4).shows("2 segments are missing").shows(&lost[0]).shows(&lost[1]);
    // The names may come again after a restore, and are then archived.
    archive.in_data_dir(&["wal", "push", &path]).expect(0).omits("not archived");
    archive.longshore(&["wal", "status"]).expect(4).shows(&format!("{} is missing", lost[0]));
    // The next base backup ends the alarm, and nothing before it is recoverable.
    archive.longshore(&["run"]).expect(0);
    archive.archive();
    let status = archive.longshore(&["wal", "status"]).expect(0);
    status.shows("not needed after the newest base backup").stdout_shows("recovers to any moment from");
    archive.longshore(&["status", "--max-age", "7d"]).expect(0).omits("is missing");
}

#[test]
fn wal_that_is_not_archived_yet_is_shown() {
    let archive = ArchiveEnv::start(&Installation::newer(), &[]);
    archive.archive();
    let lag = || {
        let status = archive.longshore(&["wal", "status", "--server", "--json"]).expect(0);
        let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
        status["archives"][0]["lag_bytes"].as_u64().unwrap()
    };
    assert!(lag() < 16 << 20, "only the current segment is not archived");
    let local = archive.env.local();
    fs::rename(&local, local.with_extension("away")).unwrap();
    let names = [archive.switch(), archive.switch()];
    fs::rename(local.with_extension("away"), &local).unwrap();
    let behind = lag();
    assert!((16 << 20..64 << 20).contains(&behind), "{names:?} are not archived: {behind}");
    archive.longshore(&["wal", "status", "--server"]).expect(0).stdout_shows("LAG").stdout_shows("MiB");
    archive.longshore(&["wal", "status"]).expect(0).omits("LAG");
}

#[test]
fn sync_copies_missing_wal() {
    let archive = ArchiveEnv::without_command(&Installation::newer(), &[]);
    let (near, far) = (archive.env.make_folder("near"), archive.env.make_folder("far"));
    let more = "[cluster.main.wal]\nship = ['near', 'far']\nencrypt = { type = 'none' }\nrequired = 1\n";
    archive.configure_job(&Job { ship: &[("near", &near), ("far", &far)], more, ..Job::default() });
    let away = far.with_extension("away");
    fs::rename(&far, &away).unwrap();
    let name = finished_segment(&archive);
    archive.in_data_dir(&["wal", "push", &format!("pg_wal/{name}")]).expect(0);
    fs::rename(&away, &far).unwrap();
    archive.longshore(&["sync", "--dry-run"]).expect(0).shows("would copy");
    assert_eq!(archive.archived("far"), Vec::<String>::new());
    archive.longshore(&["sync"]).expect(0).shows("copied 1 file");
    assert_eq!(archive.archived("far"), archive.archived("near"));
    archive.longshore(&["sync"]).expect(0).shows("in sync");
}

#[test]
fn history_is_archived_with_its_first_segment() {
    let installation = Installation::newer();
    let archive = ArchiveEnv::start(&installation, &[]);
    archive.archive();
    // PostgreSQL does not offer the history of a timeline that began while archiving was off.
    let standby = archive.env.cluster.start_standby(&["archive_mode=off"]);
    standby.psql("postgres", "select pg_promote()");
    standby.psql("postgres", "create table t (i int)");
    let name = standby.psql("postgres", "select pg_walfile_name(pg_current_wal_lsn())");
    standby.psql("postgres", "select pg_switch_wal()");
    assert!(!archive.archived("local").iter().any(|file| file.contains("00000002.history")));
    let path = standby.data_dir().join("pg_wal").join(name).display().to_string();
    finish(archive.command(&standby.data_dir()).args(["wal", "push", &path])).expect(0);
    assert!(archive.archived("local").iter().any(|file| file.contains("/history/00000002.history-")));
    archive.longshore(&["wal", "status"]).expect(0);
    let history = file_with(&archive.env.local(), "00000002.history");
    fs::remove_file(history).unwrap();
    archive.longshore(&["wal", "status"]).expect(4).shows("00000002.history is missing");
}

#[test]
fn nothing_is_stored_after_a_refused_segment() {
    let archive = ArchiveEnv::without_command(&Installation::newer(), &[]);
    archive.configure("");
    let names: Vec<String> = (0..3).map(|_| finished_segment(&archive)).collect();
    archive.in_data_dir(&["wal", "push", &format!("pg_wal/{}", names[0])]).expect(0);
    // An archive of another history of the same cluster.
    let local = archive.env.local();
    for name in &names[1..] {
        fs::remove_file(file_with(&local, &format!("/{name}-"))).unwrap();
    }
    fs::remove_dir_all(archive.env.path("state")).unwrap();
    let path = archive.env.cluster.data_dir().join("pg_wal").join(&names[0]);
    let mut content = fs::read(&path).unwrap();
    let end = content.len() - 1;
    content[end] ^= 1;
    fs::write(&path, content).unwrap();
    archive.in_data_dir(&["wal", "push", &format!("pg_wal/{}", names[0])]).expect(1).shows("another file of this name");
    assert_eq!(archive.archived("local").len(), 1);
}

#[test]
fn notes_and_empty_files_of_a_destination_are_not_believed() {
    let archive = ArchiveEnv::without_command(&Installation::newer(), &[]);
    archive.configure("");
    let names: Vec<String> = (0..2).map(|_| finished_segment(&archive)).collect();
    archive.in_data_dir(&["wal", "push", &format!("pg_wal/{}", names[0])]).expect(0);
    // The second segment is stored ahead, but the configuration names another place now.
    let elsewhere = archive.env.make_folder("elsewhere");
    let config = fs::read_to_string(archive.env.config_path()).unwrap();
    let moved = config.replace(&archive.env.local().display().to_string(), &elsewhere.display().to_string());
    fs::write(archive.env.config_path(), moved).unwrap();
    archive.give_files();
    archive.in_data_dir(&["wal", "push", &format!("pg_wal/{}", names[1])]).expect(0);
    assert_eq!(archive.archived("elsewhere").len(), 1);
    // A file without content is none.
    fs::write(file_with(&elsewhere, &names[1]), "").unwrap();
    archive.in_data_dir(&["wal", "push", &format!("pg_wal/{}", names[1])]).expect(1).shows("is empty");
}
