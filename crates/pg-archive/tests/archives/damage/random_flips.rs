//! Random bit flips.
#![allow(clippy::print_stdout, reason = "the counts are a result of the test")]

use std::panic::catch_unwind;

use longshore_testkit::cluster::Installation;

use crate::damage::specimen::Specimen;
use crate::support;
use crate::support::random::Random;

/// The number of single-bit flips per archive.
const FLIPS: usize = 200;

/// The number of flips, and the number of detected ones.
#[derive(Debug, Default)]
struct Count {
    flips: usize,
    found: usize,
}

/// Flips bits of all archives of an installation.
pub(crate) fn run(installation: &Installation) {
    for archive in support::archives(installation) {
        let specimen = Specimen::new(archive);
        let name = &specimen.archive.name;
        let [toc, data] = flipped(&specimen);
        println!(
            "{name}: {} of {} found in the TOC, {} of {} in the data",
            toc.found, toc.flips, data.found, data.flips
        );
        assert!(
            specimen.has_no_checksum() || data.found == data.flips,
            "{name}: a flip of a bit that gzip's checksum covers was not detected"
        );
    }
}

/// Returns the counts for the header and the TOC, and for the data.
fn flipped(specimen: &Specimen) -> [Count; 2] {
    let mut counts = [Count::default(), Count::default()];
    let mut random = Random::new(7);
    for flip in 0..FLIPS {
        // The TOC is small, so every eighth flip is in the TOC.
        let toc_end = specimen.layout.toc_end;
        let at = random.below(if flip % 8 == 0 { toc_end } else { specimen.bytes().len() });
        let mut bytes = specimen.bytes().to_vec();
        bytes[at] ^= 1 << random.below(8);
        let read = catch_unwind(|| support::read(&bytes));
        let read = read.unwrap_or_else(|_| panic!("{}: the reader panicked on byte {at}", specimen.archive.name));
        let count = &mut counts[usize::from(at >= toc_end)];
        count.flips += 1;
        count.found += usize::from(read.is_err());
    }
    counts
}
