//! A restore that is interrupted leaves the target as it was. After SIGKILL, the next restore and
//! `check` report the leftovers.

use std::time::{Duration, Instant};

use longshore_testkit::cluster::Cluster;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Ended, Job, Workshop};

/// The dump stage of the database that is backed up.
const BULK: &str = "[{ type = 'pg_dump', databases = ['bulk'] }]";
/// Lists the user databases, with their comments.
const DATABASES: &str = "select string_agg(datname || coalesce(': ' || shobj_description(oid, 'pg_database'), ''), ' '
    order by datname) from pg_database where not datistemplate and datname <> 'postgres'";

/// The restore option that creates the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Clean,
    Create,
}

/// A backup of a database of some mebibytes, and a target with or without another database of that
/// name.
struct Case {
    workshop: Workshop,
    /// The digest of the rows in the backup.
    rows: String,
    way: Way,
}

impl Case {
    fn new(way: Way, mebibytes: u32) -> Self {
        let workshop = Workshop::new();
        workshop.make_bulk("bulk", mebibytes);
        workshop.cluster.psql("postgres", "comment on database bulk is 'their own'");
        workshop.configure(&Job { dump: BULK, ..Job::default() });
        workshop.longshore(&["run"]).expect(0);
        let case = Self { rows: rows(&workshop.cluster), workshop, way };
        case.reset();
        case
    }

    /// Resets the target to its state before a restore.
    fn reset(&self) {
        let cluster = &self.workshop.cluster;
        cluster.psql("postgres", "drop database if exists bulk with (force)");
        if self.way == Way::Clean {
            cluster.create_database("bulk");
            cluster.psql("bulk", "create table mine as select 1 n");
        }
    }

    fn arguments<'a>(&self, to: &'a str, identity: &'a str) -> Vec<&'a str> {
        let mut arguments = vec!["restore", "bulk", "--no-analyze", "--to", to, "--identity", identity];
        arguments.extend(match self.way {
            Way::Clean => &["--clean", "--yes"][..],
            Way::Create => &["--create"],
        });
        arguments
    }

    fn start(&self) -> std::process::Child {
        let to = format!("{} dbname=bulk", self.workshop.cluster.connection());
        let identity = self.workshop.identity().display().to_string();
        self.workshop.start(&self.arguments(&to, &identity))
    }

    fn restore(&self) -> Ended {
        Ended::of(self.start().wait_with_output().unwrap())
    }

    /// Expects that the target is as it was before, or contains the whole backup.
    #[track_caller]
    fn expect_all_or_nothing(&self, when: &str, ended: &Ended) {
        let databases = self.workshop.cluster.psql("postgres", DATABASES);
        let is_before = match (databases.as_str(), self.way) {
            ("", Way::Create) => true,
            ("bulk", Way::Clean) => self.workshop.cluster.psql("bulk", "select n from mine") == "1",
            _ => false,
        };
        let is_whole = || databases == "bulk: their own" && rows(&self.workshop.cluster) == self.rows;
        assert!(is_before || is_whole(), "{:?} {when}: {databases}\n{}", self.way, ended.stderr);
    }

    /// Ends restores by a signal at `moments` points in time, spread over the duration of a
    /// restore.
    fn interrupt(&self, moments: u32, signal: Signal) {
        let begun = Instant::now();
        self.restore().expect(0);
        let lasts = begun.elapsed();
        for moment in 0..moments {
            self.reset();
            let mut restore = self.start();
            std::thread::sleep(lasts * moment / moments);
            if restore.try_wait().unwrap().is_none() {
                kill_process(Pid::from_child(&restore), signal).unwrap();
            }
            let ended = Ended::of(restore.wait_with_output().unwrap());
            self.expect_all_or_nothing(&format!("at {moment} of {moments}"), &ended);
        }
        self.workshop.wait_for_silence();
    }

    /// Kills a restore while rows are copied.
    fn kill(&self) {
        let mut restore = self.start();
        self.workshop.wait_for_backend("COPY%");
        restore.kill().unwrap();
        restore.wait().unwrap();
        self.workshop.wait_for_silence();
    }
}

fn rows(cluster: &Cluster) -> String {
    cluster.psql("bulk", "select md5(string_agg(noise, '' order by i)) from bulk")
}

/// Returns the end of an output line, from the SQL statement that begins with `begins`.
fn mends(ended: &Ended, begins: &str) -> String {
    let output = format!("{}\n{}", ended.stdout, ended.stderr);
    let line = output.lines().find_map(|line| Some(line[line.find(begins)?..].to_owned()));
    line.unwrap_or_else(|| panic!("{begins:?} not in\n{output}"))
}

#[test]
fn sigterm_at_any_moment_of_a_restore_is_undone() {
    for way in [Way::Clean, Way::Create] {
        Case::new(way, 2).interrupt(8, Signal::TERM);
    }
}

#[test]
fn a_killed_clean_restore_is_named_and_mended() {
    let case = Case::new(Way::Clean, 96);
    case.kill();
    let check = case.workshop.longshore(&["check"]);
    let check = check.says("holds part of a backup");
    let refused = case.restore().expect(6);
    refused.says("left by a killed restore");
    let to = case.workshop.cluster.connection();
    let plan = case.workshop.opening(&["restore", "bulk", "--create", "--to", &format!("{to} dbname=bulk")]).expect(6);
    let plan = plan.says("holds part of a backup: a restore into it was killed");
    for statement in mends(&check, "drop database").split("; ") {
        case.workshop.cluster.psql("postgres", statement);
    }
    case.expect_all_or_nothing("after it was mended", &plan);
    assert_eq!(case.workshop.cluster.psql("bulk", "select n from mine"), "1");
    case.workshop.longshore(&["check"]).keeps_quiet_about("was killed");
    case.restore().expect(0);
}

#[test]
fn a_killed_create_is_named_and_replaced() {
    let case = Case::new(Way::Create, 96);
    case.kill();
    case.workshop.longshore(&["check"]).says("drop database \"bulk\" with (force)");
    case.restore().expect(6).says("was killed").says("--clean");
    let case = Case { way: Way::Clean, ..case };
    case.restore().expect(0);
    case.workshop.longshore(&["check"]).keeps_quiet_about("was killed");
    assert_eq!(rows(&case.workshop.cluster), case.rows);
}

/// The server ends all sessions and recovers when one of its processes is killed.
#[test]
fn a_server_that_crashes_in_a_restore_gets_its_database_back() {
    let case = Case::new(Way::Clean, 96);
    let restore = case.start();
    let backend = case.workshop.wait_for_backend("COPY%");
    kill_process(Pid::from_raw(backend.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    let ended = Ended::of(restore.wait_with_output().unwrap()).expect(2);
    crate::support::wait_for("the server", || case.workshop.cluster.answers().then_some(()));
    case.expect_all_or_nothing("after a crash", &ended);
}

mod slow {
    use super::*;

    #[test]
    fn sigterm_at_44_moments_of_a_clean_restore_is_undone() {
        Case::new(Way::Clean, 8).interrupt(44, Signal::TERM);
    }

    #[test]
    fn sigterm_at_50_moments_of_a_create_is_undone() {
        Case::new(Way::Create, 8).interrupt(50, Signal::TERM);
    }

    #[test]
    fn sigint_at_20_moments_of_a_clean_restore_is_undone() {
        Case::new(Way::Clean, 8).interrupt(20, Signal::INT);
    }

    /// Leftovers are reported, and the reported statements clean them up.
    #[test]
    fn sigkill_at_30_moments_leaves_what_is_named() {
        let case = Case::new(Way::Clean, 8);
        let begun = Instant::now();
        case.restore().expect(0);
        let lasts = begun.elapsed();
        for moment in 0..30 {
            case.reset();
            let mut restore = case.start();
            std::thread::sleep(lasts * moment / 30);
            restore.kill().unwrap();
            restore.wait().unwrap();
            case.workshop.wait_for_silence();
            std::thread::sleep(Duration::from_millis(100));
            let databases = case.workshop.cluster.psql("postgres", DATABASES);
            if databases.contains("_before_") || databases.contains("longshore") {
                let check = case.workshop.longshore(&["check"]);
                let begins = ["drop database", "alter database"].into_iter().find(|sql| check.stdout.contains(sql));
                let begins = begins.unwrap_or_else(|| panic!("{databases}: {}", check.stdout));
                let said = mends(&check, begins);
                let is_statement = |words: &&str| words.starts_with("drop ") || words.starts_with("alter ");
                for statement in said.split("; ").take_while(is_statement) {
                    case.workshop.cluster.psql("postgres", statement);
                }
            }
            let ended = case.workshop.longshore(&["check"]);
            case.expect_all_or_nothing(&format!("killed at {moment} of 30"), &ended);
        }
    }
}
