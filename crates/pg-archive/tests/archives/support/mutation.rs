//! Random changes of an archive, and targeted ones.

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any};
use proptest::prop_oneof;
use proptest::sample::select;
use proptest::test_runner::TestRunner;

/// Returns a runner that does not persist failures, since they are printed.
pub(crate) fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() })
}

/// A change of bytes. Places are fractions of the whole.
#[derive(Debug, Clone)]
pub(crate) enum Mutation {
    Overwrite(f64, Vec<u8>),
    Insert(f64, Vec<u8>),
    Remove(f64, usize),
    /// Copies a range to another place, several times.
    Copy {
        from: f64,
        length: usize,
        to: f64,
        times: usize,
    },
    Truncate(f64),
}

/// Numbers at the limits of arithmetic, in the archive's format.
const NUMBERS: [[u8; 5]; 8] = [
    [0, 0xff, 0xff, 0xff, 0x7f],
    [1, 0xff, 0xff, 0xff, 0x7f],
    [1, 0, 0, 0, 0x80],
    [0, 0, 0, 0, 0x80],
    [1, 1, 0, 0, 0],
    [0, 0, 0, 0, 0],
    [0, 1, 0, 0, 0],
    [0, 0, 0, 0x10, 0],
];

/// Returns a strategy for mutations. Half of the places are in the header and the TOC.
pub(crate) fn any_mutation() -> impl Strategy<Value = Mutation> {
    let place = || prop_oneof![0.0..0.02, 0.0..1.0];
    let bytes = || prop_oneof![vec(any::<u8>(), 1..50), select(&NUMBERS[..]).prop_map(|number| number.to_vec())];
    prop_oneof![
        3 => (place(), bytes()).prop_map(|(at, bytes)| Mutation::Overwrite(at, bytes)),
        2 => (place(), bytes()).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        2 => (place(), 1..10_000_usize).prop_map(|(at, length)| Mutation::Remove(at, length)),
        2 => (place(), 1..10_000_usize, place(), 1..20_usize)
            .prop_map(|(from, length, to, times)| Mutation::Copy { from, length, to, times }),
        1 => place().prop_map(Mutation::Truncate),
    ]
}

/// Returns bytes with all changes, one after the other.
pub(crate) fn mutated(intact: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    mutations.iter().fold(intact.to_vec(), |bytes, mutation| mutation.apply(bytes))
}

impl Mutation {
    /// Returns the bytes with this change.
    fn apply(&self, bytes: Vec<u8>) -> Vec<u8> {
        let place = |fraction: f64| (fraction * bytes.len() as f64) as usize;
        let replaced = |at: usize, length: usize, with: &[u8]| {
            let end = (at + length).min(bytes.len());
            [&bytes[..at], with, &bytes[end..]].concat()
        };
        match self {
            Self::Overwrite(at, with) => replaced(place(*at), with.len(), with),
            Self::Insert(at, with) => replaced(place(*at), 0, with),
            Self::Remove(at, length) => replaced(place(*at), *length, &[]),
            Self::Copy { from, length, to, times } => {
                let from = place(*from);
                let range = from..(from + length).min(bytes.len());
                replaced(place(*to), 0, &bytes[range].repeat(*times))
            }
            Self::Truncate(at) => bytes[..place(*at)].to_vec(),
        }
    }
}
