//! A partial restore of an archive restores exactly the selected objects.

use std::fs;

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{CommandOutput, TestEnv};

/// A database of two schemas with an owner role, an index and a grant.
const LEDGER: &str = "create role clerk; create role auditor; create schema sales; create schema hr;
    create table sales.orders as select i as id, 'order ' || i as name from generate_series(1, 500) i;
    alter table sales.orders add primary key (id); alter table sales.orders owner to clerk; grant select on sales.orders to auditor;
    create table sales.lines as select i as id from generate_series(1, 50) i; create table hr.people as select 'Ada' as name;";

fn test_env() -> TestEnv {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("ledger");
    test_env.cluster.psql("ledger", LEDGER);
    test_env.longshore(&["run"]).expect(0);
    test_env
}

fn restore(test_env: &TestEnv, database: &str, chosen: &[&str]) -> CommandOutput {
    let to = format!("{} dbname={database}", test_env.cluster.connection());
    test_env.run_with_identity(&[&["restore", "ledger", "--create", "--to", &to], chosen].concat())
}

/// Returns the tables of a database, with their row counts.
fn tables(cluster: &Cluster, database: &str) -> String {
    let tables = "select coalesce(string_agg(oid::regclass || ' ' || (xpath('/row/n/text()',
        query_to_xml('select count(*) n from ' || oid::regclass, false, true, '')))[1]::text, ', ' order by oid::regclass::text), '')
        from pg_class where relkind = 'r' and oid >= 16384";
    cluster.psql(database, tables)
}

const ALL: &str = "hr.people 1, sales.lines 50, sales.orders 500";

#[test]
fn restores_table_schema_section_or_list() {
    let test_env = test_env();
    restore(&test_env, "by_table", &["--table", "people"]).expect(0);
    assert_eq!(tables(&test_env.cluster, "by_table"), "hr.people 1");
    restore(&test_env, "by_schema", &["--schema", "sales"]).expect(0);
    assert_eq!(tables(&test_env.cluster, "by_schema"), "sales.lines 50, sales.orders 500");

    restore(&test_env, "by_section", &["--section", "pre-data", "--section", "data"]).expect(0);
    assert_eq!(tables(&test_env.cluster, "by_section"), ALL);
    let indexes = "select count(*) from pg_index where indrelid = 'sales.orders'::regclass";
    assert_eq!(test_env.cluster.psql("by_section", indexes), "0");
    let to = format!("{} dbname=by_section", test_env.cluster.connection());
    test_env.run_with_identity(&["restore", "ledger", "--section", "post-data", "--append", "--to", &to]).expect(0);
    assert_eq!(test_env.cluster.psql("by_section", indexes), "1");

    let list = test_env.run_with_identity(&["restore", "ledger", "--list"]).expect(0).stdout;
    let wanted: Vec<_> = list.lines().filter(|line| !line.contains(" lines ")).collect();
    fs::write(test_env.path("list"), wanted.join("\n")).unwrap();
    let file = test_env.path("list").display().to_string();
    let listed = restore(&test_env, "by_list", &["--list-file", &file]).expect(0);
    listed.shows("objects equal\n");
    assert_eq!(tables(&test_env.cluster, "by_list"), "hr.people 1, sales.orders 500");
}

/// With `--schema`, pg_restore omits the schema itself and fails in an empty database.
#[test]
fn missing_schema_of_selection_is_created() {
    let test_env = test_env();
    let schemas = "select string_agg(nspname || ' of ' || pg_get_userbyid(nspowner), ', ' order by nspname)
        from pg_namespace where nspname in ('sales', 'hr', 'my sales')";
    test_env.cluster.psql(
        "ledger",
        "alter schema sales owner to clerk; create schema \"my sales\" authorization clerk;
        create view \"my sales\".names as select name from sales.orders; grant usage on schema sales to auditor",
    );
    test_env.longshore(&["run"]).expect(0);
    restore(&test_env, "owned", &["--schema", "sales"]).expect(0).shows("schema \"sales\" was created");
    assert_eq!(test_env.cluster.psql("owned", schemas), "sales of clerk");
    restore(&test_env, "owned", &["--schema", "hr", "--append"]).expect(0).omits("schema \"sales\" was created");
    let me = test_env.cluster.psql("postgres", "select current_user");
    assert_eq!(test_env.cluster.psql("owned", schemas), format!("hr of {me}, sales of clerk"));
    restore(&test_env, "mapped", &["--table", "lines", "--role-map", "clerk=auditor"]).expect(0);
    assert_eq!(test_env.cluster.psql("mapped", schemas), "sales of auditor");
    restore(&test_env, "unowned", &["--table", "orders", "--table", "names", "--no-owner"]).expect(0);
    assert_eq!(test_env.cluster.psql("unowned", schemas), format!("my sales of {me}, sales of {me}"));

    let missing = ["--schema", "sales", "--role-map", "clerk=missing_role"];
    restore(&test_env, "ownerless", &missing).expect(6).shows("lacks the role \"missing_role\"");
    let made = "select count(*) from pg_database where datname in ('ownerless', 'ledger')";
    assert_eq!(test_env.cluster.psql("postgres", made), "1");

    // The same with the original name, where pg_restore would create the database.
    let target = Cluster::start(&Installation::system(), &[]);
    let to = format!("{} dbname=ledger", target.connection());
    let sales = ["restore", "ledger", "--create", "--schema", "sales", "--to", &to];
    let unmade = test_env.run_with_identity(&sales).expect(2);
    unmade.shows("schema of the selected objects cannot be created").shows("owned by \"clerk\"").shows("--no-owner");
    assert_eq!(target.psql("postgres", made), "0");
    target.psql("postgres", "create role clerk; create role auditor");
    test_env.run_with_identity(&sales).expect(0);
    assert_eq!(tables(&target, "ledger"), "sales.lines 50, sales.orders 500");
    // The data section needs the objects of the section before.
    let data = ["restore", "ledger", "--schema", "hr", "--section", "data", "--append", "--to", &to];
    test_env.run_with_identity(&data).expect(2).shows("hr");
    assert_eq!(target.psql("ledger", schemas), "sales of clerk");
}

#[test]
fn missing_selection_fails_before_fetching() {
    let test_env = test_env();
    restore(&test_env, "none", &["--table", "ordres"]).expect(6).shows("contains no table \"ordres\"");
    restore(&test_env, "none", &["--schema", "salse"]).expect(6).shows("contains no schema \"salse\"");
    assert_eq!(test_env.cluster.psql("postgres", "select count(*) from pg_database where datname = 'none'"), "0");
}

#[test]
fn no_owner_and_no_privileges_need_no_role() {
    let test_env = test_env();
    let target = Cluster::start(&Installation::system(), &[]);
    let to = format!("{} dbname=ledger", target.connection());
    let arguments = ["restore", "ledger", "--create", "--to", &to];
    let refused = test_env.run_with_identity(&arguments).expect(6);
    refused.shows("lacks the role \"clerk\"").shows("--no-owner");
    // Grants to a missing role are skipped.
    let result = test_env.run_with_identity(&[&arguments[..], &["--no-owner"]].concat()).expect(3);
    result.shows("lacks the role \"auditor\"").shows("TO auditor");
    target.psql("postgres", "drop database ledger");
    test_env.run_with_identity(&[&arguments[..], &["--no-owner", "--no-privileges"]].concat()).expect(0);
    assert_eq!(tables(&target, "ledger"), ALL);
    let owner = "select pg_get_userbyid(relowner) || coalesce(relacl::text, '') from pg_class where relname = 'orders'";
    assert_eq!(target.psql("ledger", owner), target.psql("postgres", "select current_user"));
}

#[test]
fn role_map_renames_roles() {
    let test_env = test_env();
    let target = Cluster::start(&Installation::system(), &[]);
    target.psql("postgres", "create role keeper; create role auditor");
    let scratch = test_env.make_folder("scratch");
    let owner = "select pg_get_userbyid(relowner) || coalesce(relacl::text, '') from pg_class where relname = 'orders'";
    for (database, more) in
        [("streamed", &[][..]), ("by_file", &["--jobs", "2", "--scratch-dir", scratch.to_str().unwrap()])]
    {
        let to = format!("{} dbname={database}", target.connection());
        let arguments = ["restore", "ledger", "--create", "--to", &to, "--role-map", "clerk=keeper"];
        test_env.run_with_identity(&[&arguments[..], more].concat()).expect(0);
        assert_eq!(tables(&target, database), ALL);
        assert_eq!(target.psql(database, owner), "keeper{keeper=arwdDxt/keeper,auditor=r/keeper}");
    }
    let to = format!("{} dbname=missing", target.connection());
    let mapped = ["restore", "ledger", "--create", "--to", &to, "--role-map", "clerk=missing_role"];
    test_env.run_with_identity(&mapped).expect(6).shows("lacks the role \"missing_role\"");
    let misspelt = ["--role-map", "clerk=keeper", "--role-map", "clark=keeper"];
    test_env
        .run_with_identity(&[&mapped[..5], &misspelt].concat())
        .expect(0)
        .shows("no restored object names \"clark\"");
    test_env.run_with_identity(&[&mapped[..6], &["clerk"]].concat()).expect(1).shows("role-map");
    // A missing role that is not mapped is only a warning in a partial restore.
    let part = format!("{} dbname=part", target.connection());
    let hr = ["restore", "ledger", "--create", "--schema", "hr", "--to", &part, "--role-map", "clark=clerk"];
    test_env.run_with_identity(&hr).expect(0).shows("warning").shows("lacks the role \"clerk\"");
}

#[test]
fn parallel_restore_gathers_statistics() {
    let test_env = test_env();
    let scratch = test_env.make_folder("scratch");
    let jobs = ["--jobs", "2", "--scratch-dir", scratch.to_str().unwrap()];
    let result = restore(&test_env, "parallel", &jobs).expect(0);
    for phase in ["decrypt ", "restore ", "index ", "analyze ", "compare "] {
        assert!(result.stderr.contains(phase), "{phase}: {}", result.stderr);
    }
    assert_eq!(tables(&test_env.cluster, "parallel"), ALL);
    let analyzed = "select count(*) > 0 from pg_stats where tablename = 'orders'";
    assert_eq!(test_env.cluster.psql("parallel", analyzed), "t");
    let result = restore(&test_env, "plain", &["--no-analyze", "--no-compare"]).expect(0);
    result.omits("analyze ").omits("compare ");
    assert_eq!(test_env.cluster.psql("plain", analyzed), "f");
    assert!(crate::support::files(&scratch).is_empty());
}

/// The restored rows are compared with the backup's record.
#[test]
fn differing_restored_rows_are_reported() {
    let test_env = test_env();
    let target = Cluster::start(&Installation::system(), &[]);
    target.psql("postgres", "create role clerk; create role auditor");
    // An event trigger of the target creates an extra table, as an extension's trigger might.
    let spoil = "create function spoil() returns event_trigger language plpgsql as $$ begin
        if to_regclass('sales.lines') is not null and to_regclass('sales.lines_spoilt') is null then
            execute 'create table sales.lines_spoilt ()'; end if; end $$;
        create event trigger spoil on ddl_command_end when tag in ('ALTER TABLE') execute function spoil();";
    target.create_database("ledger");
    target.psql("ledger", spoil);
    let to = format!("{} dbname=ledger", target.connection());
    test_env.run_with_identity(&["restore", "ledger", "--to", &to]).expect(6).shows("not empty");
    let statements = "drop database ledger; update pg_database set datallowconn = true where datname = 'template0'";
    for statement in statements.split("; ") {
        target.psql("postgres", statement);
    }
    target.psql("template0", spoil);
    let result = test_env.run_with_identity(&["restore", "ledger", "--create", "--to", &to]).expect(4);
    result.shows("DIFFERS").shows("lines_spoilt").shows("restored 1 backup");
    test_env.run_with_identity(&["restore", "ledger", "--clean", "--yes", "--no-compare", "--to", &to]).expect(0);
}
