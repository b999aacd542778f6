//! Digests that detect damage, not malice: fast and without a key.

use twox_hash::XxHash3_128;

/// The sum of many digests, independent of their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Multiset(u128);

impl Multiset {
    /// Adds a digest.
    pub(crate) fn add(&mut self, digest: u128) {
        self.0 = self.0.wrapping_add(digest);
    }
}

impl std::fmt::Display for Multiset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// An incremental digest.
#[derive(Clone)]
pub(crate) struct Digest(XxHash3_128);

impl Digest {
    pub(crate) fn new() -> Self {
        Self(XxHash3_128::new())
    }

    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.0.write(piece);
    }

    pub(crate) fn value(&self) -> u128 {
        self.0.finish_128()
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.value())
    }
}

/// Returns the digest of bytes.
pub(crate) fn digest(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}
