//! A restore continues from the next destination if one fails, resumes cut connections, and always
//! shows its source.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Child;

use longshore_testkit::garage::{Garage, Permission};
use longshore_testkit::proxy::{Fault, Proxy, Way};
use longshore_testkit::sshd::Sshd;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::{Ended, Job, Workshop, manifest, wait_for};

const BULK: &str = "[{ type = 'pg_dump', databases = ['bulk'] }]";
const PLAIN: &str = "compression = { method = 'none' }";

/// Returns a summary of the content of table `bulk`.
fn bulk(workshop: &Workshop, database: &str) -> String {
    workshop.cluster.psql(database, "select count(*) || ' ' || sum(hashtextextended(noise, i)) from bulk")
}

/// Starts a restore of `bulk` into a new database, and waits until rows arrive.
fn begin(workshop: &Workshop, more: &[&str]) -> Child {
    let to = format!("{} dbname=again", workshop.cluster.connection());
    let identity = workshop.identity().display().to_string();
    let arguments = ["restore", "bulk", "--create", "--to", &to, "--identity", &identity];
    await_rows(workshop, workshop.start(&[&arguments[..], more].concat()), 1)
}

/// Waits until rows arrive in this many databases at once.
fn await_rows(workshop: &Workshop, mut restore: Child, databases: u32) -> Child {
    let asked = "select count(distinct datname) from pg_stat_activity where application_name = 'longshore'
        and state = 'active' and query ilike 'COPY%'";
    wait_for("rows", || {
        let over = restore.try_wait().unwrap().is_some();
        (over || workshop.cluster.psql("postgres", asked) == databases.to_string()).then_some(())
    });
    if restore.try_wait().unwrap().is_some() {
        panic!("the restore has already ended: {:?}", Ended::of(restore.wait_with_output().unwrap()));
    }
    restore
}

#[test]
fn a_destination_that_fails_half_way_is_left_for_the_next_one_and_the_target_is_whole() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 128);
    let garage = Garage::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let [first, second] = [0, 1].map(|node| runtime.block_on(Proxy::start(garage.address(node))));
    let through = |name: &str, proxy: &Proxy| {
        let lines = workshop.in_bucket(&garage, name, Permission::Everything, "retries = 0");
        lines.replace(&garage.address(0).to_string(), &proxy.address().to_string())
    };
    let elsewhere = [("first", through("first", &first)), ("second", through("second", &second))];
    workshop.configure(&Job { dump: BULK, elsewhere: &elsewhere, more: PLAIN, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    // The nearest destination is used, regardless of its name.
    let written = workshop.path("bulk.dump").display().to_string();
    workshop.opening(&["restore", "bulk", "--output", &written]).expect(0).says(" from \"local\"");
    fs::remove_dir_all(workshop.local().join("main")).unwrap();
    let mut restore = begin(&workshop, &[]);
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
    assert_eq!(bulk(&workshop, "again"), bulk(&workshop, "bulk"));
}

#[test]
fn a_connection_to_a_bucket_that_is_cut_is_taken_up_again_where_it_was() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 48);
    let garage = Garage::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let network = runtime.block_on(Proxy::start(garage.address(0)));
    let offsite = workshop.in_bucket(&garage, "acme", Permission::Everything, "retries = 0");
    let offsite = offsite.replace(&garage.address(0).to_string(), &network.address().to_string());
    workshop.configure(&Job { dump: BULK, elsewhere: &[("offsite", offsite)], more: PLAIN, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    network.fault_times(Way::Down, Fault::Cut(12 << 20), 3);
    let to = format!("{} dbname=again", workshop.cluster.connection());
    workshop.opening(&["restore", "bulk", "--from", "offsite", "--create", "--to", &to]).expect(0);
    assert_eq!(bulk(&workshop, "again"), bulk(&workshop, "bulk"));
    // A read-back resumes as well.
    network.fault_times(Way::Down, Fault::Cut(12 << 20), 3);
    workshop.opening(&["verify", "--destination", "offsite"]).expect(0);
}

#[test]
fn a_connection_to_a_host_that_is_cut_is_taken_up_again_where_it_was() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 128);
    let (by_sftp, by_ssh) = (Sshd::start(), Sshd::start());
    let elsewhere = [("sftp", workshop.on_host("sftp", &by_sftp, "")), ("shell", workshop.on_host("ssh", &by_ssh, ""))];
    workshop.configure(&Job { dump: BULK, elsewhere: &elsewhere, more: PLAIN, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    for (name, sshd) in [("sftp", &by_sftp), ("shell", &by_ssh)] {
        let restore = begin(&workshop, &["--from", name, "--no-compare"]);
        assert!(sshd.cut() > 0, "{name}");
        Ended::of(restore.wait_with_output().unwrap()).expect(0);
        assert_eq!(bulk(&workshop, "again"), bulk(&workshop, "bulk"), "{name}");
        workshop.cluster.psql("postgres", "drop database again");
    }
}

/// A copy whose damage appears only at its end: the partial restore is dropped, and the other copy
/// is used.
#[test]
fn a_copy_that_turns_out_to_be_damaged_is_left_for_the_next_one() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 8);
    let (first, second) = (workshop.make_folder("first"), workshop.make_folder("second"));
    workshop.configure(&Job { dump: BULK, ship: &[("first", &first), ("second", &second)], ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let artifact = crate::support::artifact(&first);
    let mut bytes = fs::read(&artifact).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&artifact, bytes).unwrap();
    let to = format!("{} dbname=again", workshop.cluster.connection());
    let ended = workshop.opening(&["restore", "bulk", "--create", "--to", &to]).expect(0);
    ended.says("continues from \"second\"");
    assert_eq!(bulk(&workshop, "again"), bulk(&workshop, "bulk"));
    workshop
        .opening(&["restore", "bulk", "--from", "first", "--create", "--to", &to.replace("again", "bad")])
        .expect(4);
    // Appending a second time would duplicate rows.
    workshop.cluster.psql("postgres", "create database added");
    let to = to.replace("again", "added");
    let arguments = ["restore", "bulk", "--append", "--to", &to];
    workshop.opening(&arguments).expect(4).says("check database").keeps_quiet_about("continues from");
}

#[test]
fn the_databases_of_a_run_are_restored_several_at_once() {
    let workshop = Workshop::new();
    for name in ["one", "two"] {
        workshop.make_bulk(name, 96);
    }
    workshop.longshore(&["run"]).expect(0);
    let contents = ["one", "two"].map(|name| bulk(&workshop, name));
    for name in ["one", "two"] {
        workshop.cluster.psql("postgres", &format!("drop database {name}"));
    }
    let identity = workshop.identity().display().to_string();
    let to = workshop.cluster.connection();
    let restore = workshop.start(&[
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
    let restore = await_rows(&workshop, restore, 2);
    Ended::of(restore.wait_with_output().unwrap()).expect(0).says("restored 4 backups");
    assert_eq!(["one", "two"].map(|name| bulk(&workshop, name)), contents);
}

#[test]
fn an_interruption_puts_back_what_was_there_and_says_where_it_stands() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 128);
    workshop.longshore(&["run"]).expect(0);
    workshop.cluster.psql("bulk", "drop table bulk; create table mine as select 1 n");
    let to = format!("{} dbname=bulk", workshop.cluster.connection());
    let identity = workshop.identity().display().to_string();
    let restore = workshop.start(&["restore", "bulk", "--clean", "--yes", "--to", &to, "--identity", &identity]);
    workshop.wait_for_backend("COPY%");
    kill_process(Pid::from_child(&restore), Signal::INT).unwrap();
    let ended = Ended::of(restore.wait_with_output().unwrap()).expect(130);
    ended.says("interrupted: incomplete").says("main/bulk/bulk-");
    assert_eq!(workshop.cluster.psql("bulk", "select n from mine"), "1");
    let databases = "select string_agg(datname, ' ' order by datname) from pg_database where not datistemplate";
    assert_eq!(workshop.cluster.psql("postgres", databases), "bulk postgres");
}

#[test]
fn how_long_it_takes_is_told_by_the_last_drill() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 1);
    workshop.configure(&Job { dump: BULK, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let manifest = manifest(&workshop.local());
    let name = manifest.strip_prefix(workshop.local()).unwrap().with_extension("").display().to_string();
    let phase =
        |name: &str, seconds: f64, restores: bool| json!({ "name": name, "seconds": seconds, "restores": restores });
    let drill = json!({
        "longshore": "0.1.0", "by": "somebody@somewhere", "backup": name, "destination": "local",
        "started": "2026-06-07T12:00:00Z", "finished": "2026-06-07T12:10:00Z", "verdict": "good", "scratch": "PostgreSQL",
        "phases": [phase("restore", 60.0, true), phase("index", 30.5, true), phase("compare", 900.0, false)],
        "compared": 1, "different": 0,
    });
    let mark = workshop.local().join(format!("{name}.drilled.2026-06-07_121000.json"));
    fs::write(mark, drill.to_string()).unwrap();
    let to = format!("{} dbname=again", workshop.cluster.connection());
    let ended = workshop.opening(&["restore", "bulk", "--create", "--to", &to]).expect(0);
    ended.says("about 90.5 s (from the last drill)").says("restore ").says("analyze ");
}
