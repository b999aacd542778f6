//! The settings of a dump take effect, and the same data gives the same dump everywhere.

use longshore_testkit::sample;

use crate::support::{Job, Workshop, artifact, file_with};

/// Returns the table of contents of a dump of the shop with these settings.
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
    let script = std::fs::read_to_string(artifact(&workshop.local())).unwrap();
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
    // The warning names tables, so it is stored encrypted only.
    let listed = workshop.longshore(&["list", "appdb", "--json"]).expect(0);
    listed.keeps_quiet_about("circular");
    let details = file_with(&workshop.local().join("main/appdb"), ".details.json.age");
    let mut age = std::process::Command::new("age");
    let opened = crate::support::finish(age.args(["-d", "-i"]).arg(workshop.identity()).arg(details)).expect(0);
    opened.says("circular foreign-key");
    workshop.opening(&["verify", "appdb"]).expect(0);
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

#[test]
fn what_a_filter_leaves_out_is_in_the_report_and_the_manifest() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    workshop.configure(&Job {
        dump: "[{ type = 'pg_dump', databases = ['appdb'], exclude_tables = ['log'], no_owner = true }]",
        ..Job::default()
    });
    workshop.longshore(&["run"]).expect(0).says("appdb: not captured: everything excluded by exclude_tables");
    let left_out = workshop.json(&["list", "appdb", "--json"])[0]["not_captured"].clone();
    assert_eq!(
        left_out,
        serde_json::json!(["everything excluded by exclude_tables", "everything excluded by no_owner"])
    );
}

#[test]
fn a_database_whose_removal_was_interrupted_is_left_out() {
    let workshop = Workshop::new();
    for name in ["appdb", "wreck"] {
        workshop.cluster.create_database(name);
    }
    workshop.cluster.psql("postgres", "update pg_database set datconnlimit = -2 where datname = 'wreck'");
    workshop
        .longshore(&["run"])
        .expect(0)
        .says("not captured: database \"wreck\": a DROP DATABASE of it was interrupted");
    let backups = workshop.json(&["list", "--json"]);
    assert_eq!(backups.as_array().unwrap().len(), 3, "appdb, postgres and the globals: {backups}");
}

#[test]
fn globals_are_in_utf_8_whatever_the_database_is_that_pg_dumpall_connects_to() {
    let workshop = Workshop::new();
    for sql in ["drop database postgres", "create database postgres template template0 encoding 'LATIN1' locale 'C'"] {
        workshop.cluster.psql("template1", sql);
    }
    workshop.cluster.psql("postgres", "create role U&\"r\\00f4le\"");
    workshop.configure(&Job { dump: "[{ type = 'pg_dumpall' }]", ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    workshop.opening(&["restore", "globals", "--list"]).expect(0).says("CREATE ROLE \"rôle\"");
}

#[test]
fn what_belongs_to_the_cluster_can_be_dumped_in_parts() {
    let workshop = Workshop::new();
    sample::load(&workshop.cluster, 20);
    for (what, holds, lacks) in [
        ("roles", "CREATE ROLE shop_app", "TABLE"),
        ("tablespaces", "", "CREATE ROLE"),
        ("schema", "customer; Type: TABLE; Schema: shop", "TABLE DATA"),
    ] {
        let dump = format!("[{{ type = 'pg_dumpall', what = '{what}' }}]");
        workshop.configure(&Job { dump: &dump, ..Job::default() });
        workshop.longshore(&["run"]).expect(0);
        workshop.opening(&["verify", what]).expect(0).says("verified: ");
        workshop.opening(&["restore", what, "--list"]).expect(0).says(holds).keeps_quiet_about(lacks);
    }
}

#[test]
fn zstd_tries_as_hard_as_it_was_told_and_says_what_that_cost() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    let cost = |more: &str| {
        workshop.configure(&Job { more, ..Job::default() });
        workshop.json(&["run", "--json"])["artifacts"][0]["compression"].clone()
    };
    for (more, level) in [("", 3), ("compression = { level = 'auto' }", 3), ("compression = { level = 9 }", 9)] {
        let cost = cost(more);
        assert_eq!((&cost["lowest_level"], &cost["highest_level"]), (&level.into(), &level.into()), "{more}");
        assert!(cost["held_up_seconds"].as_f64().is_some(), "{cost}");
    }
    assert!(cost("compression = { method = 'none' }").is_null());
    for (written, words) in [
        ("level = 'hard'", "level \"hard\" is neither a number nor \"auto\""),
        ("level = 20", "level must be from 1 to 19"),
        ("by = 'pg_dump', level = 'auto'", "level must be a number if pg_dump compresses"),
    ] {
        workshop.configure(&Job { more: &format!("compression = {{ {written} }}"), ..Job::default() });
        workshop.longshore(&["check"]).expect(1).says(words);
    }
}
