//! `run`, `check` and `status` report the objects that a backup does not contain.

use crate::support::{Job, Workshop, file_with};

const PG_DUMP: &str = "[{ type = 'pg_dumpall', no_role_passwords = true }, { type = 'pg_dump' }]";

/// Returns a cluster with a database of each kind that a role cannot dump, and templates with and
/// without tables.
fn with_closed_databases() -> (Workshop, String) {
    let workshop = Workshop::new();
    workshop.cluster.psql(
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
        workshop.cluster.psql(template, "create table own as select 1 i;");
    }
    let connection = workshop.cluster.connection().replace("user=postgres", "user=bk");
    (workshop, connection)
}

#[test]
fn a_run_names_what_it_does_not_capture() {
    let (workshop, connection) = with_closed_databases();
    workshop.configure_with_connection(&Job { dump: PG_DUMP, ..Job::default() }, &connection);
    let left = [
        "not captured: database \"azure\": allows no connections",
        "not captured: database \"rdsadmin\": role bk has no CONNECT privilege",
        "not captured: database \"closed\": its connection limit is 0",
        "not captured: database \"template1\": has objects of its own",
    ];
    let check = workshop.longshore(&["check"]).expect(0).says("not captured: settings of ALTER ROLE ALL: work_mem");
    let run =
        workshop.longshore(&["run"]).expect(0).says("globals: not captured: settings of ALTER ROLE ALL: work_mem");
    let (mut check, mut run) = (check.says("exclude = [\"azure\"]"), run.says("exclude = [\"rdsadmin\"]"));
    for left in left {
        (check, run) = (check.says(left), run.says(left));
    }
    check.keeps_quiet_about("database \"blank\"");
    run.keeps_quiet_about("database \"blank\"");
    workshop
        .longshore(&["run", "--json"])
        .expect(0)
        .says("\"what\": \"database \\\"azure\\\": allows no connections\"");

    workshop.opening(&["restore", "gis", "--list"]).expect(0).says("TABLE public own");
    let status = workshop.longshore(&["status"]);
    status.says("not captured of main by job nightly: database \"rdsadmin\": role bk has no CONNECT privilege");
    let names: Vec<_> = workshop.json(&["list", "--json"]).as_array().unwrap().clone();
    assert!(names.iter().all(|backup| !backup["name"].as_str().unwrap().contains("template1")), "{names:?}");
    let one = names[0]["run_not_captured"].clone();
    assert_eq!(one.as_array().map(Vec::len), Some(4), "{one}");

    let exclude = "[{ type = 'pg_dump', exclude = ['azure', 'rdsadmin', 'clos*', 'template1'] }]";
    workshop.configure_with_connection(&Job { dump: exclude, ..Job::default() }, &connection);
    workshop.longshore(&["run"]).expect(0).keeps_quiet_about("not captured");
}

#[test]
fn a_script_of_the_cluster_names_the_databases_that_it_lacks() {
    let (workshop, _) = with_closed_databases();
    let all = |more: &str| format!("[{{ type = 'pg_dumpall', what = 'all'{more} }}]");
    workshop.configure(&Job { dump: &all(""), ..Job::default() });
    let run = workshop.longshore(&["run"]).expect(0).says("not captured: database \"azure\": allows no connections");
    run.keeps_quiet_about("rdsadmin").keeps_quiet_about("template0");
    let excluding = all(", extra_args = ['--exclude-database=azure']");
    workshop.configure(&Job { dump: &excluding, ..Job::default() });
    workshop.longshore(&["run"]).expect(0).keeps_quiet_about("azure");
}

#[test]
fn a_plain_script_names_the_properties_that_it_lacks() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("app");
    workshop.cluster.psql("app", "alter database app set work_mem = '7MB'; create table t (i int);");
    let dump = |format: &str| format!("[{{ type = 'pg_dump', databases = ['app'], format = '{format}' }}]");
    workshop.configure(&Job { dump: &dump("plain"), ..Job::default() });
    workshop.longshore(&["run"]).expect(0).says("app: not captured: settings of the database itself");
    workshop.configure(&Job { dump: &dump("custom"), ..Job::default() });
    workshop.longshore(&["run"]).expect(0).keeps_quiet_about("not captured");
    file_with(&workshop.local(), ".sql");
}

#[test]
fn an_empty_database_is_compared_in_a_drill() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("blank");
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['blank'] }]", ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    workshop
        .opening(&["drill"])
        .expect(0)
        .says("restored and compared: all equal")
        .keeps_quiet_about("nothing was compared");
}
