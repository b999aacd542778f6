//! A role with few privileges backs up the data that it may read, and the report names the rest.

use crate::support::{Job, Workshop};

fn with_role(grants: &str) -> Workshop {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    workshop.cluster.psql(
        "appdb",
        "create table t as select generate_series(1, 10) n; create schema private; create table private.u ();",
    );
    workshop
        .cluster
        .psql("postgres", &format!("create role backup login; create role app login password 'x'; {grants}"));
    let connection = workshop.cluster.connection().replace("user=postgres", "user=backup");
    workshop.configure_with_connection(
        &Job { dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['appdb'] }]", ..Job::default() },
        &connection,
    );
    workshop
}

#[test]
fn a_role_without_superuser_degrades_and_says_so() {
    let workshop = with_role("");
    workshop.cluster.psql("appdb", "grant usage on schema private to backup; grant select on t, private.u to backup;");
    workshop.longshore(&["check"]).expect(0).says("role passwords cannot be captured").says("lacks pg_read_all_data");
    workshop.longshore(&["run"]).expect(0).says("globals: not captured: role passwords");
    let lines = workshop.json(&["list", "globals", "--json"]);
    assert_eq!(lines[0]["not_captured"], serde_json::json!(["role passwords"]));
    workshop.opening(&["restore", "globals", "--list"]).expect(0).says("CREATE ROLE app");
}

#[test]
fn a_table_that_may_not_be_read_fails_its_database_with_the_remedy() {
    let workshop = with_role("");
    workshop.longshore(&["run"]).expect(3).says("permission denied").says("grant pg_read_all_data");
    assert_eq!(workshop.json(&["list", "--json"]).as_array().unwrap().len(), 1, "the globals alone");
}

#[test]
fn pg_read_all_data_suffices() {
    let workshop = with_role("grant pg_read_all_data to backup;");
    workshop.longshore(&["run"]).expect(0).keeps_quiet_about("not captured");
}

#[test]
fn a_restore_says_what_its_role_may_not_do_and_the_way_out() {
    let workshop = with_role("grant pg_read_all_data to backup;");
    workshop.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=again", workshop.cluster.connection().replace("user=postgres", "user=backup"));
    let restore = ["restore", "appdb", "--create", "--to", &to];
    workshop.opening(&restore).expect(6).says("role \"backup\" may not create databases").says("createdb");
    workshop.cluster.psql("postgres", "alter role backup createdb;");
    workshop.opening(&restore).expect(6).says("may not act for the owners").says("--no-owner --no-privileges");
    workshop.opening(&[&restore[..], &["--no-owner", "--no-privileges"]].concat()).expect(0);
    assert_eq!(workshop.cluster.psql("again", "select sum(n) from t"), "55");
}

#[test]
fn a_drill_says_what_its_role_may_not_do_and_blames_no_backup() {
    let workshop = with_role("");
    let connection = workshop.cluster.connection().replace("user=postgres", "user=backup");
    let more = format!("[job.nightly.drill]\nscratch = {{ type = 'server', connection = '{connection}' }}");
    let dump = "[{ type = 'pg_dump', databases = ['appdb'] }]";
    workshop.configure(&Job { dump, more: &more, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let drill = workshop.opening(&["drill"]).expect(2).says("role \"backup\" may not create databases");
    drill.says("does not mean that the backup is damaged").says("createdb").keeps_quiet_about("--create");
}
