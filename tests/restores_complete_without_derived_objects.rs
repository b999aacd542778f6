//! Objects that are derived from the data, or need more privileges than the role has, do not fail a
//! restore. The report names each such object, with the statement that creates it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use longshore_testkit::cluster::{Cluster, Installation};
use serde_json::json;

use crate::support::{CommandOutput, Job, TestEnv};

/// A view, an index and a constraint that can be created in database "appdb" alone, and objects
/// that need a superuser.
const CONTENT: &str = "create table t as select i from generate_series(1, 500) i;
    create function here(i int) returns int language plpgsql immutable as $$ begin
        return case when current_database() = 'appdb' then i else 1 end; end $$;
    create unique index apart on t (here(i));
    create index plain on t (i);
    create function lone() returns bigint language plpgsql stable as $$ begin
        if current_database() <> 'appdb' then raise 'only at home'; end if; return 1; end $$;
    create materialized view at_home as select lone() c;
    create function counted() returns bigint language plpgsql stable as $$ begin return (select count(*) from t); end $$;
    create materialized view nameless as select counted() c;
    create role clerk; create role auditor; grant select on t to clerk; grant select on t to auditor;
    create publication everything for all tables;
    create function acts() returns event_trigger language plpgsql as $$ begin end $$;
    create event trigger acts on ddl_command_end execute function acts();";

fn test_env() -> TestEnv {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    test_env.cluster.psql("appdb", CONTENT);
    test_env.longshore(&["run"]).expect(0);
    test_env
}

fn restore(test_env: &TestEnv, target: &Cluster, database: &str, more: &[&str]) -> CommandOutput {
    let to = format!("{} dbname={database}", target.connection());
    let arguments = ["restore", "main/appdb", "--create", "--to", &to];
    test_env.run_with_identity(&[&arguments[..], more].concat())
}

fn rows(cluster: &Cluster, database: &str) -> String {
    cluster.psql(database, "select count(*) from t")
}

#[test]
fn failing_entry_is_skipped_and_named() {
    let test_env = test_env();
    let scratch = test_env.make_folder("scratch");
    let by_files = ["--jobs", "2", "--scratch-dir", scratch.to_str().unwrap()];
    for (database, more) in [("streamed", &[][..]), ("by_files", &by_files[..])] {
        let result = restore(&test_env, &test_env.cluster, database, more).expect(3);
        let result = result
            .shows("not restored: MATERIALIZED VIEW DATA public at_home")
            .shows("only at home")
            .shows("REFRESH MATERIALIZED VIEW public.at_home;")
            .shows("not restored: INDEX public apart")
            .shows("CREATE UNIQUE INDEX apart ON public.t")
            .shows("MATERIALIZED VIEW DATA public nameless")
            .shows("created with the database's own search_path")
            .shows("restored 1 backup, except the 2 entries above");
        result.omits("DIFFERS").omits("index public.plain");
        assert_eq!(rows(&test_env.cluster, database), "500");
        let made =
            "select (select c from nameless) || (select count(*)::text from pg_indexes where indexname = 'plain')
            || (select count(*) from pg_event_trigger) || (select count(*) from pg_publication)";
        assert_eq!(test_env.cluster.psql(database, made), "500111");
    }
    let to = format!("{} dbname=again", test_env.cluster.connection());
    let result = test_env.run_with_identity(&["restore", "main/appdb", "--create", "--json", "--to", &to]).expect(3);
    let report: serde_json::Value = serde_json::from_str(&result.stdout).unwrap();
    let left_out = &report["backups"][0]["left_out"];
    let codes: Vec<_> = left_out.as_array().unwrap().iter().map(|entry| &entry["sqlstate"]).collect();
    assert_eq!(codes, [&json!("23505"), &json!("P0001")], "{left_out}");
}

#[test]
fn setting_that_blocks_sessions_is_skipped() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    test_env.cluster.psql("appdb", "create table t as select i from generate_series(1, 500) i;");
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let library = folder.path().join("hints.so");
    let libraries = test_env.cluster.psql("postgres", "select setting from pg_config where name = 'PKGLIBDIR'");
    fs::copy(format!("{libraries}/auto_explain.so"), &library).unwrap();
    let set = format!("alter database appdb set session_preload_libraries = '{}'", library.display());
    test_env.cluster.psql("postgres", &set);
    test_env.longshore(&["run"]).expect(0);
    fs::remove_file(&library).unwrap();
    let target = Cluster::start(&Installation::system(), &[]);
    target.psql("template1", "drop database postgres");
    let result = restore(&test_env, &target, "appdb", &[]).expect(3);
    result
        .shows("not restored: DATABASE PROPERTIES")
        .shows("SET session_preload_libraries")
        .shows("could not access file");
    assert_eq!(rows(&target, "appdb"), "500");
}

#[test]
fn ordinary_role_restores_the_rows() {
    let test_env = test_env();
    let target = Cluster::start(&Installation::system(), &[]);
    target.psql("postgres", "create role clerk; create role adm login createdb");
    let to = format!("{} user=adm dbname=appdb", target.connection());
    let arguments = ["restore", "main/appdb", "--create", "--to", &to];
    let refused = test_env.run_with_identity(&arguments).expect(6);
    refused.shows("role \"adm\" may not act for the owners").shows("--no-owner");
    assert_eq!(target.psql("postgres", "select count(*) from pg_database where datname = 'appdb'"), "0");
    let result = test_env.run_with_identity(&[&arguments[..], &["--no-owner"]].concat()).expect(3);
    let result = result
        .shows("event triggers, which only a superuser may create")
        .shows("lacks the role \"auditor\"")
        .shows("not restored: PUBLICATION - everything")
        .shows("CREATE PUBLICATION everything FOR ALL TABLES")
        .shows("not restored: EVENT TRIGGER - acts")
        .shows("GRANT SELECT ON TABLE public.t TO auditor");
    result.omits("TO clerk").omits("DIFFERS");
    assert_eq!(rows(&target, "appdb"), "500");
    let granted = "select has_table_privilege('clerk', 't', 'select')";
    assert_eq!(target.psql("appdb", granted), "t");
    target.psql("postgres", "alter role adm nocreatedb");
    let refused = restore_as_adm(&test_env, &target).expect(6);
    refused.shows("role \"adm\" may not create databases").shows("createdb");
}

fn restore_as_adm(test_env: &TestEnv, target: &Cluster) -> CommandOutput {
    let to = format!("{} user=adm dbname=another", target.connection());
    test_env.run_with_identity(&["restore", "main/appdb", "--create", "--no-owner", "--no-privileges", "--to", &to])
}

#[test]
fn circular_rows_load_without_triggers() {
    let test_env = TestEnv::new();
    let tables = "create table emp (id int primary key, dept int not null);
        create table dept (id int primary key, boss int not null);
        alter table emp add foreign key (dept) references dept; alter table dept add foreign key (boss) references emp;";
    for database in ["appdb", "again", "part"] {
        test_env.cluster.create_database(database);
        test_env.cluster.psql(database, tables);
    }
    let fill = "set session_replication_role = replica; insert into emp values (1, 1); insert into dept values (1, 1)";
    test_env.cluster.psql("appdb", fill);
    let append = |database: &str, more: &[&str]| {
        let to = format!("{} dbname={database}", test_env.cluster.connection());
        let arguments = ["restore", "main/appdb", "--append", "--to", &to];
        test_env.run_with_identity(&[&arguments[..], more].concat()).expect(0);
        let rows = "select (select count(*) from emp) || '|' || (select count(*) from dept)";
        assert_eq!(test_env.cluster.psql(database, rows), "1|1");
        let disabled = "select count(*) from pg_trigger where tgenabled <> 'O'";
        assert_eq!(test_env.cluster.psql(database, disabled), "0");
    };
    test_env.longshore(&["run"]).expect(0);
    append("part", &["--section", "data"]);
    let dump = "[{ type = 'pg_dump', databases = ['appdb'], data_only = true }]";
    test_env.configure(&Job { dump, ..Job::default() });
    let run = test_env.longshore(&["run"]).expect(0);
    run.shows("circular foreign-key constraints").shows("emp").shows("dept").shows("--disable-triggers");
    append("again", &[]);
    // Without triggers, the server accepts rows whose references are missing.
    test_env.cluster.psql("appdb", "set session_replication_role = replica; delete from dept");
    test_env.longshore(&["run"]).expect(0);
    test_env.cluster.create_database("broken");
    test_env.cluster.psql("broken", tables);
    let to = format!("{} dbname=broken", test_env.cluster.connection());
    let result = test_env.run_with_identity(&["restore", "main/appdb", "--append", "--to", &to]).expect(3);
    result.shows("FK CONSTRAINT public emp emp_dept_fkey: restored rows refer to missing rows");
}

#[test]
fn plan_restores_nothing() {
    let test_env = test_env();
    let database = |name: &str| {
        let there = format!("select count(*) from pg_database where datname = '{name}'");
        test_env.cluster.psql("postgres", &there)
    };
    let planned = restore(&test_env, &test_env.cluster, "planned", &["--plan"]).expect(0);
    planned.shows("the event triggers \"acts\" fire").shows("nothing was restored");
    assert_eq!(database("planned"), "0");
    let planned = restore(&test_env, &test_env.cluster, "appdb", &["--plan", "--json"]).expect(6);
    let report: serde_json::Value = serde_json::from_str(&planned.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["outcome"] == "failed"), "{report}");

    let path = test_env.path("appdb.dump").display().to_string();
    test_env.run_with_identity(&["restore", "main/appdb", "--output", &path, "--create"]).expect(1).shows("--create");
    test_env.run_with_identity(&["restore", "main/appdb", "--list", "--no-owner"]).expect(1).shows("--no-owner");
    assert!(!test_env.path("appdb.dump").exists());

    let mut restore = test_env.command();
    restore.env("PGDATABASE", "by_variable").args(["restore", "main/appdb", "--create", "--to"]);
    let identity = test_env.identity();
    let result = crate::support::finish(restore.arg(test_env.cluster.connection()).arg("--identity").arg(identity));
    result.expect(3);
    assert_eq!(database("by_variable"), "1");
}

#[test]
fn generated_column_uses_the_database_search_path() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    let content = "create table rates (rate int); insert into rates values (7);
        create function rated(i int) returns int language plpgsql immutable as $$ begin
            return i * (select rate from rates); end $$;
        create table t (i int, made int generated always as (rated(i)) stored); insert into t values (6);";
    test_env.cluster.psql("appdb", content);
    test_env.longshore(&["run"]).expect(0);
    let failed = restore(&test_env, &test_env.cluster, "again", &[]).expect(2);
    failed.shows("--list-file").shows("--own-search-path");
    let scratch = test_env.make_folder("scratch");
    let by_files = ["--own-search-path", "--scratch-dir", scratch.to_str().unwrap()];
    for (database, more) in [("streamed", &by_files[..1]), ("by_files", &by_files[..])] {
        restore(&test_env, &test_env.cluster, database, more).expect(0);
        assert_eq!(test_env.cluster.psql(database, "select made from t"), "42");
    }
}
