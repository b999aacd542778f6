//! A restored cluster equals its source.

use longshore_testkit::cluster::{Cluster, Installation, contents, fingerprint, globals, schema};
use longshore_testkit::sample;

use crate::support::{Job, Workshop};

/// Returns a second, empty cluster of the same version.
fn target() -> Cluster {
    Cluster::start(&Installation::system(), &[])
}

/// Returns the content of a database, without the database's own properties, which a restore under
/// another name does not set.
fn rows(cluster: &Cluster, database: &str) -> String {
    contents(cluster, database).lines().filter(|line| !line.starts_with("database")).collect::<Vec<_>>().join("\n")
}

/// Dumps the sample databases with these stages, restores the run into a second cluster, and
/// compares everything.
fn restored_equals_source(databases: &str, scratch: bool) {
    let workshop = Workshop::new();
    sample::load(&workshop.cluster, 200);
    // pg_dump's tar format accepts no line breaks in a database's name.
    let odd = sample::ODD_NAME.replace('\n', if databases.contains("tar") { " " } else { "\n" });
    workshop.cluster.create_database(&odd);
    workshop.cluster.psql(&odd, "create table t as select generate_series(1, 10) n;");
    let scratch_dir = workshop.make_folder("scratch");
    let more = if scratch { format!("scratch_dir = '{}'", scratch_dir.display()) } else { String::new() };
    let dump = format!("[{{ type = 'pg_dumpall' }}, {databases}]");
    workshop.configure(&Job { dump: &dump, more: &more, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    assert!(crate::support::files(&scratch_dir).is_empty(), "the scratch folder is not empty");

    let target = target();
    let to = target.connection();
    let mut arguments = vec!["restore", "--run", "latest", "--create", "--to", &to];
    if scratch {
        arguments.extend(["--scratch-dir", scratch_dir.to_str().unwrap()]);
    }
    workshop.opening(&arguments).expect(0);
    assert_eq!(globals(&target), globals(&workshop.cluster));
    for name in [sample::SHOP, sample::TELEMETRY, sample::ARCHIVE, sample::EMPTY, &odd] {
        assert_eq!(fingerprint(&target, name), fingerprint(&workshop.cluster, name), "{name}");
    }
}

#[test]
fn in_the_custom_format() {
    restored_equals_source("{ type = 'pg_dump' }", false);
}

#[test]
fn in_the_tar_format() {
    restored_equals_source("{ type = 'pg_dump', format = 'tar' }", false);
}

#[test]
fn in_the_directory_format_with_several_jobs() {
    restored_equals_source("{ type = 'pg_dump', format = 'directory', jobs = 2 }", true);
}

#[test]
fn from_plain_scripts() {
    let workshop = Workshop::new();
    sample::load(&workshop.cluster, 200);
    workshop.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump', format = 'plain' }]",
        ..Job::default()
    });
    workshop.longshore(&["run"]).expect(0);
    let target = target();
    restore_scripts(&workshop, &["restore", "--run", "latest", "--create", "--to", &target.connection()]);
    for name in [sample::SHOP, sample::TELEMETRY, sample::ARCHIVE, sample::EMPTY] {
        assert_eq!(schema(&target, name), schema(&workshop.cluster, name), "{name}");
    }
}

/// Restores scripts of a trusted server with any version of psql.
fn restore_scripts(workshop: &Workshop, arguments: &[&str]) {
    workshop.opening(&[arguments, &["--trust-script"]].concat()).expect(0);
}

#[test]
fn compressed_by_pg_dump_as_runbooks_do() {
    let workshop = Workshop::new();
    sample::load(&workshop.cluster, 200);
    let more = "compression = { by = 'pg_dump', method = 'gzip', level = 9 }";
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['shop'] }]", more, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    crate::support::file_with(&workshop.local(), ".dump.age");
    let to = format!("{} dbname=again", workshop.cluster.connection());
    workshop.opening(&["restore", "shop", "--create", "--to", &to]).expect(0);
    assert_eq!(rows(&workshop.cluster, "again"), rows(&workshop.cluster, sample::SHOP));
}

#[test]
fn into_a_newer_major_version() {
    let workshop = Workshop::new();
    sample::load(&workshop.cluster, 50);
    workshop.longshore(&["run"]).expect(0);
    let target = Cluster::start(&Installation::newer(), &[]);
    let newer = std::env::join_paths([target.bin_dir()]).unwrap();
    let path = [newer, std::env::var_os("PATH").unwrap()].join(std::ffi::OsStr::new(":"));
    let mut restore = workshop.command();
    restore.env("PATH", path).args(["restore", "--run", "latest", "--create", "--to", &target.connection()]);
    crate::support::finish(restore.arg("--identity").arg(workshop.identity())).expect(0);
    assert_eq!(contents(&target, sample::SHOP), contents(&workshop.cluster, sample::SHOP));
}

#[test]
fn one_database_with_its_globals_into_an_empty_cluster() {
    let workshop = Workshop::new();
    sample::load(&workshop.cluster, 50);
    workshop.longshore(&["run"]).expect(0);
    let target = target();
    let to = format!("{} dbname=shop", target.connection());
    let without = workshop.opening(&["restore", "shop", "--create", "--to", &to]).expect(6);
    without.says("lacks the role").says("--globals");
    workshop.opening(&["restore", "shop", "--create", "--globals", "--to", &to]).expect(0);
    assert_eq!(fingerprint(&target, "shop"), fingerprint(&workshop.cluster, "shop"));
}

#[test]
fn roles_that_are_there_keep_their_password() {
    let workshop = Workshop::new();
    workshop.cluster.psql("postgres", "create role app login password 'of the source'; create role other;");
    workshop.longshore(&["run"]).expect(0);
    let target = target();
    target.psql("postgres", "create role app login password 'of the target'");
    let password = "select rolpassword from pg_authid where rolname = 'app'";
    let before = target.psql("postgres", password);
    let ended = workshop.opening(&["restore", "globals", "--to", &target.connection()]).expect(0);
    ended.says("role \"app\" already exists");
    assert_eq!(target.psql("postgres", password), before);
    assert_eq!(target.psql("postgres", "select count(*) from pg_roles where rolname = 'other'"), "1");
}

#[test]
fn a_whole_cluster_from_one_script() {
    let workshop = Workshop::new();
    sample::load(&workshop.cluster, 50);
    workshop.configure(&Job { dump: "[{ type = 'pg_dumpall', what = 'all' }]", ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let target = target();
    restore_scripts(&workshop, &["restore", "all", "--to", &target.connection()]);
    for name in [sample::SHOP, sample::ARCHIVE] {
        assert_eq!(schema(&target, name), schema(&workshop.cluster, name), "{name}");
    }
}

#[test]
fn as_old_as_asked_for_and_never_newer() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    workshop.cluster.psql("appdb", "create table t as select 1 as generation");
    workshop.longshore(&["run"]).expect(0);
    let first = workshop.json(&["list", "appdb", "--json"])[0]["time"].as_str().unwrap().to_owned();
    workshop.cluster.psql("appdb", "update t set generation = 2");
    workshop.longshore(&["run"]).expect(0);
    let restored = |at: &[&str], database: &str| {
        let to = format!("{} dbname={database}", workshop.cluster.connection());
        workshop.opening(&[&["restore", "appdb", "--create", "--to", &to], at].concat())
    };
    restored(&["--at", &first], "early").expect(0);
    restored(&[], "late").expect(0);
    restored(&["--at", "2001-01-01"], "never").expect(6).says("no good backup is that old");
    assert_eq!(workshop.cluster.psql("early", "select generation from t"), "1");
    assert_eq!(workshop.cluster.psql("late", "select generation from t"), "2");
}

#[test]
fn a_database_that_is_not_empty_is_refused_unless_cleaning_is_asked_for() {
    let workshop = Workshop::new();
    sample::load(&workshop.cluster, 50);
    workshop.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=shop", workshop.cluster.connection());
    workshop.opening(&["restore", "shop", "--to", &to]).expect(6).says("not empty").says("--clean");
    let before = fingerprint(&workshop.cluster, "shop");
    workshop.cluster.psql("shop", "create table later (); delete from shop.purchase;");
    workshop.opening(&["restore", "shop", "--clean", "--yes", "--to", &to]).expect(0);
    assert_eq!(fingerprint(&workshop.cluster, "shop"), before);
}

#[test]
fn with_several_jobs() {
    let workshop = Workshop::new();
    sample::load(&workshop.cluster, 200);
    workshop.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=again", workshop.cluster.connection());
    let arguments = ["restore", "shop", "--create", "--jobs", "2", "--to", &to];
    workshop.opening(&arguments).expect(1).says("--scratch-dir");
    let scratch = workshop.make_folder("scratch");
    workshop.opening(&[&arguments[..], &["--scratch-dir", scratch.to_str().unwrap()]].concat()).expect(0);
    assert_eq!(rows(&workshop.cluster, "again"), rows(&workshop.cluster, "shop"));
    assert!(crate::support::files(&scratch).is_empty());
}

#[test]
fn its_contents_can_be_listed_and_its_archive_written_to_a_file() {
    let workshop = Workshop::new();
    sample::load(&workshop.cluster, 50);
    workshop.longshore(&["run"]).expect(0);
    workshop.opening(&["restore", "shop", "--list"]).expect(0).says("TABLE DATA");
    workshop.opening(&["restore", "globals", "--list"]).expect(0).says("CREATE ROLE shop_app");
    let file = workshop.path("shop.dump");
    let arguments = ["restore", "shop", "--output", file.to_str().unwrap()];
    workshop.opening(&arguments).expect(0);
    let mut pg_restore = std::process::Command::new(workshop.cluster.bin_dir().join("pg_restore"));
    let listed = crate::support::finish(pg_restore.arg("--list").arg(&file)).expect(0);
    listed.says("TABLE DATA");
    workshop.opening(&arguments).expect(6);
}
