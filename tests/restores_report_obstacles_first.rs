//! Obstacles to dropping or creating a database are reported before anything is changed.

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{Job, TestEnv};

/// Returns an environment whose cluster accepts prepared transactions and logical slots. Its
/// database has gained a row since its backup.
fn test_env() -> TestEnv {
    let settings = ["wal_level=logical", "max_prepared_transactions=3"];
    let test_env = TestEnv::with_cluster(Cluster::start(&Installation::system(), &settings));
    test_env.cluster.create_database("appdb");
    test_env.cluster.psql("appdb", "create table t as select generate_series(1, 10) i");
    test_env.longshore(&["run"]).expect(0);
    test_env.cluster.psql("appdb", "insert into t values (11)");
    test_env
}

#[test]
fn database_in_use_is_not_set_aside() {
    let test_env = test_env();
    let cluster = &test_env.cluster;
    let to = format!("{} dbname=appdb", cluster.connection());
    let clean = || test_env.run_with_identity(&["restore", "main/appdb", "--clean", "--yes", "--to", &to]);
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
    for (begin, expected_output, end) in uses {
        for statement in begin.split("; ").collect::<Vec<_>>().chunks(3) {
            cluster.psql("appdb", &statement.join("; "));
        }
        clean().expect(6).shows("nothing was changed").shows(expected_output);
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
    clean().expect(6).shows("sessions are connected").shows("the application");
    session.kill().unwrap();
    session.wait().unwrap();
    cluster.psql("postgres", "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'appdb'");
    clean().expect(0);
    assert_eq!(rows(), "10");
}

#[test]
fn missing_database_tablespace_is_reported() {
    let test_env = TestEnv::new();
    let target = Cluster::start(&Installation::system(), &[]);
    let make = |cluster: &Cluster, name: &str, place: &str| {
        let folder = cluster.data_dir().with_file_name(place);
        let make = format!("copy (select 1) to program 'mkdir {}'", folder.display());
        cluster.psql("postgres", &make);
        cluster.psql("postgres", &format!("create tablespace {name} location '{}'", folder.display()));
    };
    make(&test_env.cluster, "own", "own-of-source");
    make(&test_env.cluster, "\"of A table\"", "other-of-source");
    test_env.cluster.psql("postgres", "create database appdb tablespace own");
    test_env.cluster.psql("appdb", "create table t tablespace \"of A table\" as select 1 i");
    test_env.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=appdb", target.connection());
    let restore = || test_env.run_with_identity(&["restore", "main/appdb", "--create", "--to", &to]);
    restore().expect(6).shows("lacks the tablespaces \"of A table\", \"own\"");
    make(&target, "\"of A table\"", "other-of-target");
    restore().expect(6).shows("lacks the tablespace \"own\"");
    // Under another name, the database has no tablespace of its own.
    let another = format!("{} dbname=another", target.connection());
    test_env.run_with_identity(&["restore", "main/appdb", "--create", "--to", &another]).expect(0);
    make(&target, "own", "own-of-target");
    restore().expect(0);
    let place =
        "select spcname from pg_database d join pg_tablespace t on t.oid = dattablespace where datname = 'appdb'";
    assert_eq!(target.psql("postgres", place), "own");
}

#[test]
fn restore_uses_the_programs_of_its_cluster() {
    let newer = Installation::newer();
    let test_env = TestEnv::with_cluster(Cluster::start(&newer, &[]));
    test_env.cluster.create_database("appdb");
    test_env.cluster.psql("appdb", "create table t as select 1 i");
    let bin_dir = format!("bin_dir = '{}'", newer.bin_dir.display());
    test_env.configure(&Job { cluster: &bin_dir, ..Job::default() });
    test_env.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=again", test_env.cluster.connection());
    test_env.run_with_identity(&["restore", "main/appdb", "--create", "--to", &to]).expect(0);
    assert_eq!(test_env.cluster.psql("again", "select i from t"), "1");
}

#[test]
fn reports_objects_that_become_active() {
    let test_env = TestEnv::new();
    test_env.cluster.create_database("appdb");
    let content = "create foreign data wrapper far; create server far foreign data wrapper far;
        create user mapping for public server far options (password 'sesame');
        create subscription feed connection 'host=127.0.0.1 port=1 password=sesame' publication p
            with (connect = false, slot_name = none);";
    for statement in content.split_inclusive(';') {
        test_env.cluster.psql("appdb", statement);
    }
    test_env.longshore(&["run"]).expect(0);
    let to = format!("{} dbname=again", test_env.cluster.connection());
    let result = test_env.run_with_identity(&["restore", "main/appdb", "--create", "--to", &to]).expect(0);
    let result =
        result.shows("subscriptions \"feed\" are restored disabled").shows("\"USER MAPPING public SERVER far\"");
    result.omits("sesame");
    assert_eq!(
        test_env.cluster.psql(
            "again",
            "select subenabled from pg_subscription s join pg_database d on d.oid = subdbid where datname = 'again'"
        ),
        "f"
    );
}
