//! A restored cluster equals its source.

use longshore_testkit::cluster::{Cluster, Installation, contents, fingerprint, globals, schema};
use longshore_testkit::sample;

use crate::support::{Job, TestEnv};

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
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 200);
    // pg_dump's tar format accepts no line breaks in a database's name.
    let odd = sample::ODD_NAME.replace('\n', if databases.contains("tar") { " " } else { "\n" });
    test_env.cluster.create_database(&odd);
    test_env.cluster.psql(&odd, "create table t as select generate_series(1, 10) n;");
    let scratch_dir = test_env.make_folder("scratch");
    let more = if scratch { format!("scratch_dir = '{}'", scratch_dir.display()) } else { String::new() };
    let dump = format!("[{{ type = 'pg_dumpall' }}, {databases}]");
    test_env.configure(&Job { dump: &dump, more: &more, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    assert!(crate::support::files(&scratch_dir).is_empty(), "the scratch folder is not empty");

    let target = target();
    let to = target.connection();
    let mut arguments = vec!["restore", "--run", "latest", "--create", "--to", &to];
    if scratch {
        arguments.extend(["--scratch-dir", scratch_dir.to_str().unwrap()]);
    }
    test_env.run_with_identity(&arguments).expect(0);
    assert_eq!(globals(&target), globals(&test_env.cluster));
    for name in [sample::SHOP, sample::TELEMETRY, sample::ARCHIVE, sample::EMPTY, &odd] {
        assert_eq!(fingerprint(&target, name), fingerprint(&test_env.cluster, name), "{name}");
    }
}

#[test]
fn restores_custom_format() {
    restored_equals_source("{ type = 'pg_dump' }", false);
}

#[test]
fn restores_tar_format() {
    restored_equals_source("{ type = 'pg_dump', format = 'tar' }", false);
}

#[test]
fn restores_directory_format_in_parallel() {
    restored_equals_source("{ type = 'pg_dump', format = 'directory', jobs = 2 }", true);
}

#[test]
fn restores_plain_scripts() {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 200);
    test_env.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump', format = 'plain' }]",
        ..Job::default()
    });
    test_env.longshore(&["run"]).expect(0);
    let target = target();
    restore_scripts(&test_env, &["restore", "--run", "latest", "--create", "--to", &target.connection()]);
    for name in [sample::SHOP, sample::TELEMETRY, sample::ARCHIVE, sample::EMPTY] {
        assert_eq!(schema(&target, name), schema(&test_env.cluster, name), "{name}");
    }
}

/// Restores scripts of a trusted server with any version of psql.
fn restore_scripts(test_env: &TestEnv, arguments: &[&str]) {
    test_env.run_with_identity(&[arguments, &["--trust-script"]].concat()).expect(0);
}

#[test]
fn restores_dumps_compressed_by_pg_dump() {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 200);
    let more = "compression = { by = 'pg_dump', method = 'gzip', level = 9 }";
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['shop'] }]", more, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    crate::support::file_with(&test_env.local(), ".dump.age");
    let to = format!("{} dbname=again", test_env.cluster.connection());
    test_env.run_with_identity(&["restore", "shop", "--create", "--to", &to]).expect(0);
    assert_eq!(rows(&test_env.cluster, "again"), rows(&test_env.cluster, sample::SHOP));
}

#[test]
fn restores_into_a_newer_major_version() {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 50);
    test_env.longshore(&["run"]).expect(0);
    let target = Cluster::start(&Installation::newer(), &[]);
    let newer = std::env::join_paths([target.bin_dir()]).unwrap();
    let path = [newer, std::env::var_os("PATH").unwrap()].join(std::ffi::OsStr::new(":"));
    let mut restore = test_env.command();
    restore.env("PATH", path).args(["restore", "--run", "latest", "--create", "--to", &target.connection()]);
    crate::support::finish(restore.arg("--identity").arg(test_env.identity())).expect(0);
    assert_eq!(contents(&target, sample::SHOP), contents(&test_env.cluster, sample::SHOP));
}

#[test]
fn restores_one_database_with_globals() {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 50);
    test_env.longshore(&["run"]).expect(0);
    let target = target();
    let to = format!("{} dbname=shop", target.connection());
    let without = test_env.run_with_identity(&["restore", "shop", "--create", "--to", &to]).expect(6);
    without.shows("lacks the role").shows("--globals");
    test_env.run_with_identity(&["restore", "shop", "--create", "--globals", "--to", &to]).expect(0);
    assert_eq!(fingerprint(&target, "shop"), fingerprint(&test_env.cluster, "shop"));
}

#[test]
fn existing_roles_keep_their_password() {
    let test_env = TestEnv::new();
    test_env.cluster.psql("postgres", "create role app login password 'of the source'; create role other;");
    test_env.longshore(&["run"]).expect(0);
    let target = target();
    target.psql("postgres", "create role app login password 'of the target'");
    let password = "select rolpassword from pg_authid where rolname = 'app'";
    let before = target.psql("postgres", password);
    let result = test_env.run_with_identity(&["restore", "globals", "--to", &target.connection()]).expect(0);
    result.shows("role \"app\" already exists");
    assert_eq!(target.psql("postgres", password), before);
    assert_eq!(target.psql("postgres", "select count(*) from pg_roles where rolname = 'other'"), "1");
}

#[test]
fn restores_a_cluster_from_one_script() {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 50);
    test_env.configure(&Job { dump: "[{ type = 'pg_dumpall', what = 'all' }]", ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let target = target();
    restore_scripts(&test_env, &["restore", "all", "--to", &target.connection()]);
    for name in [sample::SHOP, sample::ARCHIVE] {
        assert_eq!(schema(&target, name), schema(&test_env.cluster, name), "{name}");
    }
}

#[test]
fn restores_as_of_a_given_time() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    test_env.cluster.psql("appdb", "create table t as select 1 as generation");
    test_env.longshore(&["run"]).expect(0);
    let first = test_env.json(&["list", "appdb", "--json"])[0]["time"].as_str().unwrap().to_owned();
    test_env.cluster.psql("appdb", "update t set generation = 2");
    test_env.longshore(&["run"]).expect(0);
    let restored = |at: &[&str], database: &str| {
        let to = format!("{} dbname={database}", test_env.cluster.connection());
        test_env.run_with_identity(&[&["restore", "appdb", "--create", "--to", &to], at].concat())
    };
    restored(&["--at", &first], "early").expect(0);
    restored(&[], "late").expect(0);
    restored(&["--at", "2001-01-01"], "never").expect(6).shows("no good backup is that old");
    assert_eq!(test_env.cluster.psql("early", "select generation from t"), "1");
    assert_eq!(test_env.cluster.psql("late", "select generation from t"), "2");
}

#[test]
fn nonempty_database_needs_clean() {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 50);
    test_env.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=shop", test_env.cluster.connection());
    test_env.run_with_identity(&["restore", "shop", "--to", &to]).expect(6).shows("not empty").shows("--clean");
    let before = fingerprint(&test_env.cluster, "shop");
    test_env.cluster.psql("shop", "create table later (); delete from shop.purchase;");
    test_env.run_with_identity(&["restore", "shop", "--clean", "--yes", "--to", &to]).expect(0);
    assert_eq!(fingerprint(&test_env.cluster, "shop"), before);
}

#[test]
fn restores_with_several_jobs() {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 200);
    test_env.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=again", test_env.cluster.connection());
    let arguments = ["restore", "shop", "--create", "--jobs", "2", "--to", &to];
    test_env.run_with_identity(&arguments).expect(1).shows("--scratch-dir");
    let scratch = test_env.make_folder("scratch");
    test_env.run_with_identity(&[&arguments[..], &["--scratch-dir", scratch.to_str().unwrap()]].concat()).expect(0);
    assert_eq!(rows(&test_env.cluster, "again"), rows(&test_env.cluster, "shop"));
    assert!(crate::support::files(&scratch).is_empty());
}

#[test]
fn lists_contents_and_writes_archive_to_file() {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 50);
    test_env.longshore(&["run"]).expect(0);
    test_env.run_with_identity(&["restore", "shop", "--list"]).expect(0).shows("TABLE DATA");
    test_env.run_with_identity(&["restore", "globals", "--list"]).expect(0).shows("CREATE ROLE shop_app");
    let file = test_env.path("shop.dump");
    let arguments = ["restore", "shop", "--output", file.to_str().unwrap()];
    test_env.run_with_identity(&arguments).expect(0);
    let mut pg_restore = std::process::Command::new(test_env.cluster.bin_dir().join("pg_restore"));
    let listed = crate::support::finish(pg_restore.arg("--list").arg(&file)).expect(0);
    listed.shows("TABLE DATA");
    test_env.run_with_identity(&arguments).expect(6);
}
