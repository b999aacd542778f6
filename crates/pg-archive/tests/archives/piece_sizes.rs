//! The result of reading an archive does not depend on the sizes of the pieces.

use std::io::{self, BufRead, Read};

use longshore_pg_archive::{Error, Facts};
use proptest::prelude::{Just, ProptestConfig, Strategy, any};
use proptest::test_runner::TestRunner;
use proptest::{collection, prop_assert_eq, prop_oneof};

use crate::support::mutation::runner;
use crate::support::{self, Archive};

/// A reader that yields pieces of given sizes, repeatedly.
struct Pieces<'a> {
    bytes: &'a [u8],
    sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
    left: usize,
}

impl<'a> Pieces<'a> {
    fn new(bytes: &'a [u8], sizes: &'a [usize]) -> Self {
        Self { bytes, sizes: sizes.iter().cycle(), left: 0 }
    }
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            self.left = *self.sizes.next().unwrap();
        }
        Ok(&self.bytes[..self.left.min(self.bytes.len())])
    }

    fn consume(&mut self, length: usize) {
        self.bytes = &self.bytes[length..];
        self.left -= length;
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        unreachable!("a BufRead is never copied from")
    }
}

/// Returns the result for an archive and the announced places, in a comparable form.
fn read_result(reader: impl BufRead) -> (Result<Facts, String>, Vec<String>) {
    let mut places = Vec::new();
    let facts = longshore_pg_archive::read(reader, &mut |place| places.push(place.name.clone()));
    (facts.map_err(describe), places)
}

fn describe(error: Error) -> String {
    format!("{:?} at {} in {}: {}", error.kind, error.offset, error.place, error.message)
}

/// Returns a strategy for sizes of pieces: mixed with single bytes, or only single bytes.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        1 => Just(vec![1]),
        2 => collection::vec(1..5_usize, 1..20),
        2 => collection::vec(prop_oneof![Just(1), 1..100_usize, 1..100_000_usize], 1..20),
        1 => Just(vec![4096]),
    ]
}

fn check(archives: &[Archive], cases: u32, damage: impl Strategy<Value = Option<(f64, u8)>>) {
    let strategy = (0..archives.len(), sizes(), damage);
    // Failures are printed, and not persisted in the source folder.
    let configuration =
        ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() };
    let tested = TestRunner::new(configuration).run(&strategy, |(archive, sizes, damage)| {
        let mut bytes = archives[archive].bytes.clone();
        if let Some((place, mask)) = damage {
            let at = (place * bytes.len() as f64) as usize;
            bytes[at] ^= mask;
        }
        prop_assert_eq!(
            read_result(Pieces::new(&bytes, &sizes)),
            read_result(&bytes[..]),
            "{}",
            archives[archive].name
        );
        Ok(())
    });
    tested.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn results_do_not_depend_on_piece_sizes() {
    let archives = support::archives_of_two_releases();
    facts_do_not_depend_on_piece_sizes(&archives);
    errors_do_not_depend_on_piece_sizes(&archives);
    truncation_errors_do_not_depend_on_piece_sizes(&archives);
}

fn facts_do_not_depend_on_piece_sizes(archives: &[Archive]) {
    check(archives, 60, Just(None));
}

fn errors_do_not_depend_on_piece_sizes(archives: &[Archive]) {
    let flip = (0.0..1.0, any::<u8>().prop_filter("no damage", |mask| *mask != 0));
    check(archives, 150, flip.prop_map(Some));
}

fn truncation_errors_do_not_depend_on_piece_sizes(archives: &[Archive]) {
    let cut = |(archive, place, sizes): (usize, f64, Vec<usize>)| {
        let Archive { bytes, name, .. } = &archives[archive];
        let bytes = &bytes[..(place * bytes.len() as f64) as usize];
        prop_assert_eq!(read_result(Pieces::new(bytes, &sizes)), read_result(bytes), "{}", name);
        Ok(())
    };
    let tested = runner(100).run(&(0..archives.len(), 0.0..1.0, sizes()), cut);
    tested.unwrap_or_else(|error| panic!("{error}"));
}
