//! A drill creates a cluster that fits the dump, including mixed encodings and runs without
//! globals.

use longshore_testkit::cluster::{Cluster, Installation};

use crate::drills_restore_and_compare::scratch_dir;
use crate::support::{CommandOutput, Job, TestEnv};

fn drill(test_env: &TestEnv) -> CommandOutput {
    let scratch = scratch_dir();
    test_env.run_with_identity(&["drill", "--scratch-dir", scratch.path().to_str().unwrap()])
}

#[test]
fn drills_databases_of_several_encodings() {
    let test_env = TestEnv::new();
    let source = &test_env.cluster;
    source.psql("postgres", "create role \"Jürgen\"; create table u as select 'ü' as letter;");
    for (name, encoding) in [("app", "LATIN1"), ("old", "SQL_ASCII"), ("zen", "EUC_JP")] {
        source.psql("postgres", &format!("create database {name} encoding '{encoding}' template template0 locale 'C'"));
        source.psql(name, "create table t as select 1 i; alter table t owner to \"Jürgen\";");
    }
    source.psql("app", "insert into t values (2); create table letters as select 'ü' as letter;");
    // A template whose encoding differs from the default of the drill's cluster.
    source.psql(
        "postgres",
        "update pg_database set datistemplate = false where datname = 'template1'; drop database template1;
         create database template1 encoding 'LATIN1' template template0 locale 'C' is_template true;",
    );
    source.psql("template1", "create table shipped as select 1 i");
    let dump = "[{ type = 'pg_dumpall' }, { type = 'pg_dump' }, { type = 'pg_dump', databases = ['template1'] }]";
    test_env.configure(&Job { dump, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    drill(&test_env).expect(0).stdout_omits("damaged").stdout_omits("not drilled");
    // The script of a whole cluster uses the encoding of the database that the job connects to.
    test_env.configure_with_connection(
        &Job { dump: "[{ type = 'pg_dumpall', what = 'all' }]", ..Job::default() },
        &format!("{} dbname=app", test_env.cluster.connection()),
    );
    std::thread::sleep(std::time::Duration::from_millis(1100));
    test_env.longshore(&["run"]).expect(0);
    drill(&test_env).stdout_omits("damaged").omits("not UTF-8");
}

#[test]
fn drill_without_globals_creates_placeholder_roles() {
    let test_env = TestEnv::with_cluster(Cluster::start(&Installation::system(), &["allow_in_place_tablespaces=on"]));
    let source = &test_env.cluster;
    source.create_database("shop");
    source.psql(
        "shop",
        "create role \"head clerk\" superuser login; create role reader; create tablespace elsewhere location '';
         create table t (i int) tablespace elsewhere; insert into t values (1); alter table t owner to \"head clerk\";
         grant select on t to reader;
         create function nothing() returns event_trigger language plpgsql as 'begin end';
         set role \"head clerk\"; create event trigger e on ddl_command_end execute function nothing();",
    );
    test_env.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['shop'] }]", ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let result = drill(&test_env).expect(0).shows("role \"head clerk\", \"reader\" created as a placeholder");
    result
        .shows("tablespace \"elsewhere\" created as a placeholder")
        .stdout_shows("restored and compared: ")
        .stdout_shows(" equal");
}
