//! A failed restore never costs the target its data, and a partial restore is never reported as
//! complete.

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{Job, TestEnv, artifact, finish};

/// Returns an environment with the databases `one` and `two`, backed up.
fn with_two() -> TestEnv {
    let test_env = TestEnv::new();
    for name in ["one", "two"] {
        test_env.cluster.create_database(name);
        test_env.cluster.psql(name, &format!("create table t as select '{name}' as name"));
    }
    test_env.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['one', 'two'] }]",
        ..Job::default()
    });
    test_env.longshore(&["run"]).expect(0);
    test_env
}

#[test]
fn run_restore_refuses_a_target_database() {
    let test_env = with_two();
    let to = format!("{} dbname=one", test_env.cluster.connection());
    test_env
        .run_with_identity(&["restore", "--run", "latest", "--clean", "--yes", "--to", &to])
        .expect(1)
        .shows("remove dbname");
    assert_eq!(test_env.cluster.psql("one", "select name from t"), "one");
}

#[test]
fn undecryptable_backup_leaves_the_target_unchanged() {
    let test_env = with_two();
    let other = TestEnv::new();
    let to = format!("{} dbname=one", test_env.cluster.connection());
    let mut restore = test_env.command();
    restore.args(["restore", "one", "--clean", "--yes", "--to", &to, "--identity"]).arg(other.identity());
    finish(&mut restore).expect(2);
    assert_eq!(test_env.cluster.psql("one", "select name from t"), "one");
}

#[test]
fn incomplete_run_is_never_restored_as_complete() {
    let test_env = with_two();
    let run = test_env.json(&["list", "one", "--json"])[0]["run"].as_str().unwrap().to_owned();
    std::fs::remove_file(artifact(&test_env.local().join("main/two"))).unwrap();
    let target = Cluster::start(&Installation::system(), &[]);
    let to = target.connection();
    let latest = test_env.run_with_identity(&["restore", "--run", "latest", "--create", "--to", &to]).expect(6);
    latest.shows("3 backups, of which 2 exist and are good (damaged: main/two/two-").shows("--run");
    assert_eq!(target.psql("postgres", "select count(*) from pg_database where datname = 'one'"), "0");
    let named = test_env.run_with_identity(&["restore", "--run", &run, "--create", "--to", &to]).expect(3);
    named.shows("restored 2 backups").shows("warning: the run planned 3 backups");
    assert_eq!(target.psql("one", "select name from t"), "one");
}

#[test]
fn failed_restore_affects_no_other_database() {
    let test_env = with_two();
    let artifact = artifact(&test_env.local().join("main/one"));
    let mut bytes = std::fs::read(&artifact).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&artifact, bytes).unwrap();
    let target = Cluster::start(&Installation::system(), &[]);
    let result =
        test_env.run_with_identity(&["restore", "--run", "latest", "--create", "--to", &target.connection()]).expect(3);
    result.shows("restored 2 of 3 backups").shows("error: ");
    assert_eq!(target.psql("two", "select name from t"), "two");
}

#[test]
fn ambiguous_job_must_be_named() {
    let test_env = with_two();
    let config = std::fs::read_to_string(test_env.config_path()).unwrap();
    let hourly = config.split("[job.nightly]").nth(1).unwrap().replace("'one', 'two'", "'one'");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    std::fs::write(test_env.config_path(), format!("{config}\n[job.hourly]\n{hourly}")).unwrap();
    test_env.cluster.psql("one", "update t set name = 'later'");
    test_env.longshore(&["run", "hourly"]).expect(0);
    let to = format!("{} dbname=again", test_env.cluster.connection());
    test_env
        .run_with_identity(&["restore", "one", "--create", "--to", &to])
        .expect(1)
        .shows("hourly, nightly")
        .shows("--job");
    test_env.run_with_identity(&["restore", "one", "--job", "nightly", "--create", "--to", &to]).expect(0);
    assert_eq!(test_env.cluster.psql("again", "select name from t"), "one");
    test_env
        .run_with_identity(&["restore", "--run", "latest", "--to", &to])
        .expect(1)
        .shows("hourly of main, nightly of main");
}

#[test]
fn data_only_restore_adds_rows() {
    let test_env = with_two();
    test_env
        .configure(&Job { dump: "[{ type = 'pg_dump', databases = ['one'], data_only = true }]", ..Job::default() });
    std::thread::sleep(std::time::Duration::from_millis(1100));
    test_env.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=one", test_env.cluster.connection());
    test_env.cluster.psql("one", "delete from t");
    test_env.run_with_identity(&["restore", "one", "--to", &to]).expect(6).shows("--append");
    test_env.run_with_identity(&["restore", "one", "--append", "--to", &to]).expect(0);
    assert_eq!(test_env.cluster.psql("one", "select name from t"), "one");
}

#[test]
fn missing_globals_fail_the_restore() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { dump: "[{ type = 'pg_dump' }]", ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=again", test_env.cluster.connection());
    test_env
        .run_with_identity(&["restore", "postgres", "--globals", "--create", "--to", &to])
        .expect(2)
        .shows("the backup was made without globals");
}

#[test]
fn cluster_script_needs_an_empty_cluster() {
    let test_env = with_two();
    test_env.configure(&Job { dump: "[{ type = 'pg_dumpall', what = 'all' }]", ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    test_env.run_with_identity(&["restore", "all", "--to", &test_env.cluster.connection()]).expect(6).shows("\"one\"");
}

#[test]
fn failed_replacement_leaves_the_target_unchanged() {
    let test_env = with_two();
    // The function's dependency shows only when the constraint calls the function.
    test_env.cluster.psql("one", NO_RESTORE);
    test_env
        .cluster
        .psql("one", "create role owner; alter table t owner to owner; alter database one set work_mem = '5MB'");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    test_env.longshore(&["run"]).expect(0);
    let target = Cluster::start(&Installation::system(), &[]);
    target.psql("postgres", "create role owner");
    target.create_database("one");
    target.psql("one", "create table kept as select 1 n");
    let to = format!("{} dbname=one", target.connection());
    test_env
        .run_with_identity(&["restore", "one", "--clean", "--yes", "--to", &to])
        .expect(2)
        .shows("not in the target");
    assert_eq!(target.psql("one", "select n from kept"), "1");
    let databases = "select string_agg(datname, ' ' order by datname) from pg_database where not datistemplate";
    assert_eq!(target.psql("postgres", databases), "one postgres");

    // A database that the restore created is dropped as well, so that the next restore starts
    // clean.
    target.psql("postgres", "drop database one");
    test_env.run_with_identity(&["restore", "one", "--create", "--to", &to]).expect(2);
    assert_eq!(target.psql("postgres", databases), "postgres");
    target.create_database("two");
    test_env.run_with_identity(&["restore", "one", "--create", "--to", &to]).expect(0);
    assert_eq!(target.psql("one", "select current_setting('work_mem')"), "5MB");
}

/// A constraint whose rows load only where a database `two` exists.
const NO_RESTORE: &str = "create function there(text) returns text immutable language plpgsql as $$ begin
    if not exists (select from pg_catalog.pg_database where datname = 'two') then raise 'not in the target'; end if; return $1; end $$;
    alter table t add check (there(name) = name);";

#[test]
fn contradictory_options_are_refused() {
    let test_env = with_two();
    let to = test_env.cluster.connection();
    test_env.run_with_identity(&["restore", "globals", "--create", "--to", &to]).expect(1).shows("--create");
    let twice = ["restore", "one", "--role-map", "a=b", "--role-map", "a=c", "--to", &to];
    test_env.run_with_identity(&twice).expect(1).shows("is mapped to both \"b\" and \"c\"");
    test_env
        .run_with_identity(&["restore", "--run", "nope", "--to", &to])
        .expect(2)
        .shows("\"nope\"")
        .shows("list --json");
}

#[test]
fn partial_restore_never_replaces_a_database() {
    let test_env = with_two();
    let to = format!("{} dbname=one", test_env.cluster.connection());
    test_env
        .run_with_identity(&["restore", "one", "--clean", "--yes", "--table", "t", "--to", &to])
        .expect(1)
        .shows("--table");
    test_env.run_with_identity(&["restore", "one", "--clean", "--yes", "--section", "data", "--to", &to]).expect(1);
    assert_eq!(test_env.cluster.psql("one", "select name from t"), "one");
}

#[test]
fn database_set_aside_by_killed_restore_is_kept() {
    let test_env = with_two();
    let name = test_env.json(&["list", "--json"]).as_array().unwrap().iter().find_map(|backup| {
        let name = backup["name"].as_str()?;
        name.rsplit_once("/one-").map(|(_, time)| format!("one_before_{time}"))
    });
    let aside = name.unwrap();
    test_env.cluster.psql("postgres", &format!("create database \"{aside}\""));
    let to = format!("{} dbname=one", test_env.cluster.connection());
    let result = test_env.run_with_identity(&["restore", "one", "--clean", "--yes", "--to", &to]).expect(6);
    result.shows(&aside).shows("alter database").shows("the previous content of \"one\"");
    assert_eq!(test_env.cluster.psql("one", "select name from t"), "one");
}

#[test]
fn file_size_limit_leaves_no_partial_file() {
    let test_env = with_two();
    test_env.make_bulk("bulk", 2);
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['bulk'] }]", ..Job::default() });
    std::thread::sleep(std::time::Duration::from_millis(1100));
    test_env.longshore(&["run"]).expect(0);
    let output = test_env.path("half.dump");
    let mut limited = std::process::Command::new("bash");
    let restore = test_env.command();
    limited.args(["-c", "ulimit -f 100; exec \"$0\" \"$@\""]).arg(restore.get_program()).args(restore.get_args());
    limited.args(["restore", "bulk", "--output"]).arg(&output).arg("--identity").arg(test_env.identity());
    crate::support::finish(&mut limited).expect(2).shows("File too large");
    assert!(!output.exists());
}

#[test]
fn damaged_backup_is_restored_by_its_full_name() {
    let test_env = with_two();
    let folder = test_env.local().join("main/one");
    let details = crate::support::files(&folder).into_iter().find(|name| name.contains(".details.")).unwrap();
    std::fs::remove_file(folder.join(details)).unwrap();
    test_env.run_with_identity(&["verify", "one"]).expect(4);
    let all = test_env.json(&["list", "--json"]);
    let names = all.as_array().unwrap().iter().filter_map(|backup| backup["name"].as_str());
    let name = names.into_iter().find(|name| name.contains("/one-")).unwrap().to_owned();
    let to = test_env.path("one.dump").display().to_string();
    test_env.run_with_identity(&["restore", "one", "--output", &to]).expect(2).shows("no good backup");
    test_env.run_with_identity(&["restore", &name, "--output", &to]).expect(0).shows("requested by its full name");
    assert!(std::fs::metadata(&to).unwrap().len() > 0);
}

#[test]
fn database_postgres_can_be_replaced() {
    let test_env = TestEnv::new();
    test_env.cluster.psql("postgres", "create table t as select 1 n");
    test_env.longshore(&["run"]).expect(0);
    test_env.cluster.psql("postgres", "update t set n = 2");
    let to = test_env.cluster.connection();
    test_env.run_with_identity(&["restore", "postgres", "--clean", "--yes", "--to", &to]).expect(0);
    assert_eq!(test_env.cluster.psql("postgres", "select n from t"), "1");
}
