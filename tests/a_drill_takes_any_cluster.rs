//! A drill creates a cluster that fits the dump, including mixed encodings and runs without
//! globals.

use longshore_testkit::cluster::{Cluster, Installation};

use crate::drills_prove_that_backups_restore::place;
use crate::support::{Ended, Job, Workshop};

fn drill(workshop: &Workshop) -> Ended {
    let scratch = place();
    workshop.opening(&["drill", "--scratch-dir", scratch.path().to_str().unwrap()])
}

#[test]
fn databases_of_several_encodings_are_drilled() {
    let workshop = Workshop::new();
    let source = &workshop.cluster;
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
    workshop.configure(&Job { dump, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    drill(&workshop).expect(0).keeps_quiet_about("DAMAGED").keeps_quiet_about("NOT DRILLED");
    // The script of a whole cluster uses the encoding of the database that the job connects to.
    workshop.configure_with_connection(
        &Job { dump: "[{ type = 'pg_dumpall', what = 'all' }]", ..Job::default() },
        &format!("{} dbname=app", workshop.cluster.connection()),
    );
    std::thread::sleep(std::time::Duration::from_millis(1100));
    workshop.longshore(&["run"]).expect(0);
    drill(&workshop).keeps_quiet_about("DAMAGED").keeps_quiet_about("not UTF-8");
}

#[test]
fn a_job_without_globals_is_drilled_with_stand_ins() {
    let workshop = Workshop::with_cluster(Cluster::start(&Installation::system(), &["allow_in_place_tablespaces=on"]));
    let source = &workshop.cluster;
    source.create_database("shop");
    source.psql(
        "shop",
        "create role \"head clerk\" superuser login; create role reader; create tablespace elsewhere location '';
         create table t (i int) tablespace elsewhere; insert into t values (1); alter table t owner to \"head clerk\";
         grant select on t to reader;
         create function nothing() returns event_trigger language plpgsql as 'begin end';
         set role \"head clerk\"; create event trigger e on ddl_command_end execute function nothing();",
    );
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['shop'] }]", ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let ended = drill(&workshop).expect(0).says("role \"head clerk\", \"reader\" created as a placeholder");
    ended.says("tablespace \"elsewhere\" created as a placeholder").says("restored and compared: all equal");
}
