//! A failed restore never costs the target its data, and a partial restore is never reported as
//! complete.

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{Job, Workshop, artifact, finish};

/// Returns a workshop with the databases `one` and `two`, backed up.
fn with_two() -> Workshop {
    let workshop = Workshop::new();
    for name in ["one", "two"] {
        workshop.cluster.create_database(name);
        workshop.cluster.psql(name, &format!("create table t as select '{name}' as name"));
    }
    workshop.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['one', 'two'] }]",
        ..Job::default()
    });
    workshop.longshore(&["run"]).expect(0);
    workshop
}

#[test]
fn databases_of_a_run_do_not_replace_each_other() {
    let workshop = with_two();
    let to = format!("{} dbname=one", workshop.cluster.connection());
    workshop.opening(&["restore", "--run", "latest", "--clean", "--yes", "--to", &to]).expect(1).says("remove dbname");
    assert_eq!(workshop.cluster.psql("one", "select name from t"), "one");
}

#[test]
fn what_cannot_be_opened_costs_the_target_nothing() {
    let workshop = with_two();
    let other = Workshop::new();
    let to = format!("{} dbname=one", workshop.cluster.connection());
    let mut restore = workshop.command();
    restore.args(["restore", "one", "--clean", "--yes", "--to", &to, "--identity"]).arg(other.identity());
    finish(&mut restore).expect(2);
    assert_eq!(workshop.cluster.psql("one", "select name from t"), "one");
}

#[test]
fn a_part_of_a_run_is_not_passed_off_as_the_whole() {
    let workshop = with_two();
    let run = workshop.json(&["list", "one", "--json"])[0]["run"].as_str().unwrap().to_owned();
    std::fs::remove_file(artifact(&workshop.local().join("main/two"))).unwrap();
    let target = Cluster::start(&Installation::system(), &[]);
    let to = target.connection();
    let latest = workshop.opening(&["restore", "--run", "latest", "--create", "--to", &to]).expect(6);
    latest.says("3 backups, of which 2 exist and are good (damaged: main/two/two-").says("--run");
    assert_eq!(target.psql("postgres", "select count(*) from pg_database where datname = 'one'"), "0");
    let named = workshop.opening(&["restore", "--run", &run, "--create", "--to", &to]).expect(3);
    named.says("restored 2 backups").says("warning: the run planned 3 backups");
    assert_eq!(target.psql("one", "select name from t"), "one");
}

#[test]
fn a_database_that_fails_hinders_no_other_of_its_run() {
    let workshop = with_two();
    let artifact = artifact(&workshop.local().join("main/one"));
    let mut bytes = std::fs::read(&artifact).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&artifact, bytes).unwrap();
    let target = Cluster::start(&Installation::system(), &[]);
    let ended = workshop.opening(&["restore", "--run", "latest", "--create", "--to", &target.connection()]).expect(3);
    ended.says("restored 2 of 3 backups").says("error: ");
    assert_eq!(target.psql("two", "select name from t"), "two");
}

#[test]
fn of_what_two_jobs_made_one_must_be_named() {
    let workshop = with_two();
    let config = std::fs::read_to_string(workshop.config_path()).unwrap();
    let hourly = config.split("[job.nightly]").nth(1).unwrap().replace("'one', 'two'", "'one'");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    std::fs::write(workshop.config_path(), format!("{config}\n[job.hourly]\n{hourly}")).unwrap();
    workshop.cluster.psql("one", "update t set name = 'later'");
    workshop.longshore(&["run", "hourly"]).expect(0);
    let to = format!("{} dbname=again", workshop.cluster.connection());
    workshop.opening(&["restore", "one", "--create", "--to", &to]).expect(1).says("hourly, nightly").says("--job");
    workshop.opening(&["restore", "one", "--job", "nightly", "--create", "--to", &to]).expect(0);
    assert_eq!(workshop.cluster.psql("again", "select name from t"), "one");
    workshop.opening(&["restore", "--run", "latest", "--to", &to]).expect(1).says("hourly of main, nightly of main");
}

#[test]
fn data_alone_is_added_to_what_is_there() {
    let workshop = with_two();
    workshop
        .configure(&Job { dump: "[{ type = 'pg_dump', databases = ['one'], data_only = true }]", ..Job::default() });
    std::thread::sleep(std::time::Duration::from_millis(1100));
    workshop.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=one", workshop.cluster.connection());
    workshop.cluster.psql("one", "delete from t");
    workshop.opening(&["restore", "one", "--to", &to]).expect(6).says("--append");
    workshop.opening(&["restore", "one", "--append", "--to", &to]).expect(0);
    assert_eq!(workshop.cluster.psql("one", "select name from t"), "one");
}

#[test]
fn globals_that_were_never_taken_are_not_silently_left_out() {
    let workshop = Workshop::new();
    workshop.configure(&Job { dump: "[{ type = 'pg_dump' }]", ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=again", workshop.cluster.connection());
    workshop
        .opening(&["restore", "postgres", "--globals", "--create", "--to", &to])
        .expect(2)
        .says("the backup was made without globals");
}

#[test]
fn a_clusters_script_is_not_run_into_a_cluster_that_holds_something() {
    let workshop = with_two();
    workshop.configure(&Job { dump: "[{ type = 'pg_dumpall', what = 'all' }]", ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    workshop.opening(&["restore", "all", "--to", &workshop.cluster.connection()]).expect(6).says("\"one\"");
}

#[test]
fn a_replacement_that_fails_leaves_the_target_as_it_was() {
    let workshop = with_two();
    // The function's dependency shows only when the constraint calls the function.
    workshop.cluster.psql("one", NO_RESTORE);
    workshop
        .cluster
        .psql("one", "create role owner; alter table t owner to owner; alter database one set work_mem = '5MB'");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    workshop.longshore(&["run"]).expect(0);
    let target = Cluster::start(&Installation::system(), &[]);
    target.psql("postgres", "create role owner");
    target.create_database("one");
    target.psql("one", "create table kept as select 1 n");
    let to = format!("{} dbname=one", target.connection());
    workshop.opening(&["restore", "one", "--clean", "--yes", "--to", &to]).expect(2).says("not in the target");
    assert_eq!(target.psql("one", "select n from kept"), "1");
    let databases = "select string_agg(datname, ' ' order by datname) from pg_database where not datistemplate";
    assert_eq!(target.psql("postgres", databases), "one postgres");

    // A database that the restore created is dropped as well, so that the next restore starts
    // clean.
    target.psql("postgres", "drop database one");
    workshop.opening(&["restore", "one", "--create", "--to", &to]).expect(2);
    assert_eq!(target.psql("postgres", databases), "postgres");
    target.create_database("two");
    workshop.opening(&["restore", "one", "--create", "--to", &to]).expect(0);
    assert_eq!(target.psql("one", "select current_setting('work_mem')"), "5MB");
}

/// A constraint whose rows load only where a database `two` exists.
const NO_RESTORE: &str = "create function there(text) returns text immutable language plpgsql as $$ begin
    if not exists (select from pg_catalog.pg_database where datname = 'two') then raise 'not in the target'; end if; return $1; end $$;
    alter table t add check (there(name) = name);";

#[test]
fn what_is_asked_for_and_cannot_be_is_not_passed_over() {
    let workshop = with_two();
    let to = workshop.cluster.connection();
    workshop.opening(&["restore", "globals", "--create", "--to", &to]).expect(1).says("--create");
    let twice = ["restore", "one", "--role-map", "a=b", "--role-map", "a=c", "--to", &to];
    workshop.opening(&twice).expect(1).says("is mapped to both \"b\" and \"c\"");
    workshop.opening(&["restore", "--run", "nope", "--to", &to]).expect(2).says("\"nope\"").says("list --json");
}

#[test]
fn a_part_never_takes_the_place_of_a_whole_database() {
    let workshop = with_two();
    let to = format!("{} dbname=one", workshop.cluster.connection());
    workshop.opening(&["restore", "one", "--clean", "--yes", "--table", "t", "--to", &to]).expect(1).says("--table");
    workshop.opening(&["restore", "one", "--clean", "--yes", "--section", "data", "--to", &to]).expect(1);
    assert_eq!(workshop.cluster.psql("one", "select name from t"), "one");
}

#[test]
fn what_a_killed_restore_set_aside_is_named_and_left() {
    let workshop = with_two();
    let name = workshop.json(&["list", "--json"]).as_array().unwrap().iter().find_map(|backup| {
        let name = backup["name"].as_str()?;
        name.rsplit_once("/one-").map(|(_, time)| format!("one_before_{time}"))
    });
    let aside = name.unwrap();
    workshop.cluster.psql("postgres", &format!("create database \"{aside}\""));
    let to = format!("{} dbname=one", workshop.cluster.connection());
    let ended = workshop.opening(&["restore", "one", "--clean", "--yes", "--to", &to]).expect(6);
    ended.says(&aside).says("alter database").says("the previous content of \"one\"");
    assert_eq!(workshop.cluster.psql("one", "select name from t"), "one");
}

#[test]
fn a_file_that_may_not_grow_is_an_error_and_leaves_no_half() {
    let workshop = with_two();
    workshop.make_bulk("bulk", 2);
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['bulk'] }]", ..Job::default() });
    std::thread::sleep(std::time::Duration::from_millis(1100));
    workshop.longshore(&["run"]).expect(0);
    let output = workshop.path("half.dump");
    let mut limited = std::process::Command::new("bash");
    let restore = workshop.command();
    limited.args(["-c", "ulimit -f 100; exec \"$0\" \"$@\""]).arg(restore.get_program()).args(restore.get_args());
    limited.args(["restore", "bulk", "--output"]).arg(&output).arg("--identity").arg(workshop.identity());
    crate::support::finish(&mut limited).expect(2).says("File too large");
    assert!(!output.exists());
}

#[test]
fn a_damaged_backup_is_restored_where_its_whole_name_is_given() {
    let workshop = with_two();
    let folder = workshop.local().join("main/one");
    let details = crate::support::files(&folder).into_iter().find(|name| name.contains(".details.")).unwrap();
    std::fs::remove_file(folder.join(details)).unwrap();
    workshop.opening(&["verify", "one"]).expect(4);
    let all = workshop.json(&["list", "--json"]);
    let names = all.as_array().unwrap().iter().filter_map(|backup| backup["name"].as_str());
    let name = names.into_iter().find(|name| name.contains("/one-")).unwrap().to_owned();
    let to = workshop.path("one.dump").display().to_string();
    workshop.opening(&["restore", "one", "--output", &to]).expect(2).says("no good backup");
    workshop.opening(&["restore", &name, "--output", &to]).expect(0).says("requested by its full name");
    assert!(std::fs::metadata(&to).unwrap().len() > 0);
}

#[test]
fn the_database_postgres_can_be_replaced_like_any_other() {
    let workshop = Workshop::new();
    workshop.cluster.psql("postgres", "create table t as select 1 n");
    workshop.longshore(&["run"]).expect(0);
    workshop.cluster.psql("postgres", "update t set n = 2");
    let to = workshop.cluster.connection();
    workshop.opening(&["restore", "postgres", "--clean", "--yes", "--to", &to]).expect(0);
    assert_eq!(workshop.cluster.psql("postgres", "select n from t"), "1");
}
