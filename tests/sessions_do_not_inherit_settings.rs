//! Sessions are independent of the settings of a database or a role: dumps, restores and drills
//! give the same result under every setting.

use longshore_testkit::cluster::{Cluster, Installation};

use crate::drills_restore_and_compare::scratch_dir;
use crate::support::{Job, TestEnv};

/// Values whose output or input format depends on settings.
const KINDS: &str =
    "create table kinds (id int primary key, words text[], raw bytea, day timestamptz, span interval, number float8,
        name text, document xml, price money);
    insert into kinds select n, array['a', null, 'NULL'], decode('00ff275c', 'hex'), '2024-03-04 05:06:07+02',
        '-1 mon 2 days -03:04:05', 0.1 + n, 'Grüße € \\ ''' || n, '<a>x</a><b/>', n::numeric::money from generate_series(1, 20000) n;
    create view named as select id as \"Id\", name from kinds where name <> 'x' and words is not null;
    create function twice(n int) returns int language sql immutable as 'select 2 * n';
    create index on kinds (twice(id));
    alter table kinds enable row level security;
    create policy own on kinds using (id = 3);";

/// Computes the digest of all values, independent of the database's settings.
const DIGEST: &str = "set row_security = off; set datestyle = 'ISO'; set intervalstyle = postgres; set timezone = 'UTC'; set search_path = public;
    set statement_timeout = 0; set bytea_output = hex; set lc_monetary = 'C'; set extra_float_digits = 3;
    select count(*), sum(hashtextextended(k::text, 0)) from kinds k";

/// Settings, most of which break a session without its own settings.
const SETTINGS: &[(&str, &str)] = &[
    ("role", "limited"),
    ("client_encoding", "LATIN1"),
    ("statement_timeout", "1ms"),
    ("lock_timeout", "1ms"),
    ("idle_in_transaction_session_timeout", "1ms"),
    ("idle_session_timeout", "200ms"),
    ("default_transaction_read_only", "on"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("search_path", "nowhere"),
    ("datestyle", "German, DMY"),
    ("intervalstyle", "sql_standard"),
    ("timezone", "Asia/Kolkata"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "-15"),
    ("standard_conforming_strings", "off"),
    ("backslash_quote", "off"),
    ("escape_string_warning", "on"),
    ("quote_all_identifiers", "on"),
    ("array_nulls", "off"),
    ("transform_null_equals", "on"),
    ("exit_on_error", "on"),
    ("client_min_messages", "debug1"),
    ("row_security", "on"),
    ("session_replication_role", "replica"),
    ("xmloption", "document"),
    ("xmlbinary", "hex"),
    ("check_function_bodies", "on"),
    ("synchronous_commit", "off"),
    ("application_name", "other"),
    ("lc_numeric", "C"),
    ("lc_monetary", "de_DE.UTF-8"),
    ("local_preload_libraries", "nowhere"),
    ("zero_damaged_pages", "on"),
];

/// Returns the SQL that applies settings to `subject`, such as `role bk`.
fn set(subject: &str, settings: &[(&str, &str)]) -> String {
    settings.iter().map(|(name, value)| format!("alter {subject} set {name} = {};\n", quoted(name, value))).collect()
}

/// Returns a value in the syntax of `ALTER … SET`. A list is not quoted.
fn quoted(name: &str, value: &str) -> String {
    if name == "datestyle" { value.to_owned() } else { format!("'{value}'") }
}

fn named(names: &[&str]) -> Vec<(&'static str, &'static str)> {
    SETTINGS.iter().filter(|(name, _)| names.contains(name)).copied().collect()
}

fn with_roles(cluster: &Cluster) {
    cluster.psql("postgres", "create role limited; create role bk login superuser;");
}

fn connection(cluster: &Cluster, user: &str) -> String {
    cluster.connection().replace("user=postgres", &format!("user={user}"))
}

#[test]
fn dump_restore_and_drill_set_their_own() {
    let test_env = TestEnv::new();
    let cluster = &test_env.cluster;
    with_roles(cluster);
    cluster.create_database("shop");
    cluster.psql("shop", KINDS);
    let digest = cluster.psql("shop", DIGEST);
    let of_role = [
        "role",
        "client_encoding",
        "statement_timeout",
        "default_transaction_isolation",
        "row_security",
        "exit_on_error",
    ];
    let of_database =
        ["default_transaction_read_only", "quote_all_identifiers", "search_path", "bytea_output", "lock_timeout"];
    let of_both = ["array_nulls", "intervalstyle", "datestyle"];
    cluster.psql("postgres", &set("role bk", &named(&of_role)));
    cluster.psql("postgres", &set("database shop", &named(&of_database)));
    cluster.psql("postgres", &set("role bk in database shop", &named(&of_both)));
    cluster.psql("postgres", &set("role bk", &named(&of_both)));
    let drill = "[job.nightly.drill]\nscratch = { type = 'initdb' }\n[[job.nightly.drill.query]]\ndatabase = 'shop'\n\
                 sql = 'select count(*) from public.kinds, pg_sleep(0.1)'\nanswer = '20000'\n";
    test_env.configure_with_connection(&Job { more: drill, ..Job::default() }, &connection(cluster, "bk"));
    test_env.longshore(&["check"]).omits("pooler");
    test_env.longshore(&["run"]).expect(0);

    let target = Cluster::start(&Installation::system(), &[]);
    with_roles(&target);
    target.psql("postgres", &set("role bk", &named(&[&of_role[..], &of_both].concat())));
    let to = format!("{} dbname=shop", connection(&target, "bk"));
    test_env.run_with_identity(&["restore", "shop", "--create", "--to", &to]).expect(0).omits("could not be analyzed");
    assert_eq!(target.psql("shop", DIGEST), digest);
    assert_eq!(target.psql("shop", "show default_transaction_read_only"), "on");
    assert_eq!(target.psql("shop", "select relrowsecurity from pg_class where relname = 'kinds'"), "t");

    let scratch = scratch_dir();
    let folder = scratch.path().to_str().unwrap();
    test_env.run_with_identity(&["drill", "--scratch-dir", folder]).expect(0);
}

#[test]
fn money_is_restored_in_its_locale() {
    let test_env = TestEnv::with_cluster(Cluster::start(&Installation::system(), &["lc_monetary=de_DE.UTF-8"]));
    test_env.cluster.create_database("shop");
    test_env.cluster.psql("shop", "create table price as select '1234,56'::money as amount;");
    assert_eq!(test_env.cluster.psql("shop", "select amount from price"), "1.234,56 €");
    test_env.configure(&Job::default());
    test_env.longshore(&["run"]).expect(0);
    let target = Cluster::start(&Installation::system(), &["lc_monetary=C"]);
    test_env.run_with_identity(&["restore", "shop", "--create", "--to", &target.connection()]).expect(0);
    assert_eq!(target.psql("shop", "select amount from price"), "$1,234.56");
    let scratch = scratch_dir();
    test_env.run_with_identity(&["drill", "--scratch-dir", scratch.path().to_str().unwrap()]).expect(0);
}

#[test]
fn zero_damaged_pages_fails_the_dump() {
    let test_env = TestEnv::new();
    let cluster = &test_env.cluster;
    cluster.create_database("shop");
    cluster.psql("shop", "create table t as select 1 as n;");
    cluster.psql("postgres", "create role plain login; grant pg_read_all_data to plain;");
    cluster.psql("postgres", "alter database shop set zero_damaged_pages = on;");
    let job = Job { dump: "[{ type = 'pg_dump', databases = ['shop'] }]", ..Job::default() };
    // A superuser's session can turn the setting off.
    test_env.configure(&job);
    test_env.longshore(&["run"]).expect(0);
    test_env.configure_with_connection(&job, &connection(cluster, "plain"));
    let result = test_env.longshore(&["run"]);
    assert_ne!(result.code, Some(0), "{result:?}");
    result.shows("zero_damaged_pages is on");
}

#[test]
fn service_options_are_combined_with_dump_options() {
    let test_env = TestEnv::new();
    let cluster = &test_env.cluster;
    cluster.create_database("shop");
    cluster.psql(
        "postgres",
        "create role owner; create role bk login; grant owner to bk; grant pg_read_all_data to owner;",
    );
    cluster.psql("postgres", "alter role bk noinherit; alter role bk set statement_timeout = '1ms';");
    cluster.psql("shop", "create table t as select n from generate_series(1, 10000) n;");
    let service = test_env.path("services.conf");
    let text =
        format!("[site]\n{}\ndbname=postgres\noptions=-c role=owner\n", connection(cluster, "bk").replace(' ', "\n"));
    std::fs::write(&service, text).unwrap();
    let job = Job { dump: "[{ type = 'pg_dump', databases = ['shop'] }]", ..Job::default() };
    test_env.configure_with_connection(&job, "service=site");
    crate::support::finish(test_env.command().arg("run").env("PGSERVICEFILE", &service)).expect(0);
}

mod slow {
    use super::*;

    /// Returns an environment with a database for each setting, each with the table `kinds`.
    fn with_databases() -> TestEnv {
        let test_env = TestEnv::new();
        with_roles(&test_env.cluster);
        test_env.cluster.create_database("kinds");
        test_env.cluster.psql("kinds", KINDS);
        for (name, _) in SETTINGS {
            test_env.cluster.psql("postgres", &format!("create database \"of_{name}\" template kinds"));
        }
        test_env
    }

    #[test]
    fn dumps_and_drills_under_each_database_setting() {
        let test_env = with_databases();
        for (name, value) in SETTINGS {
            test_env.cluster.psql("postgres", &set(&format!("database \"of_{name}\""), &[(name, value)]));
        }
        test_env.configure(&Job::default());
        test_env.longshore(&["run"]).expect(0);
        let scratch = scratch_dir();
        test_env.run_with_identity(&["drill", "--scratch-dir", scratch.path().to_str().unwrap()]).expect(0);
    }

    #[test]
    fn dumps_restores_and_drills_under_each_role_setting() {
        let test_env = TestEnv::new();
        let target = Cluster::start(&Installation::system(), &[]);
        with_roles(&test_env.cluster);
        with_roles(&target);
        test_env.cluster.create_database("kinds");
        test_env.cluster.psql("kinds", KINDS);
        let digest = test_env.cluster.psql("kinds", DIGEST);
        for (number, (name, value)) in SETTINGS.iter().enumerate() {
            let role = format!("of_{name}");
            for cluster in [&test_env.cluster, &target] {
                cluster.psql(
                    "postgres",
                    &format!("create role {role} login superuser; {}", set(&format!("role {role}"), &[(name, value)])),
                );
            }
            let scratch = format!(
                "[job.nightly.drill]\nscratch = {{ type = 'server', connection = '{}' }}\n",
                connection(&target, &role)
            );
            let job = Job { dump: "[{ type = 'pg_dump', databases = ['kinds'] }]", more: &scratch, ..Job::default() };
            test_env.configure_with_connection(&job, &connection(&test_env.cluster, &role));
            std::thread::sleep(std::time::Duration::from_secs(1));
            test_env.longshore(&["run"]).expect(0);
            let to = format!("{} dbname=again_{number}", connection(&target, &role));
            test_env
                .run_with_identity(&["restore", "kinds", "--create", "--to", &to])
                .expect(0)
                .omits("could not be analyzed");
            assert_eq!(target.psql(&format!("again_{number}"), DIGEST), digest, "{name}");
            test_env.run_with_identity(&["drill"]).expect(0);
        }
    }

    #[test]
    fn dumps_and_restores_under_each_role_in_database_setting() {
        let test_env = with_databases();
        let target = Cluster::start(&Installation::system(), &[]);
        with_roles(&target);
        let digest = test_env.cluster.psql("kinds", DIGEST);
        for (name, value) in SETTINGS {
            target.create_database(&format!("of_{name}"));
            for cluster in [&test_env.cluster, &target] {
                cluster.psql("postgres", &set(&format!("role bk in database \"of_{name}\""), &[(name, value)]));
            }
        }
        test_env.configure_with_connection(&Job::default(), &connection(&test_env.cluster, "bk"));
        test_env.longshore(&["run"]).expect(0);
        for (name, _) in SETTINGS {
            let database = format!("of_{name}");
            let to = format!("{} dbname={database}", connection(&target, "bk"));
            test_env.run_with_identity(&["restore", &database, "--to", &to]).expect(0).omits("could not be analyzed");
            assert_eq!(target.psql(&database, DIGEST), digest, "{name}");
        }
    }
}
