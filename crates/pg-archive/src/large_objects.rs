//! Large objects, one after another.

use roaring::RoaringBitmap;

use crate::digest::{Digest, Multiset};
use crate::facts::LargeObjects;

/// Counts large objects, and remembers which there were.
#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) oids: RoaringBitmap,
    bytes: u64,
    multiset: Multiset,
}

/// One that is being read.
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

impl Collected {
    /// Notes that an object comes; `false` if it came before.
    pub(crate) fn begin(&mut self, oid: u32) -> bool {
        self.oids.insert(oid)
    }

    /// Adds one that was read.
    pub(crate) fn add(&mut self, object: &LargeObject) {
        self.bytes += object.bytes;
        self.multiset.add(object.digest.value());
    }

    /// Why these are not the objects that were listed, if they are not.
    pub(crate) fn differ_from(&self, listed: &RoaringBitmap) -> Option<String> {
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

    /// What was counted.
    pub(crate) fn facts(&self) -> LargeObjects {
        LargeObjects { count: self.oids.len(), bytes: self.bytes, xxh3: self.multiset.to_string() }
    }
}
