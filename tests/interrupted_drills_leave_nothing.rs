//! A drill that is ended at any moment by any signal leaves no server, no folder and no database.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use longshore_testkit::cluster::{Cluster, Installation};

use crate::drills_restore_and_compare::scratch_dir;
use crate::support::{Job, TestEnv, wait_for};

/// Returns true if the command line of any process contains this path.
pub(crate) fn is_in_use(path: &Path) -> bool {
    let needle = path.to_str().unwrap();
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(needle)
    })
}

pub(crate) fn start(test_env: &TestEnv, arguments: &[&str]) -> Child {
    let mut drill = test_env.command();
    drill.arg("drill").args(arguments).arg("--identity").arg(test_env.identity());
    drill.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

pub(crate) fn signal(drill: &Child, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), drill.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Returns the drill's only folder, if it exists yet.
pub(crate) fn folder(scratch_dir: &Path) -> Option<PathBuf> {
    fs::read_dir(scratch_dir).unwrap().flatten().next().map(|entry| entry.path())
}

/// A function that returns the drill's folder once the drill has reached a moment.
type Reached = dyn Fn(&Path) -> Option<PathBuf> + Sync;

/// A moment of a drill: its name, the check that the drill reached it, and a delay in milliseconds.
type Moment = (&'static str, &'static Reached, u64);

fn server(scratch_dir: &Path) -> Option<PathBuf> {
    folder(scratch_dir).filter(|folder| folder.join("data/postmaster.pid").exists())
}

fn fetched(scratch_dir: &Path) -> Option<PathBuf> {
    folder(scratch_dir).filter(|folder| folder.join("files/artifact").exists())
}

const MOMENTS: [Moment; 5] = [
    ("the folder is made", &folder, 0),
    ("initdb is at work", &folder, 300),
    ("the server starts", &server, 0),
    ("a backup is fetched", &fetched, 0),
    ("it is restored or compared", &fetched, 700),
];

/// Ends a drill at each of these moments by the paired signal.
fn interrupt_at(endings: &[(&str, Moment)]) {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 48);
    test_env.longshore(&["run"]).expect(0);
    for (name, (moment, reached, milliseconds)) in endings {
        let scratch_dir = scratch_dir();
        let mut drill = start(&test_env, &["--scratch-dir", scratch_dir.path().to_str().unwrap()]);
        wait_for(moment, || reached(scratch_dir.path()));
        sleep(Duration::from_millis(*milliseconds));
        signal(&drill, name);
        drill.wait().unwrap();
        wait_for(&format!("nothing to be left after SIG{name} when {moment}"), || {
            (folder(scratch_dir.path()).is_none() && !is_in_use(scratch_dir.path())).then_some(())
        });
    }
    assert!(
        !crate::support::files(&test_env.local())
            .iter()
            .any(|name| name.contains(".damaged.") || name.contains(".unrestorable."))
    );
}

/// Tests each moment once, and each signal at least once.
#[test]
fn each_signal_at_some_moment_leaves_nothing() {
    let [first, initdb, server, fetch, restore] = MOMENTS;
    interrupt_at(&[("INT", first), ("KILL", initdb), ("TERM", server), ("INT", fetch), ("KILL", restore)]);
}

/// Every signal at every moment.
mod slow {
    use super::{MOMENTS, interrupt_at};

    fn at_each_moment(name: &'static str) {
        interrupt_at(&MOMENTS.map(|moment| (name, moment)));
    }

    #[test]
    fn sigint_at_each_moment_leaves_nothing() {
        at_each_moment("INT");
    }

    #[test]
    fn sigterm_at_each_moment_leaves_nothing() {
        at_each_moment("TERM");
    }

    #[test]
    fn sigkill_at_each_moment_leaves_nothing() {
        at_each_moment("KILL");
    }
}

#[test]
fn drill_in_existing_server_leaves_nothing() {
    let test_env = TestEnv::new();
    test_env.make_bulk("bulk", 16);
    test_env.cluster.psql("bulk", "create role clerk; alter table bulk owner to clerk;");
    let server = Cluster::start(&Installation::system(), &[]);
    let more = format!("[job.nightly.drill]\nscratch = {{ type = 'server', connection = '{}' }}", server.connection());
    test_env.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['bulk'] }]",
        more: &more,
        ..Job::default()
    });
    test_env.longshore(&["run"]).expect(0);
    let databases = || server.psql("postgres", "select count(*) from pg_database where datname like 'longshore%'");

    test_env.run_with_identity(&["drill"]).expect(2).shows("clerk").shows("does not mean that the backup is damaged");
    assert_eq!(databases(), "0");
    server.psql("postgres", "create role clerk");
    test_env.run_with_identity(&["drill"]).expect(0).shows("in temporary databases");
    assert_eq!(databases(), "0");
    let scratch = test_env.make_folder("scratch");
    let is_empty = || std::fs::read_dir(&scratch).unwrap().next().is_none();
    for name in ["INT", "TERM", "KILL"] {
        let mut drill = start(&test_env, &["--scratch-dir", scratch.to_str().unwrap()]);
        wait_for("a database to be made", || (databases() != "0").then_some(()));
        assert!(!is_empty());
        signal(&drill, name);
        drill.wait().unwrap();
        let nothing = || (databases() == "0" && is_empty()).then_some(());
        wait_for(&format!("no database and no folder to be left after SIG{name}"), nothing);
    }
}
