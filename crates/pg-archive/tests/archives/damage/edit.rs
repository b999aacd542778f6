//! A damage: its kind, its place, and its effect on the bytes of an archive.

use std::ops::Range;

use crate::support::table::Expected;

/// One damage of one archive.
#[derive(Debug, Clone)]
pub(crate) struct Damage {
    pub(crate) what: &'static str,
    pub(crate) place: &'static str,
    pub(crate) expected: Expected,
    flips: Vec<(usize, u8)>,
    replacements: Vec<(Range<usize>, Vec<u8>)>,
}

impl Damage {
    /// Creates a damage without changes, which must be detected.
    pub(crate) fn new(what: &'static str, place: &'static str) -> Self {
        Self { what, place, expected: Expected::Detected, flips: Vec::new(), replacements: Vec::new() }
    }

    /// Flips the bits of a byte that are set in `mask`.
    pub(crate) fn flip(mut self, at: usize, mask: u8) -> Self {
        self.flips.push((at, mask));
        self
    }

    /// Replaces a range of the intact archive.
    pub(crate) fn replace(mut self, range: Range<usize>, with: impl Into<Vec<u8>>) -> Self {
        self.replacements.push((range, with.into()));
        self
    }

    /// Removes a range.
    pub(crate) fn remove(self, range: Range<usize>) -> Self {
        self.replace(range, [])
    }

    /// Inserts bytes.
    pub(crate) fn insert(self, at: usize, bytes: impl Into<Vec<u8>>) -> Self {
        self.replace(at..at, bytes)
    }

    /// Fills a range with zeros.
    pub(crate) fn zero(self, range: Range<usize>) -> Self {
        let zeros = vec![0; range.len()];
        self.replace(range, zeros)
    }

    /// Expects, if `condition` holds, that only a digest detects the damage.
    pub(crate) fn only_digest_detects_if(mut self, condition: bool) -> Self {
        if condition {
            self.expected = Expected::OnlyDigestDetects;
        }
        self
    }

    /// Expects that the damage may be harmless.
    pub(crate) fn unless_harmless(mut self) -> Self {
        self.expected = Expected::DetectedUnlessHarmless;
        self
    }

    /// Returns the archive with the damage.
    pub(crate) fn apply(&self, intact: &[u8]) -> Vec<u8> {
        let mut flipped = intact.to_vec();
        for (at, mask) in &self.flips {
            flipped[*at] ^= mask;
        }
        let mut replacements: Vec<_> = self.replacements.iter().collect();
        replacements.sort_by_key(|(range, _)| range.start);
        let (mut bytes, mut kept) = (Vec::new(), 0);
        for (range, with) in replacements {
            bytes.extend_from_slice(&flipped[kept..range.start]);
            bytes.extend_from_slice(with);
            kept = range.end;
        }
        bytes.extend_from_slice(&flipped[kept..]);
        bytes
    }
}
