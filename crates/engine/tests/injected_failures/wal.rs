//! Archived WAL under failures: real segments of two histories, pushed and fetched while calls of
//! the destinations fail, hang and kill the process.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use longshore_engine::wal::fetch::{Fetched, fetch};
use longshore_engine::wal::push::push;
use longshore_testkit::cluster::{Cluster, Installation, NewFolder};
use longshore_testkit::injection::Fault;

use crate::env::{Contents, DESTINATIONS, TestEnv, identities};
use crate::on_own_clock;

/// The archive of the environment.
const ARCHIVE: &str = "[cluster.main.wal]\nship = ['first', 'second']\nencrypt = { type = 'xor' }\n";

/// The number of finished segments of each history.
const SEGMENTS: usize = 8;

/// The names and contents of finished segments.
type Segments = BTreeMap<String, Vec<u8>>;

/// The WAL of a cluster, and that of a copy which continued by itself with the same names.
struct Source {
    control: Vec<u8>,
    segments: Segments,
    others: Segments,
}

static SOURCE: LazyLock<Source> = LazyLock::new(|| {
    let installation = Installation::newer();
    let cluster = Cluster::start(&installation, &["wal_level=replica", "wal_keep_size=1GB"]);
    let folder = NewFolder::new();
    let copied = Command::new("cp").arg("-a").arg(cluster.data_dir()).arg(folder.data_dir()).status().unwrap();
    assert!(copied.success());
    let pid = folder.data_dir().join("postmaster.pid");
    fs::remove_file(pid).unwrap();
    let control = fs::read(cluster.data_dir().join("global/pg_control")).unwrap();
    let segments = finish_segments(&cluster);
    drop(cluster);
    let copy = Cluster::start_on(folder, &installation, &["wal_keep_size=1GB"]);
    let others = finish_segments(&copy);
    Source { control, segments, others }
});

/// Finishes segments, and returns them.
fn finish_segments(cluster: &Cluster) -> Segments {
    let finish = || {
        let name = cluster.psql("postgres", "select pg_walfile_name(pg_create_restore_point('segment'))");
        cluster.psql("postgres", "select pg_switch_wal()");
        name
    };
    finish();
    let names: Vec<String> = (0..SEGMENTS).map(|_| finish()).collect();
    let wal = cluster.data_dir().join("pg_wal");
    names.into_iter().map(|name| (name.clone(), fs::read(wal.join(name)).unwrap())).collect()
}

/// An environment with a data directory whose `pg_wal` has files to archive.
struct WalEnv {
    env: TestEnv,
    wal: PathBuf,
}

/// The result of a request that was not killed.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Content(Vec<u8>),
    Absent,
    Failed(String),
}

impl WalEnv {
    fn new() -> Self {
        let env = TestEnv::with(&Contents::new(), ARCHIVE);
        let data = env.folder().join("data");
        let wal = data.join("pg_wal");
        fs::create_dir_all(data.join("global")).unwrap();
        fs::create_dir(&wal).unwrap();
        fs::write(data.join("global/pg_control"), &SOURCE.control).unwrap();
        Self { env, wal }
    }

    fn archive(&self) -> &longshore_config::WalArchive {
        self.env.config.wal_archive(None).unwrap()
    }

    /// Pushes a segment while one call fails. Returns true if the server would recycle it.
    fn push(&self, name: &str, content: &[u8], fault: Option<(usize, Fault)>) -> bool {
        let path = self.wal.join(name);
        fs::write(&path, content).unwrap();
        let injector = self.env.shared.injector.clone();
        injector.arm(fault);
        let pushed = on_own_clock(async {
            tokio::select! {
                pushed = push(&self.env.config, self.archive(), &path) => Some(pushed),
                () = injector.killed() => None,
            }
        });
        fs::remove_file(&path).unwrap();
        pushed.and_then(Result::ok).is_some_and(|pushed| pushed.is_archived)
    }

    /// Fetches a segment while one call fails. Returns `None` if the process was killed.
    fn fetch(&self, name: &str, fault: Option<(usize, Fault)>) -> Option<Answer> {
        let target = self.wal.join("RECOVERYXLOG");
        let injector = self.env.shared.injector.clone();
        injector.arm(fault);
        let identities = identities();
        let fetched = on_own_clock(async {
            let wanted = (name.parse().unwrap(), target.as_path());
            tokio::select! {
                fetched = fetch(&self.env.config, &self.env.registry, self.archive(), &identities, wanted) => Some(fetched),
                () = injector.killed() => None,
            }
        })?;
        Some(match fetched {
            Ok(Fetched::Delivered) => {
                let content = fs::read(&target).unwrap();
                fs::remove_file(&target).unwrap();
                Answer::Content(content)
            }
            Ok(Fetched::Absent) => Answer::Absent,
            Err(error) => {
                assert!(!target.exists(), "a file was delivered in spite of {error}");
                Answer::Failed(error.chain())
            }
        })
    }

    /// Returns the number of calls of a push or a fetch.
    fn calls(&self) -> usize {
        self.env.shared.injector.calls().len()
    }

    /// Removes one archived file of a segment at one destination. Returns true if there was one.
    fn lose(&self, destination: &str, name: &str) -> bool {
        let store = self.env.shared.stores[destination].inner();
        let found = store.keys().into_iter().find(|key| key.file_name().starts_with(name));
        found.inspect(|key| store.lose(key)).is_some()
    }
}

fn first() -> (&'static String, &'static Vec<u8>) {
    SOURCE.segments.first_key_value().unwrap()
}

/// Returns every `step`-th fault of each call.
fn faults(calls: usize, step: usize) -> impl Iterator<Item = (usize, Fault)> {
    (0..calls).flat_map(|call| Fault::ALL.map(|fault| (call, fault))).step_by(step)
}

fn pushes_survive_failures(step: usize) {
    let (name, content) = first();
    let reference = WalEnv::new();
    assert!(reference.push(name, content, None));
    let calls = reference.calls();
    assert!(calls >= 4, "a list and an upload at each destination");
    for (call, fault) in faults(calls, step) {
        let env = WalEnv::new();
        let is_archived = env.push(name, content, Some((call, fault)));
        if is_archived {
            // All destinations are required.
            for lost in DESTINATIONS {
                assert!(env.lose(lost, name), "{fault:?} at call {call}: \"{lost}\" has nothing");
            }
            continue;
        }
        assert!(env.push(name, content, None), "the push after {fault:?} at call {call} fails");
        assert_eq!(env.fetch(name, None), Some(Answer::Content(content.clone())), "{fault:?} at call {call}");
    }
}

fn fetches_survive_failures(step: usize) {
    let (name, content) = first();
    let env = WalEnv::new();
    assert!(env.push(name, content, None));
    // One destination has lost the file: the other answers for both.
    for lost in [None, Some("first")] {
        if let Some(lost) = lost {
            assert!(env.lose(lost, name));
        }
        assert_eq!(env.fetch(name, None), Some(Answer::Content(content.clone())));
        let calls = env.calls();
        for (call, fault) in faults(calls, step) {
            match env.fetch(name, Some((call, fault))) {
                Some(Answer::Absent) => panic!("{fault:?} at call {call} looks like the end of the WAL"),
                Some(Answer::Content(found)) => assert_eq!(&found, content, "{fault:?} at call {call}"),
                Some(Answer::Failed(_)) | None => {}
            }
        }
    }
}

fn absence_survives_no_failure(step: usize) {
    let names: Vec<&String> = SOURCE.segments.keys().collect();
    let env = WalEnv::new();
    assert!(env.push(names[0], &SOURCE.segments[names[0]], None));
    assert_eq!(env.fetch(names[1], None), Some(Answer::Absent));
    let calls = env.calls();
    for (call, fault) in faults(calls, step) {
        let answer = env.fetch(names[1], Some((call, fault)));
        assert!(!matches!(answer, Some(Answer::Content(_))), "{fault:?} at call {call}: {answer:?}");
    }
}

/// A generator of numbers (xorshift), so that a seed repeats a test.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn fault(&mut self) -> Option<(usize, Fault)> {
        let fault = Fault::ALL[self.below(Fault::ALL.len())];
        (self.below(5) < 2).then(|| (self.below(6), fault))
    }
}

/// The archive according to the answers of pushes.
#[derive(Default)]
struct Model {
    /// The segments of the cluster that the server has recycled.
    archived: Segments,
    /// The segments of the other history that its server has recycled.
    others: Segments,
}

/// Pushes and fetches at random, while calls fail and destinations lose files. No segment whose
/// push succeeded is ever lost, taken for absent, or exchanged. Failures name the seed.
fn operate(seed: u64, operations: usize) {
    let mut numbers = Numbers(seed);
    let env = WalEnv::new();
    let mut model = Model::default();
    let names: Vec<&String> = SOURCE.segments.keys().collect();
    // An empty archive answers no request.
    assert!(env.push(names[0], &SOURCE.segments[names[0]], None));
    model.archived.insert(names[0].clone(), SOURCE.segments[names[0]].clone());
    let mut next = 1;
    for operation in 0..operations {
        let context = || format!("seed {seed}, operation {operation}");
        let any = names[numbers.below(names.len())];
        match numbers.below(8) {
            0..=2 => {
                let name = names[next % names.len()];
                if env.push(name, &SOURCE.segments[name], numbers.fault()) {
                    model.archived.insert(name.clone(), SOURCE.segments[name].clone());
                    next += 1;
                }
            }
            3 if SOURCE.others.contains_key(any) => {
                if env.push(any, &SOURCE.others[any], numbers.fault()) {
                    model.others.insert(any.clone(), SOURCE.others[any].clone());
                }
            }
            4 => {
                // Only one destination loses the file, and the other still has it.
                let [kept, lost] =
                    if numbers.below(2) == 0 { DESTINATIONS } else { [DESTINATIONS[1], DESTINATIONS[0]] };
                if env.lose(lost, any) && !has_all(&env, kept, any, &model) {
                    panic!("{}: \"{kept}\" does not have {any}, which was archived", context());
                }
                restore_copies(&env, lost, kept);
            }
            _ => {
                let fault = numbers.fault();
                let answer = env.fetch(any, fault);
                let archived = model.archived.get(any);
                match &answer {
                    Some(Answer::Absent) => {
                        let is_known = archived.is_some() || model.others.contains_key(any);
                        assert!(!is_known, "{}: {any} was archived, and is absent", context());
                    }
                    Some(Answer::Content(found)) => {
                        let is_one = [&SOURCE.segments, &SOURCE.others].iter().any(|all| all.get(any) == Some(found));
                        assert!(is_one, "{}: {any} has foreign content", context());
                        if let (Some(archived), None) = (archived, model.others.get(any)) {
                            assert_eq!(found, archived, "{}: {any} was exchanged", context());
                        }
                    }
                    Some(Answer::Failed(error)) => {
                        let is_ambiguous = error.contains("two files of this name");
                        assert!(fault.is_some() || is_ambiguous, "{}: {any}: {error}", context());
                    }
                    None => {}
                }
            }
        }
    }
    for destination in DESTINATIONS {
        for name in &names {
            assert!(has_all(&env, destination, name, &model), "seed {seed}: \"{destination}\" lacks {name}");
        }
    }
    assert!(model.archived.len() == names.len() || operations < 100, "seed {seed}: {} archived", model.archived.len());
}

/// Returns true if a destination has as many files of a segment as were archived with different
/// content.
fn has_all(env: &WalEnv, destination: &str, name: &str, model: &Model) -> bool {
    let store = env.env.shared.stores[destination].inner();
    let found = store.keys().into_iter().filter(|key| key.file_name().starts_with(name)).count();
    found >= [&model.archived, &model.others].iter().filter(|all| all.contains_key(name)).count()
}

/// Copies what one destination lacks from the other, as `longshore sync` does.
fn restore_copies(env: &WalEnv, to: &str, from: &str) {
    let [to, from] = [to, from].map(|name| env.env.shared.stores[name].inner());
    for key in from.keys() {
        if to.get(&key).is_none() {
            to.put(&key, from.get(&key).unwrap());
        }
    }
}

#[test]
fn archived_segments_survive_sampled_failures() {
    pushes_survive_failures(7);
    fetches_survive_failures(7);
    absence_survives_no_failure(7);
}

#[test]
fn random_operations_lose_no_segment() {
    operate(0x9E37_79B9_7F4A_7C15, 100);
}

mod slow {
    use super::*;

    #[test]
    fn archived_segments_survive_every_failure() {
        pushes_survive_failures(1);
        fetches_survive_failures(1);
        absence_survives_no_failure(1);
    }

    #[test]
    fn ten_thousand_random_operations_lose_no_segment() {
        for seed in 1..=10 {
            operate(seed * 0x9E37_79B9, 1000);
        }
    }
}
