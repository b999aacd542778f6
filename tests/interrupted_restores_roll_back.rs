//! A restore that is interrupted leaves the target as it was. After SIGKILL, the next restore and
//! `check` report the leftovers.

use std::time::{Duration, Instant};

use longshore_testkit::cluster::Cluster;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{CommandOutput, Job, TestEnv};

/// The dump stage of the database that is backed up.
const BULK: &str = "[{ type = 'pg_dump', databases = ['bulk'] }]";
/// Lists the user databases, with their comments.
const DATABASES: &str = "select string_agg(datname || coalesce(': ' || shobj_description(oid, 'pg_database'), ''), ' '
    order by datname) from pg_database where not datistemplate and datname <> 'postgres'";

/// The restore option that creates the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Clean,
    Create,
}

/// A backup of a database of some mebibytes, and a target with or without another database of that
/// name.
struct Case {
    test_env: TestEnv,
    /// The digest of the rows in the backup.
    rows: String,
    method: Method,
}

impl Case {
    fn new(method: Method, mebibytes: u32) -> Self {
        let test_env = TestEnv::new();
        test_env.make_bulk("bulk", mebibytes);
        test_env.cluster.psql("postgres", "comment on database bulk is 'their own'");
        test_env.configure(&Job { dump: BULK, ..Job::default() });
        test_env.longshore(&["run"]).expect(0);
        let case = Self { rows: rows(&test_env.cluster), test_env, method };
        case.reset();
        case
    }

    /// Resets the target to its state before a restore.
    fn reset(&self) {
        let cluster = &self.test_env.cluster;
        cluster.psql("postgres", "drop database if exists bulk with (force)");
        if self.method == Method::Clean {
            cluster.create_database("bulk");
            cluster.psql("bulk", "create table mine as select 1 n");
        }
    }

    fn arguments<'a>(&self, to: &'a str, identity: &'a str) -> Vec<&'a str> {
        let mut arguments = vec!["restore", "bulk", "--no-analyze", "--to", to, "--identity", identity];
        arguments.extend(match self.method {
            Method::Clean => &["--clean", "--yes"][..],
            Method::Create => &["--create"],
        });
        arguments
    }

    fn start(&self) -> std::process::Child {
        let to = format!("{} dbname=bulk", self.test_env.cluster.connection());
        let identity = self.test_env.identity().display().to_string();
        self.test_env.start(&self.arguments(&to, &identity))
    }

    fn restore(&self) -> CommandOutput {
        CommandOutput::of(self.start().wait_with_output().unwrap())
    }

    /// Expects that the target is as it was before, or contains the whole backup.
    #[track_caller]
    fn expect_all_or_nothing(&self, when: &str, result: &CommandOutput) {
        let databases = self.test_env.cluster.psql("postgres", DATABASES);
        let is_before = match (databases.as_str(), self.method) {
            ("", Method::Create) => true,
            ("bulk", Method::Clean) => self.test_env.cluster.psql("bulk", "select n from mine") == "1",
            _ => false,
        };
        let is_whole = || databases == "bulk: their own" && rows(&self.test_env.cluster) == self.rows;
        assert!(is_before || is_whole(), "{:?} {when}: {databases}\n{}", self.method, result.stderr);
    }

    /// Ends restores by a signal at `moments` points in time, spread over the duration of a
    /// restore.
    fn interrupt(&self, moments: u32, signal: Signal) {
        let begun = Instant::now();
        self.restore().expect(0);
        let duration = begun.elapsed();
        for moment in 0..moments {
            self.reset();
            let mut restore = self.start();
            std::thread::sleep(duration * moment / moments);
            if restore.try_wait().unwrap().is_none() {
                kill_process(Pid::from_child(&restore), signal).unwrap();
            }
            let result = CommandOutput::of(restore.wait_with_output().unwrap());
            self.expect_all_or_nothing(&format!("at {moment} of {moments}"), &result);
        }
        self.test_env.wait_for_disconnect();
    }

    /// Kills a restore while rows are copied.
    fn kill(&self) {
        let mut restore = self.start();
        self.test_env.wait_for_backend("COPY%");
        restore.kill().unwrap();
        restore.wait().unwrap();
        self.test_env.wait_for_disconnect();
    }
}

fn rows(cluster: &Cluster) -> String {
    cluster.psql("bulk", "select md5(string_agg(noise, '' order by i)) from bulk")
}

/// Returns the end of an output line, from the SQL statement that begins with `prefix`.
fn statements_from(result: &CommandOutput, prefix: &str) -> String {
    let output = format!("{}\n{}", result.stdout, result.stderr);
    let line = output.lines().find_map(|line| Some(line[line.find(prefix)?..].to_owned()));
    line.unwrap_or_else(|| panic!("{prefix:?} not in\n{output}"))
}

#[test]
fn sigterm_at_any_moment_rolls_back() {
    for method in [Method::Clean, Method::Create] {
        Case::new(method, 2).interrupt(8, Signal::TERM);
    }
}

#[test]
fn killed_clean_restore_is_reported_and_repaired() {
    let case = Case::new(Method::Clean, 96);
    case.kill();
    let check = case.test_env.longshore(&["check"]);
    let check = check.shows("holds part of a backup");
    let refused = case.restore().expect(6);
    refused.shows("left by a killed restore");
    let to = case.test_env.cluster.connection();
    let plan = case
        .test_env
        .run_with_identity(&["restore", "bulk", "--create", "--to", &format!("{to} dbname=bulk")])
        .expect(6);
    let plan = plan.shows("holds part of a backup: a restore into it was killed");
    for statement in statements_from(&check, "drop database").split("; ") {
        case.test_env.cluster.psql("postgres", statement);
    }
    case.expect_all_or_nothing("after it was mended", &plan);
    assert_eq!(case.test_env.cluster.psql("bulk", "select n from mine"), "1");
    case.test_env.longshore(&["check"]).omits("was killed");
    case.restore().expect(0);
}

#[test]
fn killed_create_is_reported_and_replaced() {
    let case = Case::new(Method::Create, 96);
    case.kill();
    case.test_env.longshore(&["check"]).shows("drop database \"bulk\" with (force)");
    case.restore().expect(6).shows("was killed").shows("--clean");
    let case = Case { method: Method::Clean, ..case };
    case.restore().expect(0);
    case.test_env.longshore(&["check"]).omits("was killed");
    assert_eq!(rows(&case.test_env.cluster), case.rows);
}

/// The server ends all sessions and recovers when one of its processes is killed.
#[test]
fn server_crash_rolls_back() {
    let case = Case::new(Method::Clean, 96);
    let restore = case.start();
    let backend = case.test_env.wait_for_backend("COPY%");
    kill_process(Pid::from_raw(backend.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    let result = CommandOutput::of(restore.wait_with_output().unwrap()).expect(2);
    crate::support::wait_for("the server", || case.test_env.cluster.answers().then_some(()));
    case.expect_all_or_nothing("after a crash", &result);
}

mod slow {
    use super::*;

    #[test]
    fn sigterm_at_44_moments_rolls_back_clean() {
        Case::new(Method::Clean, 8).interrupt(44, Signal::TERM);
    }

    #[test]
    fn sigterm_at_50_moments_rolls_back_create() {
        Case::new(Method::Create, 8).interrupt(50, Signal::TERM);
    }

    #[test]
    fn sigint_at_20_moments_rolls_back_clean() {
        Case::new(Method::Clean, 8).interrupt(20, Signal::INT);
    }

    /// Leftovers are reported, and the reported statements clean them up.
    #[test]
    fn sigkill_at_30_moments_leaves_only_reported_databases() {
        let case = Case::new(Method::Clean, 8);
        let begun = Instant::now();
        case.restore().expect(0);
        let duration = begun.elapsed();
        for moment in 0..30 {
            case.reset();
            let mut restore = case.start();
            std::thread::sleep(duration * moment / 30);
            restore.kill().unwrap();
            restore.wait().unwrap();
            case.test_env.wait_for_disconnect();
            std::thread::sleep(Duration::from_millis(100));
            let databases = case.test_env.cluster.psql("postgres", DATABASES);
            if databases.contains("_before_") || databases.contains("longshore") {
                let check = case.test_env.longshore(&["check"]);
                let prefix = ["drop database", "alter database"].into_iter().find(|sql| check.stdout.contains(sql));
                let prefix = prefix.unwrap_or_else(|| panic!("{databases}: {}", check.stdout));
                let statements = statements_from(&check, prefix);
                let is_statement = |words: &&str| words.starts_with("drop ") || words.starts_with("alter ");
                for statement in statements.split("; ").take_while(is_statement) {
                    case.test_env.cluster.psql("postgres", statement);
                }
            }
            let result = case.test_env.longshore(&["check"]);
            case.expect_all_or_nothing(&format!("killed at {moment} of 30"), &result);
        }
    }
}
