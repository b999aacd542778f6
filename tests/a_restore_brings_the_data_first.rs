//! Objects that are derived from the data, or need more privileges than the role has, do not fail a
//! restore. The report names each such object, with the statement that creates it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use longshore_testkit::cluster::{Cluster, Installation};
use serde_json::json;

use crate::support::{Ended, Job, Workshop};

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

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    workshop.cluster.psql("appdb", CONTENT);
    workshop.longshore(&["run"]).expect(0);
    workshop
}

fn restore(workshop: &Workshop, target: &Cluster, database: &str, more: &[&str]) -> Ended {
    let to = format!("{} dbname={database}", target.connection());
    let arguments = ["restore", "main/appdb", "--create", "--to", &to];
    workshop.opening(&[&arguments[..], more].concat())
}

fn rows(cluster: &Cluster, database: &str) -> String {
    cluster.psql(database, "select count(*) from t")
}

#[test]
fn an_entry_that_fails_is_left_out_and_named() {
    let workshop = workshop();
    let scratch = workshop.make_folder("scratch");
    let by_files = ["--jobs", "2", "--scratch-dir", scratch.to_str().unwrap()];
    for (database, more) in [("streamed", &[][..]), ("by_files", &by_files[..])] {
        let ended = restore(&workshop, &workshop.cluster, database, more).expect(3);
        let ended = ended
            .says("not restored: MATERIALIZED VIEW DATA public at_home")
            .says("only at home")
            .says("REFRESH MATERIALIZED VIEW public.at_home;")
            .says("not restored: INDEX public apart")
            .says("CREATE UNIQUE INDEX apart ON public.t")
            .says("MATERIALIZED VIEW DATA public nameless")
            .says("created with the database's own search_path")
            .says("restored 1 backup, except the 2 entries above");
        ended.keeps_quiet_about("DIFFERS").keeps_quiet_about("index public.plain");
        assert_eq!(rows(&workshop.cluster, database), "500");
        let made =
            "select (select c from nameless) || (select count(*)::text from pg_indexes where indexname = 'plain')
            || (select count(*) from pg_event_trigger) || (select count(*) from pg_publication)";
        assert_eq!(workshop.cluster.psql(database, made), "500111");
    }
    let to = format!("{} dbname=again", workshop.cluster.connection());
    let ended = workshop.opening(&["restore", "main/appdb", "--create", "--json", "--to", &to]).expect(3);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let left_out = &report["backups"][0]["left_out"];
    let codes: Vec<_> = left_out.as_array().unwrap().iter().map(|entry| &entry["sqlstate"]).collect();
    assert_eq!(codes, [&json!("23505"), &json!("P0001")], "{left_out}");
}

#[test]
fn a_setting_that_keeps_sessions_out_is_left_out() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    workshop.cluster.psql("appdb", "create table t as select i from generate_series(1, 500) i;");
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let library = folder.path().join("hints.so");
    let libraries = workshop.cluster.psql("postgres", "select setting from pg_config where name = 'PKGLIBDIR'");
    fs::copy(format!("{libraries}/auto_explain.so"), &library).unwrap();
    let set = format!("alter database appdb set session_preload_libraries = '{}'", library.display());
    workshop.cluster.psql("postgres", &set);
    workshop.longshore(&["run"]).expect(0);
    fs::remove_file(&library).unwrap();
    let target = Cluster::start(&Installation::system(), &[]);
    target.psql("template1", "drop database postgres");
    let ended = restore(&workshop, &target, "appdb", &[]).expect(3);
    ended.says("not restored: DATABASE PROPERTIES").says("SET session_preload_libraries").says("could not access file");
    assert_eq!(rows(&target, "appdb"), "500");
}

#[test]
fn an_ordinary_role_gets_the_rows() {
    let workshop = workshop();
    let target = Cluster::start(&Installation::system(), &[]);
    target.psql("postgres", "create role clerk; create role adm login createdb");
    let to = format!("{} user=adm dbname=appdb", target.connection());
    let arguments = ["restore", "main/appdb", "--create", "--to", &to];
    let refused = workshop.opening(&arguments).expect(6);
    refused.says("role \"adm\" may not act for the owners").says("--no-owner");
    assert_eq!(target.psql("postgres", "select count(*) from pg_database where datname = 'appdb'"), "0");
    let ended = workshop.opening(&[&arguments[..], &["--no-owner"]].concat()).expect(3);
    let ended = ended
        .says("event triggers, which only a superuser may create")
        .says("lacks the role \"auditor\"")
        .says("not restored: PUBLICATION - everything")
        .says("CREATE PUBLICATION everything FOR ALL TABLES")
        .says("not restored: EVENT TRIGGER - acts")
        .says("GRANT SELECT ON TABLE public.t TO auditor");
    ended.keeps_quiet_about("TO clerk").keeps_quiet_about("DIFFERS");
    assert_eq!(rows(&target, "appdb"), "500");
    let granted = "select has_table_privilege('clerk', 't', 'select')";
    assert_eq!(target.psql("appdb", granted), "t");
    target.psql("postgres", "alter role adm nocreatedb");
    let refused = restore_as_adm(&workshop, &target).expect(6);
    refused.says("role \"adm\" may not create databases").says("createdb");
}

fn restore_as_adm(workshop: &Workshop, target: &Cluster) -> Ended {
    let to = format!("{} user=adm dbname=another", target.connection());
    workshop.opening(&["restore", "main/appdb", "--create", "--no-owner", "--no-privileges", "--to", &to])
}

#[test]
fn rows_that_refer_to_one_another_are_loaded_without_triggers() {
    let workshop = Workshop::new();
    let tables = "create table emp (id int primary key, dept int not null);
        create table dept (id int primary key, boss int not null);
        alter table emp add foreign key (dept) references dept; alter table dept add foreign key (boss) references emp;";
    for database in ["appdb", "again", "part"] {
        workshop.cluster.create_database(database);
        workshop.cluster.psql(database, tables);
    }
    let fill = "set session_replication_role = replica; insert into emp values (1, 1); insert into dept values (1, 1)";
    workshop.cluster.psql("appdb", fill);
    let append = |database: &str, more: &[&str]| {
        let to = format!("{} dbname={database}", workshop.cluster.connection());
        let arguments = ["restore", "main/appdb", "--append", "--to", &to];
        workshop.opening(&[&arguments[..], more].concat()).expect(0);
        let rows = "select (select count(*) from emp) || '|' || (select count(*) from dept)";
        assert_eq!(workshop.cluster.psql(database, rows), "1|1");
        let disabled = "select count(*) from pg_trigger where tgenabled <> 'O'";
        assert_eq!(workshop.cluster.psql(database, disabled), "0");
    };
    workshop.longshore(&["run"]).expect(0);
    append("part", &["--section", "data"]);
    let dump = "[{ type = 'pg_dump', databases = ['appdb'], data_only = true }]";
    workshop.configure(&Job { dump, ..Job::default() });
    let run = workshop.longshore(&["run"]).expect(0);
    run.says("circular foreign-key constraints").says("emp").says("dept").says("--disable-triggers");
    append("again", &[]);
    // Without triggers, the server accepts rows whose references are missing.
    workshop.cluster.psql("appdb", "set session_replication_role = replica; delete from dept");
    workshop.longshore(&["run"]).expect(0);
    workshop.cluster.create_database("broken");
    workshop.cluster.psql("broken", tables);
    let to = format!("{} dbname=broken", workshop.cluster.connection());
    let ended = workshop.opening(&["restore", "main/appdb", "--append", "--to", &to]).expect(3);
    ended.says("FK CONSTRAINT public emp emp_dept_fkey: restored rows refer to missing rows");
}

#[test]
fn a_plan_looks_and_restores_nothing() {
    let workshop = workshop();
    let database = |name: &str| {
        let there = format!("select count(*) from pg_database where datname = '{name}'");
        workshop.cluster.psql("postgres", &there)
    };
    let planned = restore(&workshop, &workshop.cluster, "planned", &["--plan"]).expect(0);
    planned.says("the event triggers \"acts\" fire").says("nothing was restored");
    assert_eq!(database("planned"), "0");
    let planned = restore(&workshop, &workshop.cluster, "appdb", &["--plan", "--json"]).expect(6);
    let report: serde_json::Value = serde_json::from_str(&planned.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["outcome"] == "failed"), "{report}");

    let path = workshop.path("appdb.dump").display().to_string();
    workshop.opening(&["restore", "main/appdb", "--output", &path, "--create"]).expect(1).says("--create");
    workshop.opening(&["restore", "main/appdb", "--list", "--no-owner"]).expect(1).says("--no-owner");
    assert!(!workshop.path("appdb.dump").exists());

    let mut restore = workshop.command();
    restore.env("PGDATABASE", "by_variable").args(["restore", "main/appdb", "--create", "--to"]);
    let identity = workshop.identity();
    let ended = crate::support::finish(restore.arg(workshop.cluster.connection()).arg("--identity").arg(identity));
    ended.expect(3);
    assert_eq!(database("by_variable"), "1");
}

#[test]
fn a_generated_column_is_computed_with_the_own_search_path() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    let content = "create table rates (rate int); insert into rates values (7);
        create function rated(i int) returns int language plpgsql immutable as $$ begin
            return i * (select rate from rates); end $$;
        create table t (i int, made int generated always as (rated(i)) stored); insert into t values (6);";
    workshop.cluster.psql("appdb", content);
    workshop.longshore(&["run"]).expect(0);
    let failed = restore(&workshop, &workshop.cluster, "again", &[]).expect(2);
    failed.says("--list-file").says("--own-search-path");
    let scratch = workshop.make_folder("scratch");
    let by_files = ["--own-search-path", "--scratch-dir", scratch.to_str().unwrap()];
    for (database, more) in [("streamed", &by_files[..1]), ("by_files", &by_files[..])] {
        restore(&workshop, &workshop.cluster, database, more).expect(0);
        assert_eq!(workshop.cluster.psql(database, "select made from t"), "42");
    }
}
