//! A restore continues from the next destination if one fails, resumes cut connections, and always
//! shows its source.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Child;

use longshore_testkit::garage::{Garage, Permission};
use longshore_testkit::proxy::{Direction, Fault, Proxy};
use longshore_testkit::sshd::Sshd;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::{CommandOutput, Job, TestEnv, manifest, wait_for};

const BULK: &str = "[{ type = 'pg_dump', databases = ['bulk'] }]";
const PLAIN: &str = "compression = { method = 'none' }";

/// Returns a summary of the content of table `bulk`.
fn bulk(test_env: &TestEnv, database: &str) -> String {
    test_env.cluster.psql(database, "select count(*) || ' ' || sum(hashtextextended(noise, i)) from bulk")
}

/// Starts a restore of `bulk` into a new database, and waits until rows arrive.
fn begin(test_env: &TestEnv, more: &[&str]) -> Child {
    let to = format!("{} dbname=again", test_env.cluster.connection());
    let identity = test_env.identity().display().to_string();
    let arguments = ["restore", "bulk", "--create", "--to", &to, "--identity", &identity];
    await_rows(test_env, test_env.start(&[&arguments[..], more].concat()), 1)
}

/// Waits until rows arrive in this many databases at once.
fn await_rows(test_env: &TestEnv, mut restore: Child, databases: u32) -> Child {
    let query = "select count(distinct datname) from pg_stat_activity where application_name = 'longshore'
        and state = 'active' and query ilike 'COPY%'";
    wait_for("rows", || {
        let over = restore.try_wait().unwrap().is_some();
        (over || test_env.cluster.psql("postgres", query) == databases.to_string()).then_some(())
    });
    if restore.try_wait().unwrap().is_some() {
        panic!("the restore has already ended: {:?}", CommandOutput::of(restore.wait_with_output().unwrap()));
    }
    restore
}

#[test]
fn continues_from_next_destination_after_failure() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 128);
    let garage = Garage::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let [first, second] = [0, 1].map(|node| runtime.block_on(Proxy::start(garage.address(node))));
    let through = |name: &str, proxy: &Proxy| {
        let lines = test_env.in_bucket(&garage, name, Permission::Everything, "retries = 0");
        lines.replace(&garage.address(0).to_string(), &proxy.address().to_string())
    };
    let remote = [("first", through("first", &first)), ("second", through("second", &second))];
    test_env.configure(&Job { dump: BULK, remote: &remote, more: PLAIN, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    // The nearest destination is used, regardless of its name.
    let written = test_env.path("bulk.dump").display().to_string();
    test_env.run_with_identity(&["restore", "bulk", "--output", &written]).expect(0).shows(" from \"local\"");
    fs::remove_dir_all(test_env.local().join("main")).unwrap();
    let mut restore = begin(&test_env, &[]);
    let mut stderr = BufReader::new(restore.stderr.take().unwrap());
    let mut output = String::new();
    while !output.contains(" from \"") {
        assert!(stderr.read_line(&mut output).unwrap() > 0, "{output}");
    }
    // Stops the destination that answered first.
    let (taken, gone, other) = match output.contains(" from \"first\"") {
        true => ("first", first, "second"),
        false => ("second", second, "first"),
    };
    drop(gone);
    stderr.read_to_string(&mut output).unwrap();
    assert!(restore.wait().unwrap().success(), "{output}");
    assert!(output.contains(&format!("continues from \"{other}\"")), "after {taken}: {output}");
    assert_eq!(bulk(&test_env, "again"), bulk(&test_env, "bulk"));
}

#[test]
fn resumes_a_cut_bucket_connection() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 48);
    let garage = Garage::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let network = runtime.block_on(Proxy::start(garage.address(0)));
    let offsite = test_env.in_bucket(&garage, "acme", Permission::Everything, "retries = 0");
    let offsite = offsite.replace(&garage.address(0).to_string(), &network.address().to_string());
    test_env.configure(&Job { dump: BULK, remote: &[("offsite", offsite)], more: PLAIN, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    network.fault_times(Direction::Down, Fault::Cut(12 << 20), 3);
    let to = format!("{} dbname=again", test_env.cluster.connection());
    test_env.run_with_identity(&["restore", "bulk", "--from", "offsite", "--create", "--to", &to]).expect(0);
    assert_eq!(bulk(&test_env, "again"), bulk(&test_env, "bulk"));
    // A read-back resumes as well.
    network.fault_times(Direction::Down, Fault::Cut(12 << 20), 3);
    test_env.run_with_identity(&["verify", "--destination", "offsite"]).expect(0);
}

#[test]
fn resumes_a_cut_host_connection() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 128);
    let (by_sftp, by_ssh) = (Sshd::start(), Sshd::start());
    let remote = [("sftp", test_env.on_host("sftp", &by_sftp, "")), ("shell", test_env.on_host("ssh", &by_ssh, ""))];
    test_env.configure(&Job { dump: BULK, remote: &remote, more: PLAIN, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    for (name, sshd) in [("sftp", &by_sftp), ("shell", &by_ssh)] {
        let restore = begin(&test_env, &["--from", name, "--no-compare"]);
        assert!(sshd.cut() > 0, "{name}");
        CommandOutput::of(restore.wait_with_output().unwrap()).expect(0);
        assert_eq!(bulk(&test_env, "again"), bulk(&test_env, "bulk"), "{name}");
        test_env.cluster.psql("postgres", "drop database again");
    }
}

/// A copy whose damage appears only at its end: the partial restore is dropped, and the other copy
/// is used.
#[test]
fn damaged_copy_is_replaced_by_another() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 8);
    let (first, second) = (test_env.make_folder("first"), test_env.make_folder("second"));
    test_env.configure(&Job { dump: BULK, ship: &[("first", &first), ("second", &second)], ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let artifact = crate::support::artifact(&first);
    let mut bytes = fs::read(&artifact).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&artifact, bytes).unwrap();
    let to = format!("{} dbname=again", test_env.cluster.connection());
    let result = test_env.run_with_identity(&["restore", "bulk", "--create", "--to", &to]).expect(0);
    result.shows("continues from \"second\"");
    assert_eq!(bulk(&test_env, "again"), bulk(&test_env, "bulk"));
    test_env
        .run_with_identity(&["restore", "bulk", "--from", "first", "--create", "--to", &to.replace("again", "bad")])
        .expect(4);
    // Appending a second time would duplicate rows.
    test_env.cluster.psql("postgres", "create database added");
    let to = to.replace("again", "added");
    let arguments = ["restore", "bulk", "--append", "--to", &to];
    test_env.run_with_identity(&arguments).expect(4).shows("check database").omits("continues from");
}

#[test]
fn restores_several_databases_concurrently() {
    let test_env = TestEnv::new();
    for name in ["one", "two"] {
        test_env.make_bulk(name, 96);
    }
    test_env.longshore(&["run"]).expect(0);
    let contents = ["one", "two"].map(|name| bulk(&test_env, name));
    for name in ["one", "two"] {
        test_env.cluster.psql("postgres", &format!("drop database {name}"));
    }
    let identity = test_env.identity().display().to_string();
    let to = test_env.cluster.connection();
    let restore = test_env.start(&[
        "restore",
        "--run",
        "latest",
        "--create",
        "--parallel",
        "2",
        "--to",
        &to,
        "--identity",
        &identity,
    ]);
    let restore = await_rows(&test_env, restore, 2);
    CommandOutput::of(restore.wait_with_output().unwrap()).expect(0).shows("restored 4 backups");
    assert_eq!(["one", "two"].map(|name| bulk(&test_env, name)), contents);
}

#[test]
fn interruption_rolls_back_and_reports_progress() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 128);
    test_env.longshore(&["run"]).expect(0);
    test_env.cluster.psql("bulk", "drop table bulk; create table mine as select 1 n");
    let to = format!("{} dbname=bulk", test_env.cluster.connection());
    let identity = test_env.identity().display().to_string();
    let restore = test_env.start(&["restore", "bulk", "--clean", "--yes", "--to", &to, "--identity", &identity]);
    test_env.wait_for_backend("COPY%");
    kill_process(Pid::from_child(&restore), Signal::INT).unwrap();
    let result = CommandOutput::of(restore.wait_with_output().unwrap()).expect(130);
    result.shows("interrupted: incomplete").shows("main/bulk/bulk-");
    assert_eq!(test_env.cluster.psql("bulk", "select n from mine"), "1");
    let databases = "select string_agg(datname, ' ' order by datname) from pg_database where not datistemplate";
    assert_eq!(test_env.cluster.psql("postgres", databases), "bulk postgres");
}

#[test]
fn last_drill_estimates_the_duration() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 1);
    test_env.configure(&Job { dump: BULK, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let manifest = manifest(&test_env.local());
    let name = manifest.strip_prefix(test_env.local()).unwrap().with_extension("").display().to_string();
    let phase =
        |name: &str, seconds: f64, restores: bool| json!({ "name": name, "seconds": seconds, "restores": restores });
    let drill = json!({
        "longshore": "0.1.0", "by": "operator@host", "backup": name, "destination": "local",
        "started": "2026-06-07T12:00:00Z", "finished": "2026-06-07T12:10:00Z", "verdict": "good", "scratch": "PostgreSQL",
        "phases": [phase("restore", 60.0, true), phase("index", 30.5, true), phase("compare", 900.0, false)],
        "compared": 1, "different": 0,
    });
    let mark = test_env.local().join(format!("{name}.drilled.2026-06-07_121000.json"));
    fs::write(mark, drill.to_string()).unwrap();
    let to = format!("{} dbname=again", test_env.cluster.connection());
    let result = test_env.run_with_identity(&["restore", "bulk", "--create", "--to", &to]).expect(0);
    result.shows("about 90.5 s (from the last drill)").shows("restore ").shows("analyze ");
}
