//! A partial restore of an archive restores exactly the selected objects.

use std::fs;

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{Ended, Workshop};

/// A database of two schemas with an owner role, an index and a grant.
const LEDGER: &str = "create role clerk; create role auditor; create schema sales; create schema hr;
    create table sales.orders as select i as id, 'order ' || i as name from generate_series(1, 500) i;
    alter table sales.orders add primary key (id); alter table sales.orders owner to clerk; grant select on sales.orders to auditor;
    create table sales.lines as select i as id from generate_series(1, 50) i; create table hr.people as select 'Ada' as name;";

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop.cluster.create_database("ledger");
    workshop.cluster.psql("ledger", LEDGER);
    workshop.longshore(&["run"]).expect(0);
    workshop
}

fn restore(workshop: &Workshop, database: &str, chosen: &[&str]) -> Ended {
    let to = format!("{} dbname={database}", workshop.cluster.connection());
    workshop.opening(&[&["restore", "ledger", "--create", "--to", &to], chosen].concat())
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
fn a_table_a_schema_a_section_or_a_list() {
    let workshop = workshop();
    restore(&workshop, "by_table", &["--table", "people"]).expect(0);
    assert_eq!(tables(&workshop.cluster, "by_table"), "hr.people 1");
    restore(&workshop, "by_schema", &["--schema", "sales"]).expect(0);
    assert_eq!(tables(&workshop.cluster, "by_schema"), "sales.lines 50, sales.orders 500");

    restore(&workshop, "by_section", &["--section", "pre-data", "--section", "data"]).expect(0);
    assert_eq!(tables(&workshop.cluster, "by_section"), ALL);
    let indexes = "select count(*) from pg_index where indrelid = 'sales.orders'::regclass";
    assert_eq!(workshop.cluster.psql("by_section", indexes), "0");
    let to = format!("{} dbname=by_section", workshop.cluster.connection());
    workshop.opening(&["restore", "ledger", "--section", "post-data", "--append", "--to", &to]).expect(0);
    assert_eq!(workshop.cluster.psql("by_section", indexes), "1");

    let list = workshop.opening(&["restore", "ledger", "--list"]).expect(0).stdout;
    let wanted: Vec<_> = list.lines().filter(|line| !line.contains(" lines ")).collect();
    fs::write(workshop.path("list"), wanted.join("\n")).unwrap();
    let file = workshop.path("list").display().to_string();
    let listed = restore(&workshop, "by_list", &["--list-file", &file]).expect(0);
    listed.says("objects equal, 0 differ");
    assert_eq!(tables(&workshop.cluster, "by_list"), "hr.people 1, sales.orders 500");
}

/// With `--schema`, pg_restore omits the schema itself and fails in an empty database.
#[test]
fn the_schema_of_what_is_chosen_is_made_where_it_is_not_there() {
    let workshop = workshop();
    let schemas = "select string_agg(nspname || ' of ' || pg_get_userbyid(nspowner), ', ' order by nspname)
        from pg_namespace where nspname in ('sales', 'hr', 'my sales')";
    workshop.cluster.psql(
        "ledger",
        "alter schema sales owner to clerk; create schema \"my sales\" authorization clerk;
        create view \"my sales\".names as select name from sales.orders; grant usage on schema sales to auditor",
    );
    workshop.longshore(&["run"]).expect(0);
    restore(&workshop, "owned", &["--schema", "sales"]).expect(0).says("schema \"sales\" was created");
    assert_eq!(workshop.cluster.psql("owned", schemas), "sales of clerk");
    restore(&workshop, "owned", &["--schema", "hr", "--append"])
        .expect(0)
        .keeps_quiet_about("schema \"sales\" was created");
    let me = workshop.cluster.psql("postgres", "select current_user");
    assert_eq!(workshop.cluster.psql("owned", schemas), format!("hr of {me}, sales of clerk"));
    restore(&workshop, "mapped", &["--table", "lines", "--role-map", "clerk=auditor"]).expect(0);
    assert_eq!(workshop.cluster.psql("mapped", schemas), "sales of auditor");
    restore(&workshop, "unowned", &["--table", "orders", "--table", "names", "--no-owner"]).expect(0);
    assert_eq!(workshop.cluster.psql("unowned", schemas), format!("my sales of {me}, sales of {me}"));

    let nobody = ["--schema", "sales", "--role-map", "clerk=nobody_here"];
    restore(&workshop, "ownerless", &nobody).expect(6).says("lacks the role \"nobody_here\"");
    let made = "select count(*) from pg_database where datname in ('ownerless', 'ledger')";
    assert_eq!(workshop.cluster.psql("postgres", made), "1");

    // The same with the original name, where pg_restore would create the database.
    let target = Cluster::start(&Installation::system(), &[]);
    let to = format!("{} dbname=ledger", target.connection());
    let sales = ["restore", "ledger", "--create", "--schema", "sales", "--to", &to];
    let unmade = workshop.opening(&sales).expect(2);
    unmade.says("schema of the selected objects cannot be created").says("owned by \"clerk\"").says("--no-owner");
    assert_eq!(target.psql("postgres", made), "0");
    target.psql("postgres", "create role clerk; create role auditor");
    workshop.opening(&sales).expect(0);
    assert_eq!(tables(&target, "ledger"), "sales.lines 50, sales.orders 500");
    // The data section needs the objects of the section before.
    let data = ["restore", "ledger", "--schema", "hr", "--section", "data", "--append", "--to", &to];
    workshop.opening(&data).expect(2).says("hr");
    assert_eq!(target.psql("ledger", schemas), "sales of clerk");
}

#[test]
fn what_is_not_there_to_choose_is_said_before_anything_is_fetched() {
    let workshop = workshop();
    restore(&workshop, "none", &["--table", "ordres"]).expect(6).says("contains no table \"ordres\"");
    restore(&workshop, "none", &["--schema", "salse"]).expect(6).says("contains no schema \"salse\"");
    assert_eq!(workshop.cluster.psql("postgres", "select count(*) from pg_database where datname = 'none'"), "0");
}

#[test]
fn without_owners_and_privileges_no_role_is_needed() {
    let workshop = workshop();
    let target = Cluster::start(&Installation::system(), &[]);
    let to = format!("{} dbname=ledger", target.connection());
    let arguments = ["restore", "ledger", "--create", "--to", &to];
    let refused = workshop.opening(&arguments).expect(6);
    refused.says("lacks the role \"clerk\"").says("--no-owner");
    // Grants to a missing role are skipped.
    let ended = workshop.opening(&[&arguments[..], &["--no-owner"]].concat()).expect(3);
    ended.says("lacks the role \"auditor\"").says("TO auditor");
    target.psql("postgres", "drop database ledger");
    workshop.opening(&[&arguments[..], &["--no-owner", "--no-privileges"]].concat()).expect(0);
    assert_eq!(tables(&target, "ledger"), ALL);
    let owner = "select pg_get_userbyid(relowner) || coalesce(relacl::text, '') from pg_class where relname = 'orders'";
    assert_eq!(target.psql("ledger", owner), target.psql("postgres", "select current_user"));
}

#[test]
fn roles_have_other_names_where_they_are_mapped() {
    let workshop = workshop();
    let target = Cluster::start(&Installation::system(), &[]);
    target.psql("postgres", "create role keeper; create role auditor");
    let scratch = workshop.make_folder("scratch");
    let owner = "select pg_get_userbyid(relowner) || coalesce(relacl::text, '') from pg_class where relname = 'orders'";
    for (database, more) in
        [("streamed", &[][..]), ("by_file", &["--jobs", "2", "--scratch-dir", scratch.to_str().unwrap()])]
    {
        let to = format!("{} dbname={database}", target.connection());
        let arguments = ["restore", "ledger", "--create", "--to", &to, "--role-map", "clerk=keeper"];
        workshop.opening(&[&arguments[..], more].concat()).expect(0);
        assert_eq!(tables(&target, database), ALL);
        assert_eq!(target.psql(database, owner), "keeper{keeper=arwdDxt/keeper,auditor=r/keeper}");
    }
    let to = format!("{} dbname=missing", target.connection());
    let mapped = ["restore", "ledger", "--create", "--to", &to, "--role-map", "clerk=nobody_here"];
    workshop.opening(&mapped).expect(6).says("lacks the role \"nobody_here\"");
    let misspelt = ["--role-map", "clerk=keeper", "--role-map", "clark=keeper"];
    workshop.opening(&[&mapped[..5], &misspelt].concat()).expect(0).says("no restored object names \"clark\"");
    workshop.opening(&[&mapped[..6], &["clerk"]].concat()).expect(1).says("role-map");
    // A missing role that is not mapped is only a warning in a partial restore.
    let part = format!("{} dbname=part", target.connection());
    let hr = ["restore", "ledger", "--create", "--schema", "hr", "--to", &part, "--role-map", "clark=clerk"];
    workshop.opening(&hr).expect(0).says("warning").says("lacks the role \"clerk\"");
}

#[test]
fn with_several_jobs_and_its_statistics_gathered() {
    let workshop = workshop();
    let scratch = workshop.make_folder("scratch");
    let jobs = ["--jobs", "2", "--scratch-dir", scratch.to_str().unwrap()];
    let ended = restore(&workshop, "parallel", &jobs).expect(0);
    for phase in ["decrypt ", "restore ", "index ", "analyze ", "compare "] {
        assert!(ended.stderr.contains(phase), "{phase}: {}", ended.stderr);
    }
    assert_eq!(tables(&workshop.cluster, "parallel"), ALL);
    let analyzed = "select count(*) > 0 from pg_stats where tablename = 'orders'";
    assert_eq!(workshop.cluster.psql("parallel", analyzed), "t");
    let ended = restore(&workshop, "plain", &["--no-analyze", "--no-compare"]).expect(0);
    ended.keeps_quiet_about("analyze ").keeps_quiet_about("compare ");
    assert_eq!(workshop.cluster.psql("plain", analyzed), "f");
    assert!(crate::support::files(&scratch).is_empty());
}

/// The restored rows are compared with the backup's record.
#[test]
fn rows_that_come_out_other_than_they_were_dumped_are_told() {
    let workshop = workshop();
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
    workshop.opening(&["restore", "ledger", "--to", &to]).expect(6).says("not empty");
    let statements = "drop database ledger; update pg_database set datallowconn = true where datname = 'template0'";
    for statement in statements.split("; ") {
        target.psql("postgres", statement);
    }
    target.psql("template0", spoil);
    let ended = workshop.opening(&["restore", "ledger", "--create", "--to", &to]).expect(4);
    ended.says("DIFFERS").says("lines_spoilt").says("restored 1 backup");
    workshop.opening(&["restore", "ledger", "--clean", "--yes", "--no-compare", "--to", &to]).expect(0);
}
