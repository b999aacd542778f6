//! The guarantees of temporary clusters for tests.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use longshore_testkit::cluster::{Cluster, Installation, contents, fingerprint, globals};
use longshore_testkit::sample;

use crate::copy::{assert_same, copy_database, copy_globals};

#[test]
fn cluster_answers_by_socket_and_tcp() {
    let cluster = Cluster::start(&Installation::system(), &["work_mem=5MB"]);
    assert_eq!(cluster.psql("postgres", "SHOW work_mem; SELECT 1, NULL, 'ü';"), "5MB\n1||ü");
    assert!(cluster.psql_fails("postgres", "SELECT 1/0;").contains("division by zero"));
    for connection in [cluster.connection(), cluster.tcp_connection()] {
        let mut psql = Command::new(cluster.bin_dir().join("psql"));
        let output = psql.args(["-X", "-A", "-t", "-c", "SELECT 42", "-d", &connection]).output().unwrap();
        assert_eq!(output.stdout, b"42\n", "{connection}");
    }
    assert!(cluster.log().contains("division by zero"));
}

#[test]
fn databases_can_have_any_name() {
    let cluster = Cluster::start(&Installation::system(), &[]);
    cluster.create_database(sample::ODD_NAME);
    assert_eq!(cluster.psql(sample::ODD_NAME, "SELECT current_database();"), sample::ODD_NAME);
    assert!(fingerprint(&cluster, sample::ODD_NAME).starts_with("--"));
}

#[test]
fn clusters_have_unique_system_identifiers() {
    let identifier = |cluster: &Cluster| cluster.psql("postgres", "SELECT system_identifier FROM pg_control_system();");
    let [one, other] = [(); 2].map(|()| Cluster::start(&Installation::system(), &[]));
    assert_ne!(identifier(&one), identifier(&other));
}

#[test]
fn many_clusters_start_concurrently() {
    let installation = Installation::system();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| Cluster::start(&installation, &[]).psql("postgres", "SELECT 1;"));
        }
    });
}

#[test]
fn cluster_outlives_its_starting_thread() {
    let cluster = thread::spawn(|| Cluster::start(&Installation::system(), &[])).join().unwrap();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(cluster.psql("postgres", "SELECT 1;"), "1");
}

#[test]
fn dropped_cluster_leaves_nothing() {
    let cluster = Cluster::start(&Installation::system(), &[]);
    let (pid, data) = (postmaster(&cluster.data_dir()), cluster.data_dir());
    assert!(is_running(&pid));
    drop(cluster);
    assert!(!is_running(&pid));
    assert!(!data.parent().unwrap().exists());
}

#[test]
fn killed_test_stops_its_server() {
    let here = std::env::current_exe().unwrap();
    let example = here.ancestors().nth(2).unwrap().join("examples/idle_cluster");
    let test = Command::new(example).stdout(Stdio::piped()).spawn();
    let mut test = test.expect("cargo builds the examples with the tests: name no single test target");
    let lines = BufReader::new(test.stdout.take().unwrap()).lines().map(Result::unwrap);
    let data = lines.filter_map(|line| Some(PathBuf::from(line.split_once("data: ")?.1))).next().unwrap();
    let pid = postmaster(&data);
    assert!(is_running(&pid));
    test.kill().unwrap();
    test.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_running(&pid) {
        assert!(Instant::now() < deadline, "the server still runs");
        thread::sleep(Duration::from_millis(20));
    }
    drop(Cluster::start(&Installation::system(), &[]));
    assert!(!data.exists(), "the next cluster's start sweeps the folder");
}

#[test]
#[should_panic(expected = "unrecognized configuration parameter")]
fn start_failure_includes_the_log() {
    Cluster::start(&Installation::system(), &["no_such_setting=1"]);
}

#[test]
fn copy_has_same_fingerprint() {
    let [source, copy] = source_and_copy(&Installation::system(), &Installation::system());
    assert_same_databases(&source, &copy, fingerprint);
    assert_same(&globals(&copy), &globals(&source), "globals");
}

#[test]
fn copy_in_newer_version_has_same_fingerprint() {
    let [source, copy] = source_and_copy(&Installation::newer(), &Installation::newer());
    assert_same_databases(&source, &copy, fingerprint);
    assert_same(&globals(&copy), &globals(&source), "globals");
}

#[test]
fn copy_in_another_version_has_same_contents() {
    let [source, copy] = source_and_copy(&Installation::system(), &Installation::newer());
    assert_same_databases(&source, &copy, contents);
}

fn source_and_copy(source: &Installation, copy: &Installation) -> [Cluster; 2] {
    let [source, copy] = [source, copy].map(|installation| Cluster::start(installation, &[]));
    sample::load(&source, 200);
    copy_globals(&source, &copy);
    for (database, _) in sample::databases(0) {
        copy_database(&source, &copy, database);
    }
    [source, copy]
}

fn assert_same_databases(source: &Cluster, copy: &Cluster, of: fn(&Cluster, &str) -> String) {
    for (database, _) in sample::databases(0) {
        assert_same(&of(copy, database), &of(source, database), database);
    }
}

#[test]
fn every_change_alters_the_fingerprint() {
    let cluster = Cluster::start(&Installation::system(), &[]);
    sample::load(&cluster, 100);
    let shop = [
        "UPDATE shop.customer SET name = name || '!' WHERE id = 3;",
        "SELECT nextval('shop.invoice_number');",
        "ALTER TABLE shop.product ALTER price SET DEFAULT 7;",
        "ALTER DATABASE shop SET timezone TO 'UTC';",
        "REVOKE CONNECT ON DATABASE shop FROM shop_reader;",
    ];
    let archive = ["SELECT lo_put(800001, 0, 'x');"];
    let empty = ["COMMENT ON DATABASE empty IS 'no more';"];
    for (database, changes) in [(sample::SHOP, &shop[..]), (sample::ARCHIVE, &archive), (sample::EMPTY, &empty)] {
        let mut before = fingerprint(&cluster, database);
        for change in changes {
            cluster.psql(database, change);
            let after = fingerprint(&cluster, database);
            assert_ne!(after, before, "{change}");
            before = after;
        }
    }
}

fn postmaster(data: &Path) -> String {
    let status = fs::read_to_string(data.join("postmaster.pid")).unwrap();
    status.lines().next().unwrap().to_owned()
}

fn is_running(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}
