//! The settings of a dump take effect, and the same data gives the same dump everywhere.

use longshore_testkit::sample;

use crate::support::{Job, TestEnv, artifact, file_with};

/// Returns the table of contents of a dump of the shop with these settings.
fn listed(test_env: &TestEnv, settings: &str) -> String {
    let dump = format!("[{{ type = 'pg_dump', databases = ['shop'], {settings} }}]");
    test_env.configure(&Job { dump: &dump, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    test_env.run_with_identity(&["restore", "shop", "--list"]).expect(0).stdout
}

#[test]
fn dumps_selected_parts_of_a_database() {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 20);
    let all = listed(&test_env, "");
    assert!(
        all.contains("TABLE DATA shop customer") && all.contains("TABLE \"Back Office\"")
            || all.contains("Back Office")
    );

    let one = listed(&test_env, "tables = ['shop.customer']");
    assert!(one.contains("TABLE shop customer") && !one.contains("TABLE shop basket"), "{one}");
    let schema = listed(&test_env, "schemas = ['shop']");
    assert!(schema.contains("TABLE shop basket") && !schema.contains("Back Office"), "{schema}");
    let without = listed(&test_env, "exclude_schemas = ['Back*']");
    assert!(without.contains("TABLE shop basket"));
    let without = listed(&test_env, "exclude_tables = ['shop.basket']");
    assert!(!without.contains("TABLE shop basket "), "{without}");
    let empty = listed(&test_env, "exclude_table_data = ['shop.basket']");
    assert!(empty.contains("TABLE shop basket") && !empty.contains("TABLE DATA shop basket"), "{empty}");
    assert!(!listed(&test_env, "schema_only = true").contains("TABLE DATA"));
    assert!(!listed(&test_env, "data_only = true").contains(" VIEW "));
    assert!(all.contains(" ACL ") && !listed(&test_env, "no_privileges = true").contains(" ACL "));
    assert!(!listed(&test_env, "extra_args = ['--no-comments']").contains(" COMMENT "));
}

#[test]
fn missing_named_table_fails_the_dump() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    test_env.configure(&Job {
        dump: "[{ type = 'pg_dump', databases = ['appdb'], tables = ['nothing'] }]",
        ..Job::default()
    });
    test_env.longshore(&["run"]).expect(2).shows("nothing");
}

#[test]
fn equal_data_gives_equal_dumps_under_any_settings() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    test_env.cluster.psql(
        "appdb",
        "create table t as select timestamptz '2026-06-07 12:00:00+00' as time, '\\x00ff'::bytea as bytes;
         alter database appdb set bytea_output = 'escape'; alter database appdb set timezone = 'Asia/Tokyo';",
    );
    let dump = "[{ type = 'pg_dump', databases = ['appdb'], format = 'plain' }]";
    let more = "compression = { method = 'none' }";
    test_env.configure(&Job { dump, more, encrypt: Some("{ type = 'none' }"), ..Job::default() });
    let mut command = test_env.command();
    crate::support::finish(command.arg("run").env("PGTZ", "America/New_York")).expect(0);
    let script = std::fs::read_to_string(artifact(&test_env.local())).unwrap();
    assert!(script.contains("2026-06-07 12:00:00+00\t\\\\x00ff"), "{script}");
}

#[test]
fn pg_dump_warnings_are_recorded() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    test_env.cluster.psql(
        "appdb",
        "create table a (id int primary key, b int); create table b (id int primary key, a int references a);
         alter table a add foreign key (b) references b;",
    );
    test_env
        .configure(&Job { dump: "[{ type = 'pg_dump', databases = ['appdb'], data_only = true }]", ..Job::default() });
    test_env
        .longshore(&["run"])
        .expect(0)
        .shows("warning: appdb: pg_dump: warning: there are circular foreign-key constraints");
    // The warning names tables, so it is stored encrypted only.
    let listed = test_env.longshore(&["list", "appdb", "--json"]).expect(0);
    listed.omits("circular");
    let details = file_with(&test_env.local().join("main/appdb"), ".details.json.age");
    let mut age = std::process::Command::new("age");
    let opened = crate::support::finish(age.args(["-d", "-i"]).arg(test_env.identity()).arg(details)).expect(0);
    opened.shows("circular foreign-key");
    test_env.run_with_identity(&["verify", "appdb"]).expect(0);
}

#[test]
fn dumps_several_databases_concurrently() {
    let test_env = TestEnv::new();
    for number in 0..6 {
        test_env.cluster.create_database(&format!("db{number}"));
    }
    test_env.configure(&Job { more: "parallel = 3", ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let read = test_env.run_with_identity(&["verify", "--all", "--json"]).expect(0);
    assert_eq!(read.stdout.matches("\"decoded\"").count(), 8, "six, postgres, and the globals");
}

#[test]
fn filtered_objects_are_recorded() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    test_env.configure(&Job {
        dump: "[{ type = 'pg_dump', databases = ['appdb'], exclude_tables = ['log'], no_owner = true }]",
        ..Job::default()
    });
    test_env.longshore(&["run"]).expect(0).shows("appdb: not captured: everything excluded by exclude_tables");
    let left_out = test_env.json(&["list", "appdb", "--json"])[0]["not_captured"].clone();
    assert_eq!(
        left_out,
        serde_json::json!(["everything excluded by exclude_tables", "everything excluded by no_owner"])
    );
}

#[test]
fn half_dropped_database_is_skipped() {
    let test_env = TestEnv::new();
    for name in ["appdb", "wreck"] {
        test_env.cluster.create_database(name);
    }
    test_env.cluster.psql("postgres", "update pg_database set datconnlimit = -2 where datname = 'wreck'");
    test_env
        .longshore(&["run"])
        .expect(0)
        .shows("not captured: database \"wreck\": a DROP DATABASE of it was interrupted");
    let backups = test_env.json(&["list", "--json"]);
    assert_eq!(backups.as_array().unwrap().len(), 3, "appdb, postgres and the globals: {backups}");
}

#[test]
fn globals_are_in_utf_8_from_any_database() {
    let test_env = TestEnv::new();
    for sql in ["drop database postgres", "create database postgres template template0 encoding 'LATIN1' locale 'C'"] {
        test_env.cluster.psql("template1", sql);
    }
    test_env.cluster.psql("postgres", "create role U&\"r\\00f4le\"");
    test_env.configure(&Job { dump: "[{ type = 'pg_dumpall' }]", ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    test_env.run_with_identity(&["restore", "globals", "--list"]).expect(0).shows("CREATE ROLE \"rôle\"");
}

#[test]
fn globals_can_be_dumped_in_parts() {
    let test_env = TestEnv::new();
    sample::load(&test_env.cluster, 20);
    for (what, holds, lacks) in [
        ("roles", "CREATE ROLE shop_app", "TABLE"),
        ("tablespaces", "", "CREATE ROLE"),
        ("schema", "customer; Type: TABLE; Schema: shop", "TABLE DATA"),
    ] {
        let dump = format!("[{{ type = 'pg_dumpall', what = '{what}' }}]");
        test_env.configure(&Job { dump: &dump, ..Job::default() });
        test_env.longshore(&["run"]).expect(0);
        test_env.run_with_identity(&["verify", what]).expect(0).shows("verified: ");
        test_env.run_with_identity(&["restore", what, "--list"]).expect(0).shows(holds).omits(lacks);
    }
}

#[test]
fn zstd_level_takes_effect_and_is_reported() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    let cost = |more: &str| {
        test_env.configure(&Job { more, ..Job::default() });
        test_env.json(&["run", "--json"])["artifacts"][0]["compression"].clone()
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
        test_env.configure(&Job { more: &format!("compression = {{ {written} }}"), ..Job::default() });
        test_env.longshore(&["check"]).expect(1).shows(words);
    }
}
