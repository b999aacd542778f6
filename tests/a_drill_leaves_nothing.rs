//! A drill that is ended at any moment by any signal leaves no server, no folder and no database.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use longshore_testkit::cluster::{Cluster, Installation};

use crate::drills_prove_that_backups_restore::place;
use crate::support::{Job, Workshop, wait_for};

/// Returns true if the command line of any process contains this path.
fn is_at_work(path: &Path) -> bool {
    let needle = path.to_str().unwrap();
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(needle)
    })
}

fn start(workshop: &Workshop, arguments: &[&str]) -> Child {
    let mut drill = workshop.command();
    drill.arg("drill").args(arguments).arg("--identity").arg(workshop.identity());
    drill.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn signal(drill: &Child, name: &str) {
    let told = Command::new("kill").args([format!("-{name}"), drill.id().to_string()]).status().unwrap();
    assert!(told.success());
}

/// Returns the drill's only folder, if it exists yet.
fn folder(place: &Path) -> Option<PathBuf> {
    fs::read_dir(place).unwrap().flatten().next().map(|entry| entry.path())
}

/// A function that returns the drill's folder once the drill has reached a moment.
type IsThere = dyn Fn(&Path) -> Option<PathBuf> + Sync;

/// A moment of a drill: its name, the check that the drill reached it, and a delay in milliseconds.
type Moment = (&'static str, &'static IsThere, u64);

fn server(place: &Path) -> Option<PathBuf> {
    folder(place).filter(|folder| folder.join("data/postmaster.pid").exists())
}

fn fetched(place: &Path) -> Option<PathBuf> {
    folder(place).filter(|folder| folder.join("files/artifact").exists())
}

const MOMENTS: [Moment; 5] = [
    ("the folder is made", &folder, 0),
    ("initdb is at work", &folder, 300),
    ("the server starts", &server, 0),
    ("a backup is fetched", &fetched, 0),
    ("it is restored or compared", &fetched, 700),
];

/// Ends a drill at each of these moments by the paired signal.
fn ended(endings: &[(&str, Moment)]) {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 48);
    workshop.longshore(&["run"]).expect(0);
    for (name, (moment, is_there, milliseconds)) in endings {
        let place = place();
        let mut drill = start(&workshop, &["--scratch-dir", place.path().to_str().unwrap()]);
        wait_for(moment, || is_there(place.path()));
        sleep(Duration::from_millis(*milliseconds));
        signal(&drill, name);
        drill.wait().unwrap();
        wait_for(&format!("nothing to be left after SIG{name} when {moment}"), || {
            (folder(place.path()).is_none() && !is_at_work(place.path())).then_some(())
        });
    }
    assert!(
        !crate::support::files(&workshop.local())
            .iter()
            .any(|name| name.contains(".damaged.") || name.contains(".unrestorable."))
    );
}

/// Tests each moment once, and each signal at least once.
#[test]
fn whatever_signal_ends_it_at_whatever_moment() {
    let [first, initdb, server, fetch, restore] = MOMENTS;
    ended(&[("INT", first), ("KILL", initdb), ("TERM", server), ("INT", fetch), ("KILL", restore)]);
}

/// Every signal at every moment.
mod slow {
    use super::{MOMENTS, ended};

    fn at_each_moment(name: &'static str) {
        ended(&MOMENTS.map(|moment| (name, moment)));
    }

    #[test]
    fn when_it_is_interrupted() {
        at_each_moment("INT");
    }

    #[test]
    fn when_it_is_terminated() {
        at_each_moment("TERM");
    }

    #[test]
    fn when_it_is_killed() {
        at_each_moment("KILL");
    }
}

#[test]
fn in_a_server_that_is_there() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 16);
    workshop.cluster.psql("bulk", "create role clerk; alter table bulk owner to clerk;");
    let server = Cluster::start(&Installation::system(), &[]);
    let more = format!("[job.nightly.drill]\nscratch = {{ type = 'server', connection = '{}' }}", server.connection());
    workshop.configure(&Job {
        dump: "[{ type = 'pg_dumpall' }, { type = 'pg_dump', databases = ['bulk'] }]",
        more: &more,
        ..Job::default()
    });
    workshop.longshore(&["run"]).expect(0);
    let databases = || server.psql("postgres", "select count(*) from pg_database where datname like 'longshore%'");

    workshop.opening(&["drill"]).expect(2).says("clerk").says("does not mean that the backup is damaged");
    assert_eq!(databases(), "0");
    server.psql("postgres", "create role clerk");
    workshop.opening(&["drill"]).expect(0).says("in temporary databases");
    assert_eq!(databases(), "0");
    let scratch = workshop.make_folder("scratch");
    let is_empty = || std::fs::read_dir(&scratch).unwrap().next().is_none();
    for name in ["INT", "TERM", "KILL"] {
        let mut drill = start(&workshop, &["--scratch-dir", scratch.to_str().unwrap()]);
        wait_for("a database to be made", || (databases() != "0").then_some(()));
        assert!(!is_empty());
        signal(&drill, name);
        drill.wait().unwrap();
        let nothing = || (databases() == "0" && is_empty()).then_some(());
        wait_for(&format!("no database and no folder to be left after SIG{name}"), nothing);
    }
}
