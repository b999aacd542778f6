//! Random operations on an archive, and a model of it.

use longshore_testkit::injection::Fault;

use super::base::{Base, is_needed, number};
use super::source::{Files, SOURCE};
use super::wal_env::{Answer, WalEnv};
use crate::env::DESTINATIONS;

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

/// The archive according to the answers of pushes, and the base backups.
#[derive(Default)]
struct Model {
    /// The files of the cluster that its server has recycled, and that are still needed.
    archived: Files,
    /// The segments of the other history that its server has recycled.
    others: Files,
    bases: Vec<Base>,
    /// The number of successful pushes.
    pushes: usize,
}

/// Pushes, fetches and prunes at random, while calls fail, destinations lose files, the cluster
/// changes its timeline, and a copy of it archives other WAL. No file whose push succeeded is ever
/// lost while it is needed, taken for absent, or exchanged. Failures name the seed.
pub(super) fn operate(seed: u64, operations: usize) {
    let mut numbers = Numbers(seed);
    let env = WalEnv::new();
    let mut model = Model::default();
    let names: Vec<&String> = SOURCE.files.keys().collect();
    // An empty archive answers no request.
    assert!(env.push(names[0], &SOURCE.files[names[0]], None));
    model.archived.insert(names[0].clone(), SOURCE.files[names[0]].clone());
    let mut next = 1;
    for operation in 0..operations {
        let context = format!("seed {seed}, operation {operation}");
        let any = names[numbers.below(names.len())];
        match numbers.below(16) {
            0..=5 => {
                let name = names[next % names.len()];
                if env.push(name, &SOURCE.files[name], numbers.fault()) {
                    model.archived.insert(name.clone(), SOURCE.files[name].clone());
                    model.pushes += 1;
                    next += 1;
                }
            }
            // The copy is found out at once where its names are archived.
            6 if SOURCE.others.contains_key(any) && numbers.below(20) == 0 => {
                if env.push(any, &SOURCE.others[any], numbers.fault()) {
                    model.others.insert(any.clone(), SOURCE.others[any].clone());
                }
            }
            7 => {
                // Only one destination loses the file, and the other still has it.
                let [kept, lost] =
                    if numbers.below(2) == 0 { DESTINATIONS } else { [DESTINATIONS[1], DESTINATIONS[0]] };
                if env.lose(lost, any) && !model.is_whole(&env, kept, any) {
                    panic!("{context}: \"{kept}\" does not have {any}, which was archived");
                }
                restore_copies(&env, lost, kept);
            }
            8 => model.add_base(&env, numbers.below(3)),
            9 | 10 => {
                env.prune(numbers.fault());
                model.forget_removed(&env, &context);
            }
            _ => {
                let fault = numbers.fault();
                let answer = env.fetch(any, fault);
                model.check(any, &answer, fault.is_some(), &context);
            }
        }
    }
    for destination in DESTINATIONS {
        for name in &names {
            assert!(model.is_whole(&env, destination, name), "seed {seed}: \"{destination}\" lacks {name}");
        }
    }
    assert!(model.pushes > operations / 10, "seed {seed}: only {} pushes succeeded", model.pushes);
}

impl Model {
    /// Returns true if a destination has as many files of this name as were archived with different
    /// content.
    fn is_whole(&self, env: &WalEnv, destination: &str, name: &str) -> bool {
        let archived = [&self.archived, &self.others].iter().filter(|all| all.contains_key(name)).count();
        env.count(destination, name) >= archived
    }

    /// Adds a base backup of an archived segment, younger than the others.
    fn add_base(&mut self, env: &WalEnv, days: usize) {
        let age_days = self.bases.last().map_or(12, |last| last.age_days - 1 - days as i64);
        let after = self.bases.last().map_or(0, |last| last.segment);
        let first_timeline = self.archived.keys().filter(|name| name.starts_with("00000001"));
        let segment = first_timeline.filter_map(|name| number(name)).find(|segment| *segment > after);
        if let Some(segment) = segment.filter(|_| age_days >= 0) {
            self.bases.push(env.put_base(segment, age_days));
        }
    }

    /// Checks that a prune has removed nothing that is needed, and forgets what it may remove.
    fn forget_removed(&mut self, env: &WalEnv, context: &str) {
        let kept: Vec<&Base> = DESTINATIONS.iter().flat_map(|name| env.bases_at(name, &self.bases)).collect();
        for destination in DESTINATIONS {
            assert!(self.bases.is_empty() || !env.bases_at(destination, &self.bases).is_empty(), "{context}");
            for name in self.archived.keys().chain(self.others.keys()) {
                let needed = number(name).is_none_or(|segment| is_needed(&kept, segment));
                let found = env.count(destination, name);
                assert!(found > 0 || !needed, "{context}: {name} was removed at \"{destination}\", and is needed");
            }
        }
        let is_anywhere = |name: &str| DESTINATIONS.iter().all(|destination| env.count(destination, name) > 0);
        self.archived.retain(|name, _| is_anywhere(name));
        self.others.retain(|name, _| is_anywhere(name));
    }

    /// Checks the answer to a request of recovery.
    fn check(&self, name: &str, answer: &Option<Answer>, is_disturbed: bool, context: &str) {
        let archived = self.archived.get(name);
        match answer {
            Some(Answer::Absent) => {
                let is_known = archived.is_some() || self.others.contains_key(name);
                assert!(!is_known, "{context}: {name} was archived, and is absent");
            }
            Some(Answer::Content(found)) => {
                let is_one = [&SOURCE.files, &SOURCE.others].iter().any(|all| all.get(name) == Some(found));
                assert!(is_one, "{context}: {name} has foreign content");
                if let (Some(archived), None) = (archived, self.others.get(name)) {
                    assert_eq!(found, archived, "{context}: {name} was exchanged");
                }
            }
            Some(Answer::Failed(error)) => {
                let is_ambiguous = error.contains("two files of this name");
                assert!(is_disturbed || is_ambiguous, "{context}: {name}: {error}");
            }
            None => {}
        }
    }
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
