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

use crate::drills_prove_that_backups_restore::place;
use crate::support::toolbox::{Broken, Toolbox};
use crate::support::{Ended, Job, Workshop, files, wait_for};

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

/// A workshop whose programs break, with one good backup.
struct Bench {
    workshop: Workshop,
    toolbox: Toolbox,
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

impl Bench {
    fn new(destinations: Destinations) -> Self {
        let installation = Installation::system();
        let workshop = Workshop::with_cluster(Cluster::start(&installation, &[]));
        workshop.cluster.create_database("shop");
        workshop.cluster.psql(
            "shop",
            "create table orders as select n, md5(n::text) as note from generate_series(1, 500) n; \
             create index by_note on orders (note);",
        );
        let toolbox = Toolbox::new(&installation);
        let hosts: Vec<Sshd> = match destinations {
            Destinations::Local => Vec::new(),
            Destinations::Hosts => {
                ["ssh", "rsync"].iter().for_each(|program| toolbox.wrap(&Path::new("/usr/bin").join(program)));
                vec![Sshd::start(), Sshd::start()]
            }
        };
        let settings = "orphan_grace = '1s'\nstall_timeout = '5s'";
        let elsewhere: Vec<_> = ["ssh", "rsync"]
            .into_iter()
            .zip(&hosts)
            .map(|(kind, host)| (kind, workshop.on_host(kind, host, settings)))
            .collect();
        let cluster = format!("bin_dir = '{}'", toolbox.path().display());
        let more =
            format!("[job.nightly.drill]\nscratch = {{ type = 'initdb', bin_dir = '{}' }}", toolbox.path().display());
        let dump = "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['shop'] }]";
        workshop.configure(&Job {
            dump,
            cluster: &cluster,
            more: &more,
            elsewhere: &elsewhere,
            terms: &[("local", "orphan_grace = '1s'")],
            ..Job::default()
        });
        workshop.longshore(&["run"]).expect(0);
        workshop.opening(&["verify", "--all"]).expect(0);
        let mut bench = Self { workshop, toolbox, hosts, before: BTreeMap::new(), scratch: place() };
        bench.before = bench.contents();
        bench
    }

    /// The folders of the destinations.
    fn roots(&self) -> Vec<PathBuf> {
        self.hosts.iter().map(Sshd::backups).chain([self.workshop.local()]).collect()
    }

    /// The files of the destinations, by their paths.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let paths = self.roots().into_iter().flat_map(|root| files(&root).into_iter().map(move |name| root.join(name)));
        paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    fn command(&self, verb: Verb) -> Command {
        let mut command = self.workshop.command();
        let identity = self.workshop.identity();
        match verb {
            Verb::Run => command.arg("run"),
            Verb::Restore => {
                let to = format!("{} dbname=again", self.workshop.cluster.connection());
                command.args(["restore", "shop", "--create", "--stall-timeout", "2s", "--to", &to]);
                command.arg("--identity").arg(identity)
            }
            Verb::Drill => {
                command.arg("drill").arg("--scratch-dir").arg(self.scratch.path()).arg("--identity").arg(identity)
            }
        };
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.toolbox.path().display()));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a verb to its end, or interrupts it as a person would if a program hangs.
    fn act(&self, verb: Verb, broken: Option<Broken>) -> Ended {
        let process = self.command(verb).spawn().unwrap();
        let pid = process.id().to_string();
        let begun = Instant::now();
        let waiting = std::thread::spawn(move || Ended::of(process.wait_with_output().unwrap()));
        let patience = if broken == Some(Broken::Hangs) { PATIENCE } else { LIMIT };
        while !waiting.is_finished() && begun.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !waiting.is_finished() {
            assert_eq!(broken, Some(Broken::Hangs), "{verb:?} hangs");
            assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
            wait_for("a verb to end that was asked to", || waiting.is_finished().then_some(()));
        }
        waiting.join().unwrap()
    }

    fn has_database(&self, name: &str) -> bool {
        let asked = format!("select count(*) from pg_database where datname = '{name}'");
        self.workshop.cluster.psql("postgres", &asked) != "0"
    }

    fn rows(&self, database: &str) -> String {
        self.workshop.cluster.psql(database, "select count(*), sum(hashtext(note)) from orders")
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
        self.workshop.cluster.psql("postgres", named);
    }

    /// Injects one failure into a verb, and returns the broken promises.
    fn inject(&self, verb: Verb, number: usize, broken: Broken) -> Vec<String> {
        self.reset();
        self.toolbox.arm(Some((number, broken)));
        let ended = self.act(verb, Some(broken));
        let mut wrong = Vec::new();
        let success = ended.code == Some(0);
        if ended.code == Some(70) || ended.stderr.contains("panicked") {
            wrong.push("a panic".to_owned());
        }
        if broken.kills_longshore() && self.toolbox.calls().len() > number && ended.code.is_some() {
            wrong.push(format!("it survived SIGKILL: {ended:?}"));
        }
        self.toolbox.arm(None);
        let after = self.contents();
        wrong.extend(
            self.before
                .iter()
                .filter(|(name, bytes)| after.get(*name) != Some(*bytes))
                .map(|(name, _)| format!("{} is lost or changed", name.display())),
        );
        let names: Vec<String> = after.keys().map(|path| path.display().to_string()).collect();
        if names.iter().any(|name| name.contains(".damaged.")) {
            wrong.push("a good backup is called damaged".to_owned());
        }
        match verb {
            Verb::Run => {
                let made = after.keys().filter(|path| is_manifest(path) && !self.before.contains_key(*path)).count();
                if success && made != 2 * self.roots().len() {
                    wrong.push(format!("a success with {made} backups"));
                }
            }
            Verb::Restore => {
                if success && self.rows("again") != self.rows("shop") {
                    wrong.push("a success without the rows".to_owned());
                }
                // A database that a killed Longshore left, or that was reported as damaged, stays.
                let may_stay = broken.kills_longshore() || ended.code == Some(4);
                if !success && !may_stay && self.has_database("again") && self.rows("again") != self.rows("shop") {
                    wrong.push(format!("an unfinished database is left: {ended:?}"));
                }
            }
            Verb::Drill => {
                if success && !names.iter().any(|name| name.contains("/shop-") && name.contains(".drilled.")) {
                    wrong.push("a success that is recorded nowhere".to_owned());
                }
                let is_empty = || fs::read_dir(self.scratch.path()).unwrap().next().is_none();
                wait_for("the place to restore to to be removed", || is_empty().then_some(()));
            }
        }
        // All visible backups are whole.
        let read = self.workshop.opening(&["verify", "--all"]);
        if read.code != Some(0) {
            wrong.push(format!("a visible backup is damaged: {read:?}"));
        }
        self.drop_databases();
        // Remains are removed once they are a second old.
        std::thread::sleep(Duration::from_millis(2100));
        let next = self.act(verb, None);
        if next.code != Some(0) {
            wrong.push(format!("the next fails: {next:?}"));
        }
        let drafts: Vec<_> = self.contents().into_keys().filter(|path| is_hidden(path)).collect();
        if verb == Verb::Run && !drafts.is_empty() {
            wrong.push(format!("{drafts:?} are left for ever"));
        }
        if !wrong.is_empty() {
            wrong.push(format!("it ended so: {ended:?}"));
        }
        wrong
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
fn sweep(bench: &Bench, verb: Verb, step: usize) {
    bench.reset();
    bench.toolbox.arm(None);
    bench.act(verb, None).expect(0);
    let calls = bench.toolbox.calls();
    let all = (0..calls.len()).flat_map(|number| Broken::ALL.map(|broken| (number, broken)));
    let mut wrong = BTreeMap::new();
    let mut injected = 0;
    for (number, broken) in all.step_by(step) {
        injected += 1;
        let found = bench.inject(verb, number, broken);
        if !found.is_empty() {
            wrong.insert(format!("{verb:?}: {broken:?} at invocation {number}, {}", calls[number]), found);
        }
    }
    println!("{verb:?}: {} invocations, {injected} injections, {} wrong", calls.len(), wrong.len());
    assert!(wrong.is_empty(), "{} of {injected} injections:\n{wrong:#?}", wrong.len());
}

#[test]
fn one_in_many_broken_programs_costs_nothing() {
    let bench = Bench::new(Destinations::Local);
    sweep(&bench, Verb::Run, 37);
    sweep(&bench, Verb::Restore, 61);
}

mod slow {
    use super::{Bench, Destinations, Verb, sweep};

    #[test]
    fn broken_programs_of_a_run_cost_nothing() {
        sweep(&Bench::new(Destinations::Local), Verb::Run, 1);
    }

    #[test]
    fn broken_programs_of_a_restore_cost_nothing() {
        sweep(&Bench::new(Destinations::Local), Verb::Restore, 1);
    }

    #[test]
    fn broken_programs_of_a_drill_cost_nothing() {
        sweep(&Bench::new(Destinations::Local), Verb::Drill, 2);
    }

    #[test]
    fn broken_programs_of_a_run_to_hosts_cost_nothing() {
        sweep(&Bench::new(Destinations::Hosts), Verb::Run, 5);
    }
}
