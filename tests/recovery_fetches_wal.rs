//! Recovery gets every file of the archive, and ends only if no destination has more.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use longshore_testkit::cluster::{Cluster, Installation, NewFolder};
use longshore_testkit::garage::{Garage, Permission};
use longshore_testkit::proxy::{Direction, Fault, Proxy};

use crate::support::{ArchiveEnv, CommandOutput, Job, file_with, files, finish, wait_for};

/// The state after which a primary accepts writes.
const PROMOTED: &str = "select not pg_is_in_recovery()";

/// Makes a base backup, and archives three segments of rows after it.
fn archive_with_rows(installation: &Installation) -> ArchiveEnv {
    let archive = ArchiveEnv::start(installation, &[]);
    archive.env.cluster.psql("postgres", "create table ledger (i int)");
    archive.longshore(&["run"]).expect(0);
    for row in 1..=3 {
        archive.env.cluster.psql("postgres", &format!("insert into ledger values ({row})"));
        archive.archive();
    }
    archive
}

fn rows(cluster: &Cluster) -> String {
    cluster.psql("postgres", "select string_agg(i::text, ' ' order by i) from ledger")
}

/// Recovers the archive into a new cluster, to the end of its WAL.
fn recovers_to_the_end(installation: &Installation) {
    let archive = archive_with_rows(installation);
    let folder = archive.restore_for_recovery(&archive.restore_command(), "recovery.signal", "");
    let recovered = Cluster::start_on(folder, installation, &[]);
    wait_for("the end of recovery", || (recovered.psql("postgres", PROMOTED) == "t").then_some(()));
    assert_eq!(rows(&recovered), "1 2 3");
}

#[test]
fn recovery_reaches_the_end_of_the_archive() {
    recovers_to_the_end(&Installation::newer());
}

/// The slower half of the releases.
mod slow {
    use super::*;

    #[test]
    fn recovery_reaches_the_end_of_the_archive_of_every_release() {
        for installation in Installation::all() {
            recovers_to_the_end(&installation);
        }
    }
}

/// Starts a server on a folder, and returns its log once it has stopped by itself.
fn log_of_failed_start(folder: &NewFolder, installation: &Installation) -> String {
    let data_dir = folder.data_dir();
    let started =
        finish(&mut pg_ctl(installation, &["-D", &data_dir.display().to_string(), "-w", "-t", "60", "start"], folder));
    let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    assert_ne!(started.code, Some(0), "the server must not start: {log}");
    log
}

fn pg_ctl(installation: &Installation, arguments: &[&str], folder: &NewFolder) -> std::process::Command {
    let mut command = std::process::Command::new("setpriv");
    let data_dir = folder.data_dir();
    let owner = fs::metadata(&data_dir).unwrap();
    use std::os::unix::fs::MetadataExt;
    if fs::metadata("/proc/self").unwrap().uid() != owner.uid() {
        command.arg(format!("--reuid={}", owner.uid())).arg(format!("--regid={}", owner.gid())).arg("--clear-groups");
    }
    command.arg("--").arg(installation.program("pg_ctl")).args(arguments);
    command.arg("-l").arg(folder.path().join("log"));
    let options = format!("-c listen_addresses= -c unix_socket_directories={}", folder.path().display());
    command.arg("-o").arg(options);
    command
}

#[test]
fn unreachable_destination_never_ends_recovery() {
    let installation = Installation::newer();
    let archive = archive_with_rows(&installation);
    let folder = archive.restore_for_recovery(&archive.restore_command(), "recovery.signal", "");
    let local = archive.env.local();
    fs::rename(&local, local.with_extension("away")).unwrap();
    let log = log_of_failed_start(&folder, &installation);
    assert!(log.contains("exit code 150"), "{log}");

    // The server continues once the destination answers.
    fs::rename(local.with_extension("away"), &local).unwrap();
    let recovered = Cluster::start_on(folder, &installation, &[]);
    wait_for("the end of recovery", || (recovered.psql("postgres", PROMOTED) == "t").then_some(()));
    assert_eq!(rows(&recovered), "1 2 3");
}

#[test]
fn mistake_in_the_command_or_configuration_never_ends_recovery() {
    let installation = Installation::newer();
    let archive = archive_with_rows(&installation);
    for typo in ["wal fech", "wal fetch --unknown"] {
        let command = archive.restore_command().replace("wal fetch", typo);
        let folder = archive.restore_for_recovery(&command, "recovery.signal", "");
        let log = log_of_failed_start(&folder, &installation);
        assert!(log.contains("exit code 152"), "{typo}: {log}");
    }
    // The configuration names an empty place.
    let folder = archive.restore_for_recovery(&archive.restore_command(), "recovery.signal", "");
    let empty = archive.env.make_folder("empty");
    archive.env.configure(&Job::default());
    let config = fs::read_to_string(archive.env.config_path()).unwrap();
    let age = format!("encrypt = {{ type = 'age', recipients = ['{}'] }}", archive.env.recipient());
    let config = config.replace(&archive.env.local().display().to_string(), &empty.display().to_string());
    fs::write(archive.env.config_path(), format!("{config}[cluster.main.wal]\nship = ['local']\n{age}\n")).unwrap();
    archive.give_files();
    let log = log_of_failed_start(&folder, &installation);
    assert!(log.contains("has no archive of the system identifier") && log.contains("exit code 150"), "{log}");
}

/// Fetches into a restored data directory, as PostgreSQL does.
fn fetch(archive: &ArchiveEnv, folder: &NewFolder, name: &str) -> CommandOutput {
    let identity = archive.env.identity().display().to_string();
    let mut command = archive.command(&folder.data_dir());
    finish(command.args(["wal", "fetch", name, "pg_wal/RECOVERYXLOG", "-i", &identity]))
}

/// Returns the path of the fetched file.
fn fetched(folder: &NewFolder) -> PathBuf {
    folder.data_dir().join("pg_wal/RECOVERYXLOG")
}

#[test]
fn absence_is_proven_at_all_destinations() {
    let archive = ArchiveEnv::without_command(&Installation::newer(), &[]);
    let (near, far) = (archive.env.make_folder("near"), archive.env.make_folder("far"));
    let more = "[cluster.main.wal]\nship = ['near', 'far']\nencrypt = { type = 'none' }\n";
    archive.configure_job(&Job { ship: &[("near", &near), ("far", &far)], more, ..Job::default() });
    archive.longshore(&["run"]).expect(0);
    let folder = archive.restore_base();
    let name = archive.switch();
    fetch(&archive, &folder, &name).expect(150).shows("has no archive of the system identifier");
    archive.in_data_dir(&["wal", "push", &format!("pg_wal/{name}")]).expect(0);
    let next = archive.switch();
    fetch(&archive, &folder, &name).expect(0);
    fetch(&archive, &folder, &next).expect(1);
    fetch(&archive, &folder, "00000002.history").expect(1);
    // Absent at one destination, unknown at the other.
    fs::rename(&far, far.with_extension("away")).unwrap();
    fetch(&archive, &folder, &next).expect(150).shows("far");
    fetch(&archive, &folder, &name).expect(0);
    fs::rename(far.with_extension("away"), &far).unwrap();
    // A miss is not remembered.
    archive.in_data_dir(&["wal", "push", &format!("pg_wal/{next}")]).expect(0);
    fetch(&archive, &folder, &next).expect(0);
}

#[test]
fn damaged_segment_is_never_delivered() {
    let archive = archive_with_rows(&Installation::newer());
    let folder = archive.restore_base();
    let name = archive.archive();
    let stored = file_with(&archive.env.local(), &name);
    let intact = fs::read(&stored).unwrap();
    let flip = |at: usize| {
        let mut damaged = intact.clone();
        damaged[at] ^= 1;
        damaged
    };
    for damaged in [flip(intact.len() - 20), intact[..intact.len() / 2].to_vec(), Vec::new()] {
        fs::write(&stored, damaged).unwrap();
        fetch(&archive, &folder, &name).expect(151);
        assert!(!fetched(&folder).exists(), "nothing is delivered");
    }
    // The content of another segment under this name.
    let other = archive.archived("local").into_iter().find(|file| !file.contains(&name) && !file.contains("backup"));
    fs::copy(archive.env.local().join(other.unwrap()), &stored).unwrap();
    fetch(&archive, &folder, &name).expect(151).shows("digest");
    fs::write(&stored, intact).unwrap();
    fetch(&archive, &folder, &name).expect(0);
    assert_eq!(
        fs::read(fetched(&folder)).unwrap(),
        fs::read(archive.env.cluster.data_dir().join("pg_wal").join(&name)).unwrap()
    );
}

#[test]
fn another_destination_replaces_a_damaged_one() {
    let archive = ArchiveEnv::without_command(&Installation::newer(), &[]);
    let (near, far) = (archive.env.make_folder("near"), archive.env.make_folder("far"));
    let more = "[cluster.main.wal]\nship = ['near', 'far']\nencrypt = { type = 'none' }\n";
    archive.configure_job(&Job { ship: &[("near", &near), ("far", &far)], more, ..Job::default() });
    archive.longshore(&["run"]).expect(0);
    let folder = archive.restore_base();
    let name = archive.switch();
    archive.in_data_dir(&["wal", "push", &format!("pg_wal/{name}")]).expect(0);
    fs::write(file_with(&near, &name), "damaged").unwrap();
    fetch(&archive, &folder, &name).expect(0);
}

#[test]
fn missing_identity_never_ends_recovery() {
    let archive = archive_with_rows(&Installation::newer());
    let folder = archive.restore_base();
    let name = archive.archive();
    let mut command = archive.command(&folder.data_dir());
    let without = finish(command.args(["wal", "fetch", &name, "pg_wal/RECOVERYXLOG"]));
    without.expect(152).shows("identity");
    let other = archive.env.path("other.txt");
    finish(std::process::Command::new("age-keygen").arg("-o").arg(&other)).expect(0);
    archive.give_files();
    let mut command = archive.command(&folder.data_dir());
    let other = other.display().to_string();
    let with_other = finish(command.args(["wal", "fetch", &name, "pg_wal/RECOVERYXLOG", "-i", &other]));
    with_other.expect(152);
}

#[test]
fn segments_are_fetched_ahead_from_a_distant_destination() {
    let archive = ArchiveEnv::without_command(&Installation::newer(), &[]);
    let garage = Garage::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let network = runtime.block_on(Proxy::start(garage.address(0)));
    network.fault(Direction::Down, Fault::Throttle(50_000));
    let bucket = archive.env.in_bucket(&garage, "wal", Permission::Everything, "");
    let bucket = bucket.replace(&garage.address(0).to_string(), &network.address().to_string());
    let more = "[cluster.main.wal]\nship = ['bucket']\nencrypt = { type = 'none' }\n";
    archive.configure_job(&Job { remote: &[("bucket", bucket)], more, ..Job::default() });
    let push = |name: &str| archive.in_data_dir(&["wal", "push", &format!("pg_wal/{name}")]).expect(0);
    let mut names: Vec<String> = (0..4).map(|_| archive.switch()).collect();
    names.iter().for_each(|name| drop(push(name)));
    let fetched = |name: &str| {
        archive.in_data_dir(&["wal", "fetch", name, "pg_wal/FETCHED"]).expect(0);
        fs::read(archive.env.cluster.data_dir().join("pg_wal/FETCHED")).unwrap()
    };
    let original = |name: &str| fs::read(archive.env.cluster.data_dir().join("pg_wal").join(name)).unwrap();
    let ahead = || files(&archive.env.path("state")).into_iter().filter(|file| file.contains("/ahead/")).count();
    assert!(fetched(&names[0]) == original(&names[0]));
    assert_eq!(ahead(), 3);
    // A segment that was missing is found once it is archived.
    names.push(archive.switch());
    archive.in_data_dir(&["wal", "fetch", &names[4], "pg_wal/FETCHED"]).expect(1);
    push(&names[4]);
    for (left, name) in [(2, &names[1]), (1, &names[2]), (0, &names[3]), (0, &names[4])] {
        assert!(fetched(name) == original(name), "{name} has other content");
        assert_eq!(ahead(), left);
    }
}

#[test]
fn restored_standby_follows_its_primary() {
    let installation = Installation::newer();
    let archive = archive_with_rows(&installation);
    let folder = NewFolder::new();
    let data_dir = folder.data_dir().display().to_string();
    let identity = archive.env.identity().display().to_string();
    let primary = archive.env.cluster.connection();
    let restore = ["restore", "main", "--base", "--standby", "--to-dir", &data_dir, "-i", &identity];
    archive.longshore(&[&restore[..], &["--at", "latest"]].concat()).expect(1).shows("--standby");
    archive.longshore(&[&restore[..], &["--primary-conninfo", &primary]].concat()).expect(0);
    let standby = Cluster::start_on(folder, &installation, &[]);
    wait_for("the standby to replay", || (rows(&standby) == "1 2 3").then_some(()));
    // This row is in no archived segment.
    archive.env.cluster.psql("postgres", "insert into ledger values (4)");
    wait_for("the standby to stream", || (rows(&standby) == "1 2 3 4").then_some(()));
    // Once it is promoted, it archives as its primary did.
    let settings = fs::read_to_string(standby.data_dir().join("postgresql.auto.conf")).unwrap();
    assert!(!settings.contains("archive_mode"), "{settings}");
    standby.psql("postgres", "select pg_promote()");
    wait_for("the promotion", || (standby.psql("postgres", PROMOTED) == "t").then_some(()));
}

#[test]
fn standby_waits_out_an_outage() {
    let installation = Installation::newer();
    let archive = archive_with_rows(&installation);
    let folder = archive.restore_for_recovery(
        &archive.restore_command(),
        "standby.signal",
        "wal_retrieve_retry_interval = '500ms'",
    );
    let standby = Cluster::start_on(folder, &installation, &[]);
    wait_for("the standby to replay", || (rows(&standby) == "1 2 3").then_some(()));
    let local = archive.env.local();
    fs::rename(&local, local.with_extension("away")).unwrap();
    thread::sleep(Duration::from_secs(3));
    assert!(standby.answers(), "{}", standby.log());
    fs::rename(local.with_extension("away"), &local).unwrap();
    archive.env.cluster.psql("postgres", "insert into ledger values (4)");
    archive.archive();
    wait_for("the standby to replay again", || (rows(&standby) == "1 2 3 4").then_some(()));
}
