//! The language of a server's messages changes no exit code, verdict or hint, even if the role may
//! not set the language.

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{CommandOutput, Job, TestEnv, files};

const LANGUAGES: [&str; 2] = ["lc_messages=C", "lc_messages=de_DE.UTF-8"];

/// Returns an environment in one language, whose databases and roles are refused in every way.
fn test_env(language: &str) -> TestEnv {
    let test_env =
        TestEnv::with_cluster(Cluster::start(&Installation::system(), &[language, "superuser_reserved_connections=3"]));
    test_env.cluster.psql(
        "postgres",
        "create role backup login bypassrls; grant pg_read_all_data to backup; create role reader login; create role nolog; \
         create role few login connection limit 0; create role owner1; create role driller login createdb; \
         revoke execute on function pg_control_system() from public;",
    );
    for (name, then) in [
        ("shop", "alter database shop owner to owner1"),
        ("closed", "alter database closed allow_connections false"),
        ("private", "revoke connect on database private from public"),
        ("lim", "alter database lim connection limit 0"),
    ] {
        test_env.cluster.create_database(name);
        test_env.cluster.psql("postgres", then);
    }
    test_env.cluster.psql(
        "shop",
        "set role owner1; create table public_t as select 1 as n; create table secret (n int); select lo_create(77);",
    );
    test_env
}

/// Runs a dump of one database as one role.
fn run(test_env: &TestEnv, role: &str, database: &str) -> CommandOutput {
    let connection = test_env.cluster.connection().replace("user=postgres", &format!("user={role} dbname=postgres"));
    let dump = format!("[{{ type = 'pg_dump', databases = ['{database}'] }}]");
    test_env.configure_with_connection(&Job { dump: &dump, ..Job::default() }, &connection);
    test_env.longshore(&["run"])
}

/// Returns the exit code and the hints.
fn outcome(result: &CommandOutput) -> (Option<i32>, Vec<String>) {
    let hints = result.stderr.lines().filter(|line| line.contains("hint:")).map(str::to_owned);
    (result.code, hints.collect())
}

#[test]
fn hints_are_equal_in_every_language() {
    let [english, german] = LANGUAGES.map(test_env);
    for (role, database, code, hint) in [
        ("backup", "private", 2, "grant connect"),
        ("backup", "lim", 2, "connection limit -1"),
        ("nolog", "shop", 2, "alter role … login"),
        ("missing", "shop", 2, "create the role"),
        ("few", "shop", 2, "role's connection limit"),
        ("reader", "shop", 2, "allow the role to read"),
        ("backup", "shop", 2, "large object"),
    ] {
        let [english, german] = [&english, &german].map(|test_env| run(test_env, role, database));
        assert_eq!(outcome(&english), outcome(&german), "{role} {database}: {english:?} {german:?}");
        assert_eq!(english.code, Some(code), "{role} {database}: {english:?}");
        for wrong in ["check that the server is running", "create the database, or name another"] {
            assert!(!english.stderr.contains(wrong), "{role} {database}: {english:?}");
        }
        assert!(german.shows(hint).stderr.lines().any(|line| line.contains("hint:")), "{role} {database}");
    }
    // Facts that the role may not read are skipped, in any language of the server's error.
    for test_env in [&english, &german] {
        test_env.cluster.psql("shop", "select lo_unlink(77)");
        run(test_env, "backup", "shop").expect(0);
    }
}

#[test]
fn drill_on_a_german_server_reports_no_damage() {
    let [english, german] = LANGUAGES.map(|language| {
        let test_env = test_env(language);
        test_env.cluster.psql("shop", "select lo_unlink(77)");
        let driller = test_env.cluster.connection().replace("user=postgres", "user=driller");
        let more =
            format!("max_age = 'none'\n[job.nightly.drill]\nscratch = {{ type = 'server', connection = '{driller}' }}");
        let dump = "[{ type = 'pg_dump', databases = ['shop'] }]";
        test_env.configure(&Job { dump, more: &more, ..Job::default() });
        test_env.longshore(&["run"]).expect(0);
        let drill = test_env.run_with_identity(&["drill"]).expect(2).shows("does not mean that the backup is damaged");
        let marks = files(&test_env.local().join("main/shop"));
        assert!(!marks.iter().any(|name| name.contains(".damaged.") || name.contains(".unrestorable.")), "{marks:?}");
        test_env.longshore(&["status"]).expect(0);
        drill
    });
    assert_eq!(outcome(&english), outcome(&german));
}
