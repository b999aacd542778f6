//! The drill of a base backup starts a cluster on its files, reads all of it, and leaves nothing.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use longshore_testkit::cluster::{Cluster, Installation};
use longshore_testkit::sample;
use serde_json::Value;

use crate::base_backups_restore_clusters::BASE;
use crate::drills_restore_and_compare::{path_with, scratch_dir};
use crate::interrupted_drills_leave_nothing::{folder, is_in_use, signal, start};
use crate::support::{CommandOutput, Job, TestEnv, finish, wait_for};

/// The phases of a drill without queries.
const PHASES: [&str; 5] = ["fetch", "unpack", "start", "amcheck", "read"];

/// Drills the job in a scratch folder, which must be empty afterwards.
pub(crate) fn drill(test_env: &TestEnv, installation: &Installation, arguments: &[&str]) -> CommandOutput {
    let scratch = scratch_dir();
    let mut drill = test_env.command();
    drill.env("PATH", path_with(installation)).arg("drill").args(arguments).arg("--scratch-dir").arg(scratch.path());
    let result = finish(drill.arg("--identity").arg(test_env.identity()));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "the scratch folder is not empty: {result:?}");
    assert!(!is_in_use(scratch.path()), "{result:?}");
    result
}

fn report(result: &CommandOutput) -> Value {
    serde_json::from_str(&result.stdout).unwrap_or_else(|error| panic!("{error}: {result:?}"))
}

/// Returns the only drill of a base backup.
fn of_base(report: &Value) -> &Value {
    let drills = report["drills"].as_array().unwrap();
    drills.iter().find(|drill| drill["backup"].as_str().unwrap().starts_with("main/base/")).unwrap()
}

/// Creates a tablespace beside the data directory, and a table in it.
fn make_tablespace(cluster: &Cluster) {
    let folder = cluster.data_dir().with_file_name("annex");
    fs::create_dir(&folder).unwrap();
    let owner = fs::metadata(cluster.data_dir()).unwrap();
    chown(&folder, Some(owner.uid()), Some(owner.gid())).unwrap();
    cluster.psql("postgres", &format!("create tablespace annex location '{}'", folder.display()));
    cluster.psql(sample::SHOP, "create table annexed tablespace annex as select generate_series(1, 100) n");
}

/// Backs up and drills a cluster with a tablespace in this release.
fn cluster_is_drilled(installation: &Installation) {
    let test_env = TestEnv::with_cluster(Cluster::start(installation, &[]));
    sample::load(&test_env.cluster, 100);
    make_tablespace(&test_env.cluster);
    let query =
        format!("[[job.nightly.drill.query]]\ndatabase = '{}'\nsql = 'select 6 * 7'\nanswer = '42'\n", sample::SHOP);
    test_env.configure(&Job { dump: BASE, more: &format!("[job.nightly.drill]\n{query}"), ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let result = drill(&test_env, installation, &["--json"]).expect(0);
    let report = report(&result);
    let drill = of_base(&report);
    assert_eq!(drill["verdict"], "good", "{drill:#}");
    let phases: Vec<_> =
        drill["phases"].as_array().unwrap().iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    for phase in PHASES {
        assert!(phases.contains(&phase), "{phase} in {phases:?}");
    }
    assert_eq!((phases.last(), drill["answers"][0]["good"].as_bool()), (Some(&"queries"), Some(true)), "{drill:#}");
    let scratch = drill["scratch"].as_str().unwrap();
    assert!(scratch.contains(&installation.version) && scratch.contains("namespaces"), "{scratch}");
    let shop = format!("database {}", sample::SHOP);
    let of_shop = drill["comparisons"].as_array().unwrap().iter().filter(|comparison| comparison["subject"] == shop);
    let outcomes: Vec<_> = of_shop.map(|comparison| comparison["outcome"].clone()).collect();
    assert_eq!(outcomes, ["same"; 3], "tables, indexes and reading: {drill:#}");
    let marks = crate::support::files(&test_env.local());
    assert!(marks.iter().any(|name| name.starts_with("main/base/") && name.contains(".drilled.")), "{marks:?}");
}

#[test]
fn base_backup_is_drilled_on_system_release() {
    cluster_is_drilled(&Installation::system());
}

#[test]
fn base_backup_is_drilled_on_newest_release() {
    cluster_is_drilled(Installation::all().last().unwrap());
}

#[test]
fn dumps_and_base_backup_of_one_run_are_drilled() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("shop");
    test_env.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump' }, { type = 'pg_base', checkpoint = 'fast' }]",
        ..Job::default()
    });
    test_env.longshore(&["run"]).expect(0);
    let all = report(&drill(&test_env, &Installation::system(), &["--json"]).expect(0));
    let verdicts: Vec<_> = all["drills"].as_array().unwrap().iter().map(|drill| &drill["verdict"]).collect();
    assert!(verdicts.len() >= 3 && verdicts.iter().all(|verdict| *verdict == "good"), "{all:#}");
    let name = of_base(&all)["backup"].as_str().unwrap().to_owned();
    let one = report(&drill(&test_env, &Installation::system(), &["--json", "--backup", &name]).expect(0));
    assert_eq!(one["drills"].as_array().unwrap().len(), 1, "{one:#}");
}

/// Writes over the second page of a table of which the server has read nothing.
fn damage(cluster: &Cluster) {
    cluster.create_database("shop");
    cluster.psql("shop", "create table orders as select n, repeat('x', 99) x from generate_series(1, 2000) n");
    cluster.psql("postgres", "create database damaged template shop strategy file_copy");
    let path = cluster.psql("damaged", "select pg_relation_filepath('orders')");
    let file = OpenOptions::new().write(true).open(cluster.data_dir().join(path)).unwrap();
    file.write_all_at(&[0xff; 64], 8192).unwrap();
}

#[test]
fn page_damaged_before_the_backup_is_found() {
    // Without checksums, the server sends the page.
    let test_env = TestEnv::new();
    damage(&test_env.cluster);
    test_env.configure(&Job { dump: BASE, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let result = drill(&test_env, &Installation::system(), &["--json"]).expect(4);
    let report = report(&result);
    let drill = of_base(&report);
    assert_eq!(drill["verdict"], "damaged", "{drill:#}");
    let different = |comparison: &&Value| comparison["outcome"] == "different";
    let comparisons = drill["comparisons"].as_array().unwrap();
    let subjects: Vec<_> = comparisons.iter().filter(different).map(|comparison| &comparison["subject"]).collect();
    assert!(!subjects.is_empty() && subjects.iter().all(|subject| *subject == "database damaged"), "{drill:#}");
    test_env.longshore(&["status"]).shows("damaged");
}

#[test]
fn another_release_is_not_damage() {
    let test_env = TestEnv::new();
    let other = Installation::all().into_iter().last().unwrap().bin_dir;
    let more = format!("[job.nightly.drill]\nscratch = {{ type = 'initdb', bin_dir = '{}' }}", other.display());
    test_env.configure(&Job { dump: BASE, more: &more, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let major = Installation::system().major;
    drill(&test_env, &Installation::system(), &[]).expect(2).shows(&format!("postgresql-{major}"));
    let more = format!(
        "[job.nightly.drill]\nscratch = {{ type = 'server', connection = '{}' }}",
        test_env.cluster.connection()
    );
    test_env.configure(&Job { dump: BASE, more: &more, ..Job::default() });
    drill(&test_env, &Installation::system(), &[]).expect(1).shows("type = \"initdb\"");
}

fn unpacked(scratch_dir: &Path) -> Option<PathBuf> {
    folder(scratch_dir).filter(|folder| folder.join("data/base").exists())
}

fn started(scratch_dir: &Path) -> Option<PathBuf> {
    folder(scratch_dir).filter(|folder| folder.join("log").exists())
}

/// A function that returns the drill's folder once the drill has reached a moment.
type Reached = fn(&Path) -> Option<PathBuf>;

#[test]
fn killed_drill_of_base_backup_leaves_nothing() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 48);
    test_env.configure(&Job { dump: BASE, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let moments: [(&str, Reached); 3] =
        [("the folder is made", folder), ("the files are unpacked", unpacked), ("the server starts", started)];
    for ((moment, reached), name) in moments.into_iter().zip(["KILL", "TERM", "KILL"]) {
        let scratch_dir = scratch_dir();
        let mut drill = start(&test_env, &["--scratch-dir", scratch_dir.path().to_str().unwrap()]);
        wait_for(moment, || reached(scratch_dir.path()));
        signal(&drill, name);
        drill.wait().unwrap();
        wait_for(&format!("nothing to be left after SIG{name} when {moment}"), || {
            (folder(scratch_dir.path()).is_none() && !is_in_use(scratch_dir.path())).then_some(())
        });
    }
    let marks = crate::support::files(&test_env.local());
    assert!(!marks.iter().any(|name| name.contains(".damaged.")), "{marks:?}");
}
