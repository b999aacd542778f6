//! Single bits.

use crate::damage::edit::Damage;
use crate::damage::specimen::Specimen;

/// Returns flips of bits in the framing of the data.
pub(crate) fn framing(specimen: &Specimen) -> Vec<Damage> {
    let table = specimen.chunked();
    let (list, object) = specimen.large_object();
    let mut damages = Vec::new();
    for (place, chunk) in table.chunks() {
        let at = chunk.all.start;
        damages.push(Damage::new("a bit of the sign of a chunk's length", place).flip(at, 1));
        damages.push(Damage::new("another bit of the sign of a chunk's length", place).flip(at, 0x40));
        damages.push(Damage::new("the lowest bit of a chunk's length", place).flip(at + 1, 1));
        damages.push(Damage::new("the second byte of a chunk's length", place).flip(at + 2, 0x10));
        damages.push(Damage::new("the highest bit of a chunk's length", place).flip(at + 4, 0x80));
    }
    for (place, block) in specimen.blocks() {
        let at = block.all.start;
        damages.push(Damage::new("the kind of a block", place).flip(at, 2));
        damages.push(Damage::new("a bit of the kind of a block", place).flip(at, 0x80));
        damages.push(Damage::new("the lowest bit of a block's id", place).flip(at + 2, 1));
        damages.push(Damage::new("the sign of a block's id", place).flip(at + 1, 1));
    }
    for (place, item) in [("table", &table.items[0]), ("large object", object)] {
        let at = item.terminator().start;
        damages.push(Damage::new("a bit of the zero that ends it", place).flip(at + 1, 1));
        // Zero has the same value with any sign.
        damages.push(Damage::new("the sign of the zero that ends it", place).flip(at, 1).unless_harmless());
    }
    damages.push(Damage::new("a bit of the zero that ends large objects", "last").flip(list.all.end - 4, 1));
    damages
}

/// Returns flips of bits in the data itself.
pub(crate) fn payload(specimen: &Specimen) -> Vec<Damage> {
    const WHAT: &str = "a bit of the data";
    let [account, document] = ["account", "document"].map(|name| specimen.table(name));
    let (_, object) = specimen.large_object();
    let object = &object.chunks[object.chunks.len() / 2].payload;
    let within = |at: usize, place| {
        // Flipping the lowest bit of a letter yields another letter.
        Damage::new(WHAT, place).flip(at, 1).only_digest_detects_if(specimen.has_no_checksum())
    };
    let [(_, first), (_, middle), (_, last)] = account.chunks();
    let long = &document.middle().payload;
    let mut damages = vec![
        within(first.payload.start + first.payload.len() / 2, "short rows, first chunk"),
        within(middle.payload.start + middle.payload.len() / 2, "short rows, middle chunk"),
        within(long.start + long.len() / 2, "long rows"),
        within(object.start + object.len() / 2, "large object"),
    ];
    if specimen.is_plain() {
        // The separators of rows and columns are not letters.
        let row = &middle.payload;
        let tab = row.start + specimen.bytes()[row.clone()].iter().position(|byte| *byte == b'\t').unwrap();
        damages.push(Damage::new("a tab became another letter", "short rows").flip(tab, 1));
        damages.push(Damage::new("a line feed became another letter", "short rows").flip(row.end - 1, 1));
        damages.push(Damage::new("a letter became a zero byte", "short rows").replace(row.start..row.start + 1, [0]));
        damages.push(Damage::new("a letter lost its encoding", "short rows").flip(row.start, 0x80));
        damages.push(Damage::new("a bit of the mark at the end", "short rows").flip(last.payload.start, 1));
        damages.push(Damage::new("a bit of the mark at the end", "its line feeds").flip(last.payload.end - 1, 1));
    }
    damages
}

/// Returns flips of bits that decompression needs for a correct end.
pub(crate) fn compression(specimen: &Specimen) -> Vec<Damage> {
    if specimen.is_plain() {
        return Vec::new();
    }
    let account = specimen.table("account");
    let [(_, first), _, (_, last)] = account.chunks();
    let mut damages = vec![Damage::new("a bit of the frame's magic", "short rows").flip(first.payload.start, 1)];
    if !specimen.has_no_checksum() {
        damages.push(Damage::new("a bit of the checksum", "short rows").flip(last.payload.end - 1, 1));
    }
    damages
}
