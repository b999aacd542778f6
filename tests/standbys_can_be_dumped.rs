//! The dump of a standby is never cancelled, and replay resumes after any end of the run.

use std::process::{Child, Command};

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{CommandOutput, Job, TestEnv, wait_for};

/// Starts a primary with a table that takes seconds to ship, and a standby whose replay never waits
/// for a query.
fn pair() -> (Cluster, TestEnv) {
    let primary = Cluster::start(&Installation::system(), &[]);
    primary.create_database("app");
    primary.psql(
        "app",
        "create table bulk as select i, md5(i::text) || md5((-i)::text) noise from generate_series(1, 400000) i;
         create table aside as select 1 i; create unlogged table fleeting as select generate_series(1, 9) i;",
    );
    let test_env = TestEnv::with_cluster(primary.start_standby(&["max_standby_streaming_delay=0"]));
    (primary, test_env)
}

fn configure(test_env: &TestEnv, cluster: &str, settings: &str) {
    let settings = [("local", settings)];
    let job =
        Job { dump: "[{ type = 'pg_dump', databases = ['app'] }]", cluster, settings: &settings, ..Job::default() };
    test_env.configure(&job);
}

const PAUSING: &str = "pause_replay = true";
/// A limit that makes a run last two or three seconds.
const SLOW: &str = "max_rate = '6MiB'";

fn is_paused(test_env: &TestEnv) -> bool {
    test_env.cluster.psql("postgres", "select pg_is_wal_replay_paused()") == "t"
}

/// Starts a run, and waits until pg_dump reads the table.
fn start_run(test_env: &TestEnv) -> Child {
    let run = test_env.start(&["run"]);
    test_env.wait_for_backend("COPY%bulk%");
    run
}

fn finish_run(run: Child) -> CommandOutput {
    CommandOutput::of(run.wait_with_output().unwrap())
}

fn signal(run: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &run.id().to_string()]).status().unwrap().success());
}

#[test]
fn replay_is_paused_during_the_dump() {
    let (primary, test_env) = pair();
    configure(&test_env, "", "");
    let check =
        test_env.longshore(&["check"]).expect(0).shows("hot_standby_feedback = off, max_standby_streaming_delay = 0");
    check.shows("pause_replay = true in [cluster.main]");
    test_env.longshore(&["run"]).expect(0).shows("app: not captured: rows of 1 unlogged table");
    test_env.run_with_identity(&["drill"]).expect(0);

    configure(&test_env, PAUSING, SLOW);
    test_env.longshore(&["check"]).expect(0).shows("the standby's replay is paused during a dump");
    let run = start_run(&test_env);
    assert!(is_paused(&test_env));
    primary.psql("app", "drop table aside");
    finish_run(run).expect(0);
    assert!(!is_paused(&test_env));

    // The same configuration works for the primary, which has no replay.
    test_env.configure_with_connection(
        &Job { dump: "[{ type = 'pg_dump', databases = ['app'] }]", cluster: PAUSING, ..Job::default() },
        &primary.connection(),
    );
    test_env.longshore(&["check"]).expect(0).shows("not a standby now");
    test_env.longshore(&["run"]).expect(0);
}

mod slow {
    use super::*;

    #[test]
    fn replay_resumes_after_signal_or_next_run() {
        let (_primary, test_env) = pair();
        configure(&test_env, PAUSING, SLOW);
        for (name, code) in [("TERM", 143), ("INT", 130)] {
            let run = start_run(&test_env);
            assert!(is_paused(&test_env));
            signal(&run, name);
            finish_run(run).expect(code);
            assert!(!is_paused(&test_env), "{name}");
        }
        for cluster in [PAUSING, ""] {
            configure(&test_env, PAUSING, SLOW);
            let run = start_run(&test_env);
            signal(&run, "KILL");
            finish_run(run);
            test_env.wait_for_disconnect();
            assert!(is_paused(&test_env));
            test_env.longshore(&["check"]).expect(0).shows("replay was left paused by a run of job \"nightly\"");
            configure(&test_env, cluster, "");
            test_env.longshore(&["run"]).expect(0).shows("it was resumed");
            assert!(!is_paused(&test_env));
        }
    }

    #[test]
    fn foreign_pause_is_kept() {
        let (_primary, test_env) = pair();
        configure(&test_env, PAUSING, "");
        test_env.cluster.psql("postgres", "select pg_wal_replay_pause()");
        test_env.longshore(&["check"]).expect(0).shows("paused, but not by this host");
        test_env.longshore(&["run"]).expect(0).shows("paused, but not by this host");
        assert!(is_paused(&test_env));
    }

    #[test]
    fn dump_cancelled_by_replay_is_retried_once() {
        let (primary, test_env) = pair();
        configure(&test_env, "", SLOW);
        let run = start_run(&test_env);
        primary.psql("app", "drop table aside");
        wait_for("the conflict", || {
            let conflicts = "select sum(confl_lock) > 0 from pg_stat_database_conflicts";
            (test_env.cluster.psql("postgres", conflicts) == "t").then_some(())
        });
        finish_run(run).expect(0);
        assert_eq!(test_env.json(&["list", "app", "--json"]).as_array().unwrap().len(), 1);
    }
}
