//! The settings of a dump do what they say, and the same data makes the same dump wherever it is taken.

use longshore_testkit::sample;

use crate::support::{Job, Workshop, file_with};

/// What a dump of the shop with these settings lists.
fn listed(workshop: &Workshop, settings: &str) -> String {
    let dump = format!("[{{ type = 'pg_dump', databases = ['shop'], {settings} }}]");
    workshop.configure(&Job { dump: &dump, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    workshop.opening(&["restore", "shop", "--list"]).expect(0).stdout
}

#[test]
fn parts_of_a_database_can_be_chosen() {
    let workshop = Workshop::new();
    sample::load(&workshop.cluster, 20);
    let all = listed(&workshop, "");
    assert!(
        all.contains("TABLE DATA shop customer") && all.contains("TABLE \"Back Office\"")
            || all.contains("Back Office")
    );

    let one = listed(&workshop, "tables = ['shop.customer']");
    assert!(one.contains("TABLE shop customer") && !one.contains("TABLE shop basket"), "{one}");
    let schema = listed(&workshop, "schemas = ['shop']");
    assert!(schema.contains("TABLE shop basket") && !schema.contains("Back Office"), "{schema}");
    let without = listed(&workshop, "exclude_schemas = ['Back*']");
    assert!(without.contains("TABLE shop basket"));
    let without = listed(&workshop, "exclude_tables = ['shop.basket']");
    assert!(!without.contains("TABLE shop basket "), "{without}");
    let empty = listed(&workshop, "exclude_table_data = ['shop.basket']");
    assert!(empty.contains("TABLE shop basket") && !empty.contains("TABLE DATA shop basket"), "{empty}");
    assert!(!listed(&workshop, "schema_only = true").contains("TABLE DATA"));
    assert!(!listed(&workshop, "data_only = true").contains(" VIEW "));
    assert!(all.contains(" ACL ") && !listed(&workshop, "no_privileges = true").contains(" ACL "));
    assert!(!listed(&workshop, "extra_args = ['--no-comments']").contains(" COMMENT "));
}

#[test]
fn a_table_that_is_named_and_missing_fails_the_dump() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    workshop.configure(&Job {
        dump: "[{ type = 'pg_dump', databases = ['appdb'], tables = ['nothing'] }]",
        ..Job::default()
    });
    workshop.longshore(&["run"]).expect(2).says("nothing");
}

#[test]
fn the_same_data_makes_the_same_dump_whatever_the_server_and_the_host_are_set_to() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    workshop.cluster.psql(
        "appdb",
        "create table t as select timestamptz '2026-06-07 12:00:00+00' as time, '\\x00ff'::bytea as bytes;
         alter database appdb set bytea_output = 'escape'; alter database appdb set timezone = 'Asia/Tokyo';",
    );
    let dump = "[{ type = 'pg_dump', databases = ['appdb'], format = 'plain' }]";
    let more = "compression = { method = 'none' }";
    workshop.configure(&Job { dump, more, encrypt: Some("{ type = 'none' }"), ..Job::default() });
    let mut command = workshop.command();
    crate::support::finish(command.arg("run").env("PGTZ", "America/New_York")).expect(0);
    let script = std::fs::read_to_string(file_with(&workshop.local(), ".sql")).unwrap();
    assert!(script.contains("2026-06-07 12:00:00+00\t\\\\x00ff"), "{script}");
}

#[test]
fn what_pg_dump_warns_of_is_in_the_report_and_the_manifest() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    workshop.cluster.psql(
        "appdb",
        "create table a (id int primary key, b int); create table b (id int primary key, a int references a);
         alter table a add foreign key (b) references b;",
    );
    workshop
        .configure(&Job { dump: "[{ type = 'pg_dump', databases = ['appdb'], data_only = true }]", ..Job::default() });
    workshop
        .longshore(&["run"])
        .expect(0)
        .says("warning: appdb: pg_dump: warning: there are circular foreign-key constraints");
    let warnings = workshop.json(&["list", "appdb", "--json"])[0]["warnings"].clone();
    assert!(warnings[0].as_str().unwrap().contains("circular"), "{warnings}");
}

#[test]
fn several_databases_at_once() {
    let workshop = Workshop::new();
    for number in 0..6 {
        workshop.cluster.create_database(&format!("db{number}"));
    }
    workshop.configure(&Job { more: "parallel = 3", ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let read = workshop.opening(&["verify", "--all", "--json"]).expect(0);
    assert_eq!(read.stdout.matches("\"decoded\"").count(), 8, "six, postgres, and the globals");
}
