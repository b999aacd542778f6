//! A role with few privileges backs up the data that it may read, and the report names the rest.

use crate::support::{Job, TestEnv};

fn with_role(grants: &str) -> TestEnv {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    test_env.cluster.psql(
        "appdb",
        "create table t as select generate_series(1, 10) n; create schema private; create table private.u ();",
    );
    test_env
        .cluster
        .psql("postgres", &format!("create role backup login; create role app login password 'x'; {grants}"));
    let connection = test_env.cluster.connection().replace("user=postgres", "user=backup");
    test_env.configure_with_connection(
        &Job { dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['appdb'] }]", ..Job::default() },
        &connection,
    );
    test_env
}

#[test]
fn ordinary_role_backs_up_partially_with_warning() {
    let test_env = with_role("");
    test_env.cluster.psql("appdb", "grant usage on schema private to backup; grant select on t, private.u to backup;");
    test_env.longshore(&["check"]).expect(0).shows("role passwords cannot be captured").shows("lacks pg_read_all_data");
    test_env.longshore(&["run"]).expect(0).shows("globals: not captured: role passwords");
    let lines = test_env.json(&["list", "globals", "--json"]);
    assert_eq!(lines[0]["not_captured"], serde_json::json!(["role passwords"]));
    test_env.run_with_identity(&["restore", "globals", "--list"]).expect(0).shows("CREATE ROLE app");
}

#[test]
fn unreadable_table_fails_its_database_with_hint() {
    let test_env = with_role("");
    test_env.longshore(&["run"]).expect(3).shows("permission denied").shows("grant pg_read_all_data");
    assert_eq!(test_env.json(&["list", "--json"]).as_array().unwrap().len(), 1, "the globals alone");
}

#[test]
fn pg_read_all_data_suffices() {
    let test_env = with_role("grant pg_read_all_data to backup;");
    test_env.longshore(&["run"]).expect(0).omits("not captured");
}

#[test]
fn restore_reports_missing_privileges() {
    let test_env = with_role("grant pg_read_all_data to backup;");
    test_env.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=again", test_env.cluster.connection().replace("user=postgres", "user=backup"));
    let restore = ["restore", "appdb", "--create", "--to", &to];
    test_env.run_with_identity(&restore).expect(6).shows("role \"backup\" may not create databases").shows("createdb");
    test_env.cluster.psql("postgres", "alter role backup createdb;");
    test_env
        .run_with_identity(&restore)
        .expect(6)
        .shows("may not act for the owners")
        .shows("--no-owner --no-privileges");
    test_env.run_with_identity(&[&restore[..], &["--no-owner", "--no-privileges"]].concat()).expect(0);
    assert_eq!(test_env.cluster.psql("again", "select sum(n) from t"), "55");
}

#[test]
fn drill_reports_missing_privileges_not_damage() {
    let test_env = with_role("");
    let connection = test_env.cluster.connection().replace("user=postgres", "user=backup");
    let more = format!("[job.nightly.drill]\nscratch = {{ type = 'server', connection = '{connection}' }}");
    let dump = "[{ type = 'pg_dump', databases = ['appdb'] }]";
    test_env.configure(&Job { dump, more: &more, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let drill = test_env.run_with_identity(&["drill"]).expect(2).shows("role \"backup\" may not create databases");
    drill.shows("does not mean that the backup is damaged").shows("createdb").omits("--create");
}
