//! Each invocation of PostgreSQL's programs, of ssh and of rsync fails in each way, once, and
//! Longshore is killed at each: no failure is reported as a success, no backup is lost or reported
//! as damaged, and the next run succeeds and leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use longshore_testkit::cluster::{Cluster, Installation};
use longshore_testkit::sshd::Sshd;

use crate::drills_restore_and_compare::scratch_dir;
use crate::support::faulty_programs::{FaultyPrograms, ProgramFault};
use crate::support::{CommandOutput, Job, TestEnv, files, wait_for};

/// The time limit of a verb whose program fails: many times its usual duration.
const LIMIT: Duration = Duration::from_secs(60);

/// The time that a program hangs before a person interrupts the verb.
const PATIENCE: Duration = Duration::from_secs(3);

/// A verb that runs programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Run,
    Restore,
    Drill,
}

/// An environment whose programs break, with one good backup.
struct Harness {
    test_env: TestEnv,
    faulty_programs: FaultyPrograms,
    /// The servers of the destinations on other hosts.
    hosts: Vec<Sshd>,
    /// The files of the destinations before each injection.
    before: BTreeMap<PathBuf, Vec<u8>>,
    scratch: tempfile::TempDir,
}

/// The destinations of the job, besides a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destinations {
    Local,
    /// One by the shell of an SSH server, one by rsync.
    Hosts,
}

impl Harness {
    fn new(destinations: Destinations) -> Self {
        let installation = Installation::system();
        let test_env = TestEnv::with_cluster(Cluster::start(&installation, &[]));
        test_env.cluster.create_database("shop");
        test_env.cluster.psql(
            "shop",
            "create table orders as select n, md5(n::text) as note from generate_series(1, 500) n; \
             create index by_note on orders (note);",
        );
        let faulty_programs = FaultyPrograms::new(&installation);
        let hosts: Vec<Sshd> = match destinations {
            Destinations::Local => Vec::new(),
            Destinations::Hosts => {
                ["ssh", "rsync"].iter().for_each(|program| faulty_programs.wrap(&Path::new("/usr/bin").join(program)));
                vec![Sshd::start(), Sshd::start()]
            }
        };
        let settings = "orphan_grace = '1s'\nstall_timeout = '5s'";
        let remote: Vec<_> = ["ssh", "rsync"]
            .into_iter()
            .zip(&hosts)
            .map(|(kind, host)| (kind, test_env.on_host(kind, host, settings)))
            .collect();
        let cluster = format!("bin_dir = '{}'", faulty_programs.path().display());
        let more = format!(
            "[job.nightly.drill]\nscratch = {{ type = 'initdb', bin_dir = '{}' }}",
            faulty_programs.path().display()
        );
        let dump = "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['shop'] }]";
        test_env.configure(&Job {
            dump,
            cluster: &cluster,
            more: &more,
            remote: &remote,
            settings: &[("local", "orphan_grace = '1s'")],
            ..Job::default()
        });
        test_env.longshore(&["run"]).expect(0);
        test_env.run_with_identity(&["verify", "--all"]).expect(0);
        let mut harness = Self { test_env, faulty_programs, hosts, before: BTreeMap::new(), scratch: scratch_dir() };
        harness.before = harness.contents();
        harness
    }

    /// The folders of the destinations.
    fn roots(&self) -> Vec<PathBuf> {
        self.hosts.iter().map(Sshd::backups).chain([self.test_env.local()]).collect()
    }

    /// The files of the destinations, by their paths.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let paths = self.roots().into_iter().flat_map(|root| files(&root).into_iter().map(move |name| root.join(name)));
        paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    fn command(&self, verb: Verb) -> Command {
        let mut command = self.test_env.command();
        let identity = self.test_env.identity();
        match verb {
            Verb::Run => command.arg("run"),
            Verb::Restore => {
                let to = format!("{} dbname=again", self.test_env.cluster.connection());
                command.args(["restore", "shop", "--create", "--stall-timeout", "2s", "--to", &to]);
                command.arg("--identity").arg(identity)
            }
            Verb::Drill => {
                command.arg("drill").arg("--scratch-dir").arg(self.scratch.path()).arg("--identity").arg(identity)
            }
        };
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.faulty_programs.path().display()));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a verb to its end, or interrupts it as a person would if a program hangs.
    fn run_verb(&self, verb: Verb, fault: Option<ProgramFault>) -> CommandOutput {
        let process = self.command(verb).spawn().unwrap();
        let pid = process.id().to_string();
        let begun = Instant::now();
        let waiting = std::thread::spawn(move || CommandOutput::of(process.wait_with_output().unwrap()));
        let patience = if fault == Some(ProgramFault::Hangs) { PATIENCE } else { LIMIT };
        while !waiting.is_finished() && begun.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !waiting.is_finished() {
            assert_eq!(fault, Some(ProgramFault::Hangs), "{verb:?} hangs");
            assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
            wait_for("a verb to end that was query to", || waiting.is_finished().then_some(()));
        }
        waiting.join().unwrap()
    }

    fn has_database(&self, name: &str) -> bool {
        let query = format!("select count(*) from pg_database where datname = '{name}'");
        self.test_env.cluster.psql("postgres", &query) != "0"
    }

    fn rows(&self, database: &str) -> String {
        self.test_env.cluster.psql(database, "select count(*), sum(hashtext(note)) from orders")
    }

    /// Restores the state before the injections.
    fn reset(&self) {
        for path in self.contents().into_keys().filter(|path| !self.before.contains_key(path)) {
            fs::remove_file(path).unwrap();
        }
        self.drop_databases();
    }

    fn drop_databases(&self) {
        let named = "select format('drop database %I with (force)', datname) from pg_database \
                     where datname <> all ('{postgres,shop,template0,template1}') \\gexec";
        self.test_env.cluster.psql("postgres", named);
    }

    /// Injects one failure into a verb, and returns the broken promises.
    fn inject(&self, verb: Verb, number: usize, fault: ProgramFault) -> Vec<String> {
        self.reset();
        self.faulty_programs.arm(Some((number, fault)));
        let result = self.run_verb(verb, Some(fault));
        let mut violations = Vec::new();
        let success = result.code == Some(0);
        if result.code == Some(70) || result.stderr.contains("panicked") {
            violations.push("a panic".to_owned());
        }
        if fault.kills_longshore() && self.faulty_programs.calls().len() > number && result.code.is_some() {
            violations.push(format!("it survived SIGKILL: {result:?}"));
        }
        self.faulty_programs.arm(None);
        let after = self.contents();
        violations.extend(
            self.before
                .iter()
                .filter(|(name, bytes)| after.get(*name) != Some(*bytes))
                .map(|(name, _)| format!("{} is lost or changed", name.display())),
        );
        let names: Vec<String> = after.keys().map(|path| path.display().to_string()).collect();
        if names.iter().any(|name| name.contains(".damaged.")) {
            violations.push("a good backup is called damaged".to_owned());
        }
        match verb {
            Verb::Run => {
                let made = after.keys().filter(|path| is_manifest(path) && !self.before.contains_key(*path)).count();
                if success && made != 2 * self.roots().len() {
                    violations.push(format!("a success with {made} backups"));
                }
            }
            Verb::Restore => {
                if success && self.rows("again") != self.rows("shop") {
                    violations.push("a success without the rows".to_owned());
                }
                // A database that a killed Longshore left, or that was reported as damaged, stays.
                let may_stay = fault.kills_longshore() || result.code == Some(4);
                if !success && !may_stay && self.has_database("again") && self.rows("again") != self.rows("shop") {
                    violations.push(format!("an unfinished database is left: {result:?}"));
                }
            }
            Verb::Drill => {
                if success && !names.iter().any(|name| name.contains("/shop-") && name.contains(".drilled.")) {
                    violations.push("a success that is recorded nowhere".to_owned());
                }
                let is_empty = || fs::read_dir(self.scratch.path()).unwrap().next().is_none();
                wait_for("the place to restore to to be removed", || is_empty().then_some(()));
            }
        }
        // All visible backups are whole.
        let read = self.test_env.run_with_identity(&["verify", "--all"]);
        if read.code != Some(0) {
            violations.push(format!("a visible backup is damaged: {read:?}"));
        }
        self.drop_databases();
        // Remains are removed once they are a second old.
        std::thread::sleep(Duration::from_millis(2100));
        let next = self.run_verb(verb, None);
        if next.code != Some(0) {
            violations.push(format!("the next fails: {next:?}"));
        }
        let drafts: Vec<_> = self.contents().into_keys().filter(|path| is_hidden(path)).collect();
        if verb == Verb::Run && !drafts.is_empty() {
            violations.push(format!("{drafts:?} are left for ever"));
        }
        if !violations.is_empty() {
            violations.push(format!("it ended so: {result:?}"));
        }
        violations
    }
}

fn file_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn is_manifest(path: &Path) -> bool {
    let is_run_report = path.components().any(|part| part.as_os_str() == "runs");
    !is_run_report && file_name(path).strip_suffix(".json").is_some_and(|name| !name.contains('.'))
}

/// Returns true for files out of sight, except locks.
fn is_hidden(path: &Path) -> bool {
    file_name(path).starts_with('.') && !file_name(path).ends_with(".lock")
}

/// Injects each failure into each invocation of a verb, or into one of `step` of them.
#[allow(clippy::print_stdout, reason = "the number of injections")]
fn sweep(harness: &Harness, verb: Verb, step: usize) {
    harness.reset();
    harness.faulty_programs.arm(None);
    harness.run_verb(verb, None).expect(0);
    let calls = harness.faulty_programs.calls();
    let all = (0..calls.len()).flat_map(|number| ProgramFault::ALL.map(|fault| (number, fault)));
    let mut violations = BTreeMap::new();
    let mut injected = 0;
    for (number, fault) in all.step_by(step) {
        injected += 1;
        let found = harness.inject(verb, number, fault);
        if !found.is_empty() {
            violations.insert(format!("{verb:?}: {fault:?} at invocation {number}, {}", calls[number]), found);
        }
    }
    println!("{verb:?}: {} invocations, {injected} injections, {} wrong", calls.len(), violations.len());
    assert!(violations.is_empty(), "{} of {injected} injections:\n{violations:#?}", violations.len());
}

#[test]
fn sampled_program_failures_lose_nothing() {
    let harness = Harness::new(Destinations::Local);
    sweep(&harness, Verb::Run, 73);
    sweep(&harness, Verb::Restore, 121);
}

mod slow {
    use super::{Destinations, Harness, Verb, sweep};

    #[test]
    fn program_failures_of_a_run_lose_nothing() {
        sweep(&Harness::new(Destinations::Local), Verb::Run, 1);
    }

    #[test]
    fn program_failures_of_a_restore_lose_nothing() {
        sweep(&Harness::new(Destinations::Local), Verb::Restore, 1);
    }

    #[test]
    fn program_failures_of_a_drill_lose_nothing() {
        sweep(&Harness::new(Destinations::Local), Verb::Drill, 2);
    }

    #[test]
    fn program_failures_of_a_run_to_hosts_lose_nothing() {
        sweep(&Harness::new(Destinations::Hosts), Verb::Run, 5);
    }
}
