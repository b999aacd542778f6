//! Counts and digests of large objects.

use roaring::RoaringBitmap;

use crate::digest::{Digest, Multiset};
use crate::facts::LargeObjects;

/// The large objects that were read: their OIDs, their size and their digests.
#[derive(Default)]
pub(crate) struct LargeObjectSet {
    pub(crate) oids: RoaringBitmap,
    bytes: u64,
    multiset: Multiset,
}

/// A large object that is being read.
pub(crate) struct LargeObject {
    digest: Digest,
    bytes: u64,
}

impl LargeObject {
    pub(crate) fn new(oid: u32) -> Self {
        let mut digest = Digest::new();
        digest.update(&oid.to_be_bytes());
        Self { digest, bytes: 0 }
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.digest.update(piece);
        self.bytes += piece.len() as u64;
    }
}

impl LargeObjectSet {
    /// Records that an object begins. Returns false if the object occurred before.
    pub(crate) fn begin(&mut self, oid: u32) -> bool {
        self.oids.insert(oid)
    }

    /// Adds an object that was read.
    pub(crate) fn add(&mut self, object: &LargeObject) {
        self.bytes += object.bytes;
        self.multiset.add(object.digest.value());
    }

    /// Returns the difference from the listed objects, if any.
    pub(crate) fn difference(&self, listed: &RoaringBitmap) -> Option<String> {
        let missing = (listed - &self.oids).min();
        let surplus = (&self.oids - listed).min();
        match (missing, surplus) {
            (Some(oid), _) => Some(format!(
                "{} large objects, where the TOC lists {}: {oid} is missing",
                self.oids.len(),
                listed.len()
            )),
            (None, Some(oid)) => Some(format!(
                "{} large objects, where the TOC lists {}: {oid} is not listed",
                self.oids.len(),
                listed.len()
            )),
            (None, None) => None,
        }
    }

    /// Returns the totals.
    pub(crate) fn facts(&self) -> LargeObjects {
        LargeObjects { count: self.oids.len(), bytes: self.bytes, xxh3: self.multiset.to_string() }
    }
}
