//! Bits that flip at random.

use std::panic::catch_unwind;

use longshore_testkit::cluster::Installation;

use crate::random::Random;
use crate::specimen::Specimen;
use crate::support;

/// How many bits flip, one at a time, in each archive.
const FLIPS: usize = 200;

/// How many there were, and how many of them were found.
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
            "{name}: a bit that gzip guards flipped unseen"
        );
    }
}

/// What was found in the header and the TOC, and in the data.
fn flipped(specimen: &Specimen) -> [Count; 2] {
    let mut counts = [Count::default(), Count::default()];
    let mut random = Random::new(7);
    for flip in 0..FLIPS {
        // The TOC is small: every eighth bit is one of its.
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
