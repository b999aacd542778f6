//! Obstacles to dropping or creating a database are reported before anything is changed.

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{Job, Workshop};

/// Returns a workshop whose cluster accepts prepared transactions and logical slots. Its database
/// has gained a row since its backup.
fn workshop() -> Workshop {
    let settings = ["wal_level=logical", "max_prepared_transactions=3"];
    let workshop = Workshop::with_cluster(Cluster::start(&Installation::system(), &settings));
    workshop.cluster.create_database("appdb");
    workshop.cluster.psql("appdb", "create table t as select generate_series(1, 10) i");
    workshop.longshore(&["run"]).expect(0);
    workshop.cluster.psql("appdb", "insert into t values (11)");
    workshop
}

#[test]
fn a_database_in_use_is_not_set_aside() {
    let workshop = workshop();
    let cluster = &workshop.cluster;
    let to = format!("{} dbname=appdb", cluster.connection());
    let clean = || workshop.opening(&["restore", "main/appdb", "--clean", "--yes", "--to", &to]);
    let rows = || cluster.psql("appdb", "select count(*) from t");
    let uses = [
        (
            "begin; insert into t values (12); prepare transaction 'held'",
            "prepared transactions: held",
            "rollback prepared 'held'",
        ),
        (
            "select pg_create_logical_replication_slot('feed', 'pgoutput')",
            "logical replication slots: feed",
            "select pg_drop_replication_slot('feed')",
        ),
        (
            "create subscription copy connection 'host=127.0.0.1 port=1' publication p with (connect = false, slot_name = none)",
            "subscriptions: copy",
            "drop subscription copy",
        ),
    ];
    for (begin, said, end) in uses {
        for statement in begin.split("; ").collect::<Vec<_>>().chunks(3) {
            cluster.psql("appdb", &statement.join("; "));
        }
        clean().expect(6).says("nothing was changed").says(said);
        assert_eq!(rows(), "11", "{begin}");
        cluster.psql("appdb", end);
    }
    let mut session = std::process::Command::new(cluster.bin_dir().join("psql"));
    let sleeps = "set application_name = 'the application'; select pg_sleep(600)";
    session.arg("--dbname").arg(&to).args(["--command", sleeps]);
    let mut session = session.stdout(std::process::Stdio::null()).spawn().unwrap();
    crate::support::wait_for("the session", || {
        let seen = "select count(*) from pg_stat_activity where application_name = 'the application'";
        (cluster.psql("postgres", seen) == "1").then_some(())
    });
    clean().expect(6).says("sessions are connected").says("the application");
    session.kill().unwrap();
    session.wait().unwrap();
    cluster.psql("postgres", "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'appdb'");
    clean().expect(0);
    assert_eq!(rows(), "10");
}

#[test]
fn the_tablespace_of_the_database_itself_is_looked_for() {
    let workshop = Workshop::new();
    let target = Cluster::start(&Installation::system(), &[]);
    let make = |cluster: &Cluster, name: &str, place: &str| {
        let folder = cluster.data_dir().with_file_name(place);
        let make = format!("copy (select 1) to program 'mkdir {}'", folder.display());
        cluster.psql("postgres", &make);
        cluster.psql("postgres", &format!("create tablespace {name} location '{}'", folder.display()));
    };
    make(&workshop.cluster, "own", "own-of-source");
    make(&workshop.cluster, "\"of A table\"", "other-of-source");
    workshop.cluster.psql("postgres", "create database appdb tablespace own");
    workshop.cluster.psql("appdb", "create table t tablespace \"of A table\" as select 1 i");
    workshop.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=appdb", target.connection());
    let restore = || workshop.opening(&["restore", "main/appdb", "--create", "--to", &to]);
    restore().expect(6).says("lacks the tablespaces \"of A table\", \"own\"");
    make(&target, "\"of A table\"", "other-of-target");
    restore().expect(6).says("lacks the tablespace \"own\"");
    // Under another name, the database has no tablespace of its own.
    let another = format!("{} dbname=another", target.connection());
    workshop.opening(&["restore", "main/appdb", "--create", "--to", &another]).expect(0);
    make(&target, "own", "own-of-target");
    restore().expect(0);
    let place =
        "select spcname from pg_database d join pg_tablespace t on t.oid = dattablespace where datname = 'appdb'";
    assert_eq!(target.psql("postgres", place), "own");
}

#[test]
fn a_restore_takes_the_programs_of_its_cluster() {
    let newer = Installation::newer();
    let workshop = Workshop::with_cluster(Cluster::start(&newer, &[]));
    workshop.cluster.create_database("appdb");
    workshop.cluster.psql("appdb", "create table t as select 1 i");
    let bin_dir = format!("bin_dir = '{}'", newer.bin_dir.display());
    workshop.configure(&Job { cluster: &bin_dir, ..Job::default() });
    workshop.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=again", workshop.cluster.connection());
    workshop.opening(&["restore", "main/appdb", "--create", "--to", &to]).expect(0);
    assert_eq!(workshop.cluster.psql("again", "select i from t"), "1");
}

#[test]
fn what_becomes_active_is_said_before() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("appdb");
    let content = "create foreign data wrapper far; create server far foreign data wrapper far;
        create user mapping for public server far options (password 'sesame');
        create subscription feed connection 'host=127.0.0.1 port=1 password=sesame' publication p
            with (connect = false, slot_name = none);";
    for statement in content.split_inclusive(';') {
        workshop.cluster.psql("appdb", statement);
    }
    workshop.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=again", workshop.cluster.connection());
    let ended = workshop.opening(&["restore", "main/appdb", "--create", "--to", &to]).expect(0);
    let ended = ended.says("subscriptions \"feed\" are restored disabled").says("\"USER MAPPING public SERVER far\"");
    ended.keeps_quiet_about("sesame");
    assert_eq!(
        workshop.cluster.psql(
            "again",
            "select subenabled from pg_subscription s join pg_database d on d.oid = subdbid where datname = 'again'"
        ),
        "f"
    );
}
