//! Each invocation of PostgreSQL's programs goes wrong in each way, once, and Longshore is killed at
//! each: no success is reported that is none, no backup is lost or called damaged, and the next run
//! ends well and leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use longshore_testkit::cluster::{Cluster, Installation};

use crate::drills_prove_that_backups_restore::place;
use crate::support::toolbox::{Broken, Toolbox};
use crate::support::{Ended, Job, Workshop, files, wait_for};

/// How long a verb may take whose program fails: many times what it takes.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a program may hang before a person ends the verb.
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
    /// What lies in the destination before each injection.
    before: BTreeMap<String, Vec<u8>>,
    scratch: tempfile::TempDir,
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    files(folder).into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

impl Bench {
    fn new() -> Self {
        let installation = Installation::system();
        let workshop = Workshop::with_cluster(Cluster::start(&installation, &[]));
        workshop.cluster.create_database("shop");
        workshop.cluster.psql(
            "shop",
            "create table orders as select n, md5(n::text) as note from generate_series(1, 500) n; \
             create index by_note on orders (note);",
        );
        let toolbox = Toolbox::new(&installation);
        let cluster = format!("bin_dir = '{}'", toolbox.path().display());
        let more =
            format!("[job.nightly.drill]\nscratch = {{ type = 'initdb', bin_dir = '{}' }}", toolbox.path().display());
        let dump = "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['shop'] }]";
        workshop.configure(&Job { dump, cluster: &cluster, more: &more, ..Job::default() });
        workshop.longshore(&["run"]).expect(0);
        workshop.opening(&["verify", "--all"]).expect(0);
        let before = contents(&workshop.local());
        Self { workshop, toolbox, before, scratch: place() }
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
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a verb to its end, or ends it as a person would where a program hangs.
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

    /// Puts all back as it was before.
    fn reset(&self) {
        let local = self.workshop.local();
        for name in files(&local).into_iter().filter(|name| !self.before.contains_key(name)) {
            fs::remove_file(local.join(name)).unwrap();
        }
        let named = "select format('drop database %I with (force)', datname) from pg_database \
                     where datname <> all ('{postgres,shop,template0,template1}') \\gexec";
        self.workshop.cluster.psql("postgres", named);
    }

    /// Injects one failure into a verb, and says what does not hold then.
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
            wrong.push(format!("it survived its death: {ended:?}"));
        }
        self.toolbox.arm(None);
        let after = contents(&self.workshop.local());
        wrong.extend(
            self.before
                .iter()
                .filter(|(name, bytes)| after.get(*name) != Some(*bytes))
                .map(|(name, _)| format!("{name} is lost or changed")),
        );
        if after.keys().any(|name| name.contains(".damaged.")) {
            wrong.push("a good backup is called damaged".to_owned());
        }
        match verb {
            Verb::Run => {
                let made = after.keys().filter(|name| is_manifest(name) && !self.before.contains_key(*name)).count();
                if success && made != 2 {
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
                if success && !after.keys().any(|name| name.contains("/shop-") && name.contains(".drilled.")) {
                    wrong.push("a success that is recorded nowhere".to_owned());
                }
                let is_empty = || fs::read_dir(self.scratch.path()).unwrap().next().is_none();
                wait_for("the place to restore to to be removed", || is_empty().then_some(()));
            }
        }
        // What is visible is whole.
        let read = self.workshop.opening(&["verify", "--all"]);
        if read.code != Some(0) {
            wrong.push(format!("what is visible is not whole: {read:?}"));
        }
        self.reset();
        let next = self.act(verb, None);
        if next.code != Some(0) {
            wrong.push(format!("the next fails: {next:?}"));
        }
        let drafts: Vec<_> = hidden(&self.workshop.local());
        if !drafts.is_empty() {
            wrong.push(format!("{drafts:?} are left for ever"));
        }
        if !wrong.is_empty() {
            wrong.push(format!("it ended so: {ended:?}"));
        }
        wrong
    }
}

fn is_manifest(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|file| file.strip_suffix(".json").is_some_and(|name| !name.contains('.')))
}

/// The hidden files below a folder, but for locks.
fn hidden(folder: &Path) -> Vec<PathBuf> {
    let all =
        files(folder).into_iter().filter(|name| name.rsplit('/').next().is_some_and(|file| file.starts_with('.')));
    all.map(PathBuf::from).collect()
}

/// Injects each failure into each invocation of a verb, or into one of `step` of them.
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
    let bench = Bench::new();
    sweep(&bench, Verb::Run, 37);
    sweep(&bench, Verb::Restore, 61);
}

mod slow {
    use super::{Bench, Verb, sweep};

    #[test]
    fn broken_programs_of_a_run_cost_nothing() {
        sweep(&Bench::new(), Verb::Run, 1);
    }

    #[test]
    fn broken_programs_of_a_restore_cost_nothing() {
        sweep(&Bench::new(), Verb::Restore, 1);
    }

    #[test]
    fn broken_programs_of_a_drill_cost_nothing() {
        sweep(&Bench::new(), Verb::Drill, 2);
    }
}
