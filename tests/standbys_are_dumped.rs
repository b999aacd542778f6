//! The dump of a standby is never cancelled, and replay resumes after any end of the run.

use std::process::{Child, Command};

use longshore_testkit::cluster::{Cluster, Installation};

use crate::support::{Ended, Job, Workshop, wait_for};

/// Starts a primary with a table that takes seconds to ship, and a standby whose replay never waits
/// for a query.
fn pair() -> (Cluster, Workshop) {
    let primary = Cluster::start(&Installation::system(), &[]);
    primary.create_database("app");
    primary.psql(
        "app",
        "create table bulk as select i, md5(i::text) || md5((-i)::text) noise from generate_series(1, 400000) i;
         create table aside as select 1 i; create unlogged table fleeting as select generate_series(1, 9) i;",
    );
    let workshop = Workshop::with_cluster(primary.start_standby(&["max_standby_streaming_delay=0"]));
    (primary, workshop)
}

fn configure(workshop: &Workshop, cluster: &str, terms: &str) {
    let terms = [("local", terms)];
    let job = Job { dump: "[{ type = 'pg_dump', databases = ['app'] }]", cluster, terms: &terms, ..Job::default() };
    workshop.configure(&job);
}

const PAUSING: &str = "pause_replay = true";
/// A limit that makes a run last two or three seconds.
const SLOW: &str = "max_rate = '6MiB'";

fn is_paused(workshop: &Workshop) -> bool {
    workshop.cluster.psql("postgres", "select pg_is_wal_replay_paused()") == "t"
}

/// Starts a run, and waits until pg_dump reads the table.
fn begun(workshop: &Workshop) -> Child {
    let run = workshop.start(&["run"]);
    workshop.wait_for_backend("COPY%bulk%");
    run
}

fn ended(run: Child) -> Ended {
    Ended::of(run.wait_with_output().unwrap())
}

fn signal(run: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &run.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_standby_is_paused_while_its_dump_lasts() {
    let (primary, workshop) = pair();
    configure(&workshop, "", "");
    let check =
        workshop.longshore(&["check"]).expect(0).says("hot_standby_feedback = off, max_standby_streaming_delay = 0");
    check.says("pause_replay = true in [cluster.main]");
    workshop.longshore(&["run"]).expect(0).says("app: not captured: rows of 1 unlogged table");
    workshop.opening(&["drill"]).expect(0);

    configure(&workshop, PAUSING, SLOW);
    workshop.longshore(&["check"]).expect(0).says("the standby's replay is paused during a dump");
    let run = begun(&workshop);
    assert!(is_paused(&workshop));
    primary.psql("app", "drop table aside");
    ended(run).expect(0);
    assert!(!is_paused(&workshop));

    // The same configuration works for the primary, which has no replay.
    workshop.configure_with_connection(
        &Job { dump: "[{ type = 'pg_dump', databases = ['app'] }]", cluster: PAUSING, ..Job::default() },
        &primary.connection(),
    );
    workshop.longshore(&["check"]).expect(0).says("not a standby now");
    workshop.longshore(&["run"]).expect(0);
}

mod slow {
    use super::*;

    #[test]
    fn a_signal_resumes_replay_and_a_kill_leaves_that_to_the_next_run() {
        let (_primary, workshop) = pair();
        configure(&workshop, PAUSING, SLOW);
        for (name, code) in [("TERM", 143), ("INT", 130)] {
            let run = begun(&workshop);
            assert!(is_paused(&workshop));
            signal(&run, name);
            ended(run).expect(code);
            assert!(!is_paused(&workshop), "{name}");
        }
        for cluster in [PAUSING, ""] {
            configure(&workshop, PAUSING, SLOW);
            let run = begun(&workshop);
            signal(&run, "KILL");
            ended(run);
            workshop.wait_for_silence();
            assert!(is_paused(&workshop));
            workshop.longshore(&["check"]).expect(0).says("replay was left paused by a run of job \"nightly\"");
            configure(&workshop, cluster, "");
            workshop.longshore(&["run"]).expect(0).says("it was resumed");
            assert!(!is_paused(&workshop));
        }
    }

    #[test]
    fn a_pause_that_is_not_ours_stays() {
        let (_primary, workshop) = pair();
        configure(&workshop, PAUSING, "");
        workshop.cluster.psql("postgres", "select pg_wal_replay_pause()");
        workshop.longshore(&["check"]).expect(0).says("paused, but not by this host");
        workshop.longshore(&["run"]).expect(0).says("paused, but not by this host");
        assert!(is_paused(&workshop));
    }

    #[test]
    fn a_dump_that_replay_cancels_is_tried_once_more() {
        let (primary, workshop) = pair();
        configure(&workshop, "", SLOW);
        let run = begun(&workshop);
        primary.psql("app", "drop table aside");
        wait_for("the conflict", || {
            let conflicts = "select sum(confl_lock) > 0 from pg_stat_database_conflicts";
            (workshop.cluster.psql("postgres", conflicts) == "t").then_some(())
        });
        ended(run).expect(0);
        assert_eq!(workshop.json(&["list", "app", "--json"]).as_array().unwrap().len(), 1);
    }
}
