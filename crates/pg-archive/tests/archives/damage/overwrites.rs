//! Ranges that are overwritten, without a shift of the following bytes.

use std::ops::Range;

use crate::damage::edit::Damage;
use crate::damage::specimen::{PAGE, Specimen, page_of};
use crate::support::random::Random;

/// The size of a range that is larger than a page and smaller than its table.
const LARGE: usize = 64 * 1024;

/// Returns holes: pages that never reached the disk.
pub(crate) fn zeros(specimen: &Specimen) -> Vec<Damage> {
    let end = specimen.bytes().len();
    let [account, document] = ["account", "document"].map(|name| specimen.table(name));
    let (_, object) = specimen.large_object();
    let mut damages = Vec::new();
    for (place, at) in [
        ("short rows", account.middle().payload.start),
        ("long rows", document.middle().payload.start + PAGE),
        ("TOC", specimen.layout.toc_end * 3 / 4),
        ("beginning", 0),
    ] {
        damages.push(Damage::new("4 K of zeros, a page", place).zero(page_of(at)));
    }
    // A large object may contain zeros.
    let inside = inside_of(&object.chunks[0].payload);
    let zeros = Damage::new("zeros", "large object").zero(inside).only_digest_detects_if(specimen.has_no_checksum());
    damages.push(zeros);
    let table = specimen.chunked();
    for (place, chunk) in table.chunks() {
        let at = chunk.all.start;
        damages.push(Damage::new("zeros on the length of a chunk", place).zero(at..at + 5));
        damages.push(Damage::new("4 K of zeros from a chunk on", place).zero(at..at + PAGE));
        damages.push(Damage::new("zeros from a chunk to the block's end", place).zero(at..table.all.end));
    }
    let at = document.chunks()[0].1.all.start;
    damages.push(Damage::new("64 K of zeros from a chunk on", "long rows").zero(at..at + LARGE));
    for (place, block) in specimen.blocks() {
        damages.push(Damage::new("a block of zeros", place).zero(block.all.clone()));
    }
    damages.push(Damage::new("64 K of zeros", "end").zero(end - LARGE..end));
    damages
}

/// Returns pages with bytes from elsewhere, or with garbage.
pub(crate) fn foreign(specimen: &Specimen) -> Vec<Damage> {
    let [account, document] = ["account", "document"].map(|name| specimen.table(name));
    let (_, object) = specimen.large_object();
    let page = page_of(account.middle().payload.start);
    let next = specimen.copy_of(&(page.start + PAGE..page.end + PAGE));
    // Within a long row, a piece of another row is valid.
    let row = inside_of(&document.middle().payload);
    let other = specimen.copy_of(&(row.start - row.len()..row.start));
    let mut damages = vec![
        Damage::new("a stale page", "short rows").replace(page, next),
        Damage::new("a piece of another row", "long rows")
            .replace(row, other)
            .only_digest_detects_if(specimen.has_no_checksum()),
    ];
    for (place, chunk) in [("short rows", account.middle()), ("long rows", document.middle())] {
        for (what, length) in [("512 bytes of garbage", 512), ("4 K of garbage", PAGE)] {
            let range = chunk.payload.start..chunk.payload.start + length;
            damages.push(Damage::new(what, place).replace(range, Random::new(3).bytes(length)));
        }
    }
    let inside = inside_of(&object.chunks[0].payload);
    let garbage = Random::new(4).bytes(inside.len());
    let garbage = Damage::new("garbage", "large object").replace(inside, garbage);
    damages.push(garbage.only_digest_detects_if(specimen.has_no_checksum()));
    damages
}

/// Returns up to 512 bytes in the middle of a chunk.
fn inside_of(payload: &Range<usize>) -> Range<usize> {
    let length = (payload.len() / 3).min(512);
    let start = payload.start + payload.len() / 2;
    start..start + length
}
