//! `run`, `check` and `status` report the objects that a backup does not contain.

use crate::support::{Job, TestEnv, file_with};

const PG_DUMP: &str = "[{ type = 'pg_dumpall', no_role_passwords = true }, { type = 'pg_dump' }]";

/// Returns a cluster with a database of each kind that a role cannot dump, and templates with and
/// without tables.
fn with_closed_databases() -> (TestEnv, String) {
    let test_env = TestEnv::new();
    test_env.cluster.psql(
        "postgres",
        "create database app;
         create database azure allow_connections false;
         create database rdsadmin; revoke connect on database rdsadmin from public;
         create database closed connection limit 0;
         create database gis is_template true; create database blank is_template true;
         alter role all set work_mem = '7MB';
         create role bk login bypassrls; grant pg_read_all_data to bk;",
    );
    for template in ["gis", "template1"] {
        test_env.cluster.psql(template, "create table own as select 1 i;");
    }
    let connection = test_env.cluster.connection().replace("user=postgres", "user=bk");
    (test_env, connection)
}

#[test]
fn run_names_uncaptured_objects() {
    let (test_env, connection) = with_closed_databases();
    test_env.configure_with_connection(&Job { dump: PG_DUMP, ..Job::default() }, &connection);
    let left = [
        "not captured: database \"azure\": allows no connections",
        "not captured: database \"rdsadmin\": role bk has no CONNECT privilege",
        "not captured: database \"closed\": its connection limit is 0",
        "not captured: database \"template1\": has objects of its own",
    ];
    let check = test_env.longshore(&["check"]).expect(0).shows("not captured: settings of ALTER ROLE ALL: work_mem");
    let run =
        test_env.longshore(&["run"]).expect(0).shows("globals: not captured: settings of ALTER ROLE ALL: work_mem");
    let (mut check, mut run) = (check.shows("exclude = [\"azure\"]"), run.shows("exclude = [\"rdsadmin\"]"));
    for left in left {
        (check, run) = (check.shows(left), run.shows(left));
    }
    check.omits("database \"blank\"");
    run.omits("database \"blank\"");
    test_env
        .longshore(&["run", "--json"])
        .expect(0)
        .shows("\"what\": \"database \\\"azure\\\": allows no connections\"");

    test_env.run_with_identity(&["restore", "gis", "--list"]).expect(0).shows("TABLE public own");
    let status = test_env.longshore(&["status"]);
    status.shows("not captured of main by job nightly: database \"rdsadmin\": role bk has no CONNECT privilege");
    let names: Vec<_> = test_env.json(&["list", "--json"]).as_array().unwrap().clone();
    assert!(names.iter().all(|backup| !backup["name"].as_str().unwrap().contains("template1")), "{names:?}");
    let one = names[0]["run_not_captured"].clone();
    assert_eq!(one.as_array().map(Vec::len), Some(4), "{one}");

    let exclude = "[{ type = 'pg_dump', exclude = ['azure', 'rdsadmin', 'clos*', 'template1'] }]";
    test_env.configure_with_connection(&Job { dump: exclude, ..Job::default() }, &connection);
    test_env.longshore(&["run"]).expect(0).omits("not captured");
}

#[test]
fn cluster_script_names_missing_databases() {
    let (test_env, _) = with_closed_databases();
    let all = |more: &str| format!("[{{ type = 'pg_dumpall', what = 'all'{more} }}]");
    test_env.configure(&Job { dump: &all(""), ..Job::default() });
    let run = test_env.longshore(&["run"]).expect(0).shows("not captured: database \"azure\": allows no connections");
    run.omits("rdsadmin").omits("template0");
    let excluding = all(", extra_args = ['--exclude-database=azure']");
    test_env.configure(&Job { dump: &excluding, ..Job::default() });
    test_env.longshore(&["run"]).expect(0).omits("azure");
}

#[test]
fn plain_script_names_missing_properties() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("app");
    test_env.cluster.psql("app", "alter database app set work_mem = '7MB'; create table t (i int);");
    let dump = |format: &str| format!("[{{ type = 'pg_dump', databases = ['app'], format = '{format}' }}]");
    test_env.configure(&Job { dump: &dump("plain"), ..Job::default() });
    test_env.longshore(&["run"]).expect(0).shows("app: not captured: settings of the database itself");
    test_env.configure(&Job { dump: &dump("custom"), ..Job::default() });
    test_env.longshore(&["run"]).expect(0).omits("not captured");
    file_with(&test_env.local(), ".sql");
}

#[test]
fn drill_compares_an_empty_database() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("blank");
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['blank'] }]", ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    test_env
        .run_with_identity(&["drill"])
        .expect(0)
        .stdout_shows("restored and compared: ")
        .stdout_shows(" equal")
        .omits("nothing was compared");
}
