//! The language of a server's messages changes no exit code, verdict or hint, even if the role may
//! not set the language.

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{Ended, Job, Workshop, files};

const LANGUAGES: [&str; 2] = ["lc_messages=C", "lc_messages=de_DE.UTF-8"];

/// Returns a workshop in one language, whose databases and roles are refused in every way.
fn workshop(language: &str) -> Workshop {
    let workshop = Workshop::with_cluster(Cluster::start(
        &Installation::system(),
        &[language, "superuser_reserved_connections=3"],
    ));
    workshop.cluster.psql(
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
        workshop.cluster.create_database(name);
        workshop.cluster.psql("postgres", then);
    }
    workshop.cluster.psql(
        "shop",
        "set role owner1; create table public_t as select 1 as n; create table secret (n int); select lo_create(77);",
    );
    workshop
}

/// Runs a dump of one database as one role.
fn run(workshop: &Workshop, role: &str, database: &str) -> Ended {
    let connection = workshop.cluster.connection().replace("user=postgres", &format!("user={role} dbname=postgres"));
    let dump = format!("[{{ type = 'pg_dump', databases = ['{database}'] }}]");
    workshop.configure_with_connection(&Job { dump: &dump, ..Job::default() }, &connection);
    workshop.longshore(&["run"])
}

/// Returns the exit code and the hints.
fn outcome(ended: &Ended) -> (Option<i32>, Vec<String>) {
    let hints = ended.stderr.lines().filter(|line| line.contains("hint:")).map(str::to_owned);
    (ended.code, hints.collect())
}

#[test]
fn refusals_have_the_same_hints_in_every_language() {
    let [english, german] = LANGUAGES.map(workshop);
    for (role, database, code, hint) in [
        ("backup", "private", 2, "grant connect"),
        ("backup", "lim", 2, "connection limit -1"),
        ("nolog", "shop", 2, "alter role … login"),
        ("missing", "shop", 2, "create the role"),
        ("few", "shop", 2, "role's connection limit"),
        ("reader", "shop", 2, "allow the role to read"),
        ("backup", "shop", 2, "large object"),
    ] {
        let [english, german] = [&english, &german].map(|workshop| run(workshop, role, database));
        assert_eq!(outcome(&english), outcome(&german), "{role} {database}: {english:?} {german:?}");
        assert_eq!(english.code, Some(code), "{role} {database}: {english:?}");
        for wrong in ["check that the server is running", "create the database, or name another"] {
            assert!(!english.stderr.contains(wrong), "{role} {database}: {english:?}");
        }
        assert!(german.says(hint).stderr.lines().any(|line| line.contains("hint:")), "{role} {database}");
    }
    // Facts that the role may not read are skipped, in any language of the server's error.
    for workshop in [&english, &german] {
        workshop.cluster.psql("shop", "select lo_unlink(77)");
        run(workshop, "backup", "shop").expect(0);
    }
}

#[test]
fn a_drill_on_a_german_server_says_nothing_against_the_backup() {
    let [english, german] = LANGUAGES.map(|language| {
        let workshop = workshop(language);
        workshop.cluster.psql("shop", "select lo_unlink(77)");
        let driller = workshop.cluster.connection().replace("user=postgres", "user=driller");
        let more =
            format!("max_age = 'none'\n[job.nightly.drill]\nscratch = {{ type = 'server', connection = '{driller}' }}");
        let dump = "[{ type = 'pg_dump', databases = ['shop'] }]";
        workshop.configure(&Job { dump, more: &more, ..Job::default() });
        workshop.longshore(&["run"]).expect(0);
        let drill = workshop.opening(&["drill"]).expect(2).says("does not mean that the backup is damaged");
        let marks = files(&workshop.local().join("main/shop"));
        assert!(!marks.iter().any(|name| name.contains(".damaged.") || name.contains(".unrestorable.")), "{marks:?}");
        workshop.longshore(&["status"]).expect(0);
        drill
    });
    assert_eq!(outcome(&english), outcome(&german));
}
