//! Archived WAL under failures: real segments of two histories, pushed, received, fetched and
//! pruned while calls of the destinations fail, hang and kill the process.
//!
//! | file | contents |
//! | --- | --- |
//! | `source.rs` | the WAL of a cluster, and that of a copy with the same names |
//! | `wal_env.rs` | an environment with an archive |
//! | `base.rs` | base backups that need archived WAL |
//! | `server.rs` | a server that streams the WAL |
//! | `receive.rs` | receiving under failures |
//! | `random.rs` | random operations, and a model |

mod base;
mod random;
mod receive;
mod server;
mod source;
mod wal_env;

use std::thread;

use self::base::{is_needed, number};
use self::random::operate;
use self::receive::receiving_survives_failures;
use self::source::SOURCE;
use self::wal_env::{Answer, WalEnv, faults};
use crate::env::DESTINATIONS;

fn first() -> (&'static String, &'static Vec<u8>) {
    SOURCE.files.first_key_value().unwrap()
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
    let names: Vec<&String> = SOURCE.files.keys().collect();
    let env = WalEnv::new();
    assert!(env.push(names[0], &SOURCE.files[names[0]], None));
    assert_eq!(env.fetch(names[1], None), Some(Answer::Absent));
    let calls = env.calls();
    for (call, fault) in faults(calls, step) {
        let answer = env.fetch(names[1], Some((call, fault)));
        assert!(!matches!(answer, Some(Answer::Content(_))), "{fault:?} at call {call}: {answer:?}");
    }
}

/// Returns an archive with base backups of which a prune removes some, and WAL with them.
fn archive_to_prune() -> (WalEnv, Vec<base::Base>) {
    let env = WalEnv::new();
    for (name, content) in SOURCE.first_timeline() {
        assert!(env.push(name, content, None));
    }
    let segments: Vec<u64> = SOURCE.first_timeline().filter_map(|(name, _)| number(name)).collect();
    let bases = [(1, 12), (3, 9), (5, 4)].map(|(place, age)| env.put_base(segments[place], age));
    (env, bases.to_vec())
}

fn prunes_survive_failures(step: usize) {
    let names = || SOURCE.first_timeline().map(|(name, _)| name);
    let remaining = |env: &WalEnv| -> Vec<(&str, &String)> {
        let all = DESTINATIONS.iter().flat_map(|at| names().map(move |name| (*at, name)));
        all.filter(|(at, name)| env.count(at, name) > 0).collect()
    };
    let (reference, bases) = archive_to_prune();
    assert!(reference.prune(None));
    let calls = reference.calls();
    let expected = remaining(&reference);
    let kept = reference.bases_at("first", &bases);
    assert_eq!(kept.len(), 2, "the policy keeps two backups");
    let needed = names().filter(|name| number(name).is_some_and(|segment| is_needed(&kept, segment)));
    assert_eq!(expected.len(), 2 * needed.count(), "unneeded WAL is removed");
    assert!(expected.len() < 2 * names().count());
    for (call, fault) in faults(calls, step) {
        let (env, bases) = archive_to_prune();
        env.prune(Some((call, fault)));
        let after = remaining(&env);
        assert!(expected.iter().all(|file| after.contains(file)), "{fault:?} at call {call}: {after:?}");
        let both = DESTINATIONS.iter().all(|at| env.bases_at(at, &bases).len() >= 2);
        assert!(both, "{fault:?} at call {call} removed a base backup");
        assert!(env.prune(None), "the prune after {fault:?} at call {call} fails");
        assert_eq!(remaining(&env), expected, "{fault:?} at call {call}");
    }
}

#[test]
fn archived_segments_survive_sampled_failures() {
    pushes_survive_failures(7);
    fetches_survive_failures(7);
    absence_survives_no_failure(7);
}

#[test]
fn pruned_archives_survive_sampled_failures() {
    prunes_survive_failures(11);
}

#[test]
fn receivers_survive_sampled_failures() {
    receiving_survives_failures(41);
}

#[test]
fn random_operations_lose_no_segment() {
    operate(0x9E37_79B9_7F4A_7C15, 200);
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
    fn pruned_archives_survive_every_failure() {
        prunes_survive_failures(1);
    }

    #[test]
    fn receivers_survive_every_failure() {
        receiving_survives_failures(1);
    }

    #[test]
    fn ten_thousand_random_operations_lose_no_segment() {
        thread::scope(|scope| {
            for seed in 1..=10 {
                scope.spawn(move || operate(seed * 0x9E37_79B9, 1000));
            }
        });
    }
}
