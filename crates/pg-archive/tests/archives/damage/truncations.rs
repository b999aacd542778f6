//! Archives that are too short or too long.

use crate::damage::edit::Damage;
use crate::damage::specimen::{PAGE, Specimen};
use crate::support::random::Random;

/// Returns truncations, as after an aborted transfer, on a full disk or after a power failure.
pub(crate) fn truncations(specimen: &Specimen) -> Vec<Damage> {
    let end = specimen.bytes().len();
    let layout = &specimen.layout;
    let table = specimen.chunked();
    let [(_, first), _, (_, last)] = specimen.blocks();
    let places = [
        ("to nothing", 0),
        ("inside of the magic word", 3),
        ("inside of the header", 20),
        ("inside of the TOC", layout.toc_end / 2),
        ("at the end of the TOC", layout.toc_end),
        ("to 10 %", end / 10),
        ("to 50 %", end / 2),
        ("to 90 %", end / 10 * 9),
        ("to 99.9 %", end / 1000 * 999),
        ("by the last byte", end - 1),
        ("by the last number", end - 5),
        ("before the last block", last.all.start),
        ("inside of the head of the last block", last.all.start + 3),
        ("after the first block", first.all.end),
        ("at the boundary of a chunk", table.middle().all.start),
        ("inside of the length of a chunk", table.middle().all.start + 2),
        ("before the zero that ends a table", table.items[0].terminator().start),
    ];
    places.into_iter().map(|(place, at)| Damage::new("truncated", place).remove(at..end)).collect()
}

/// Returns removals and insertions of bytes, which shift all following bytes.
pub(crate) fn shifts(specimen: &Specimen) -> Vec<Damage> {
    let document = specimen.table("document");
    let (_, object) = specimen.large_object();
    let places = [
        ("header", 16),
        ("TOC", specimen.layout.toc_end / 2),
        ("short rows", specimen.table("account").middle().payload.start),
        ("long rows", document.middle().payload.start + 10),
        ("large object", object.chunks[0].payload.start + 10),
    ];
    let garbage = Random::new(1).bytes(PAGE);
    let mut damages = Vec::new();
    for (place, at) in places {
        damages.push(Damage::new("1 byte removed", place).remove(at..at + 1));
        damages.push(Damage::new("4 K removed", place).remove(at..at + PAGE));
        damages.push(Damage::new("1 byte inserted", place).insert(at, *b"x"));
        damages.push(Damage::new("4 K of garbage inserted", place).insert(at, garbage.clone()));
    }
    damages
}

/// Returns additions after the end of the archive.
pub(crate) fn additions(specimen: &Specimen) -> Vec<Damage> {
    let end = specimen.bytes().len();
    let [(_, first), _, (_, last)] = specimen.blocks();
    let additions = [
        ("a zero byte", vec![0]),
        ("4 K of zeros", vec![0; PAGE]),
        ("4 K of garbage", Random::new(2).bytes(PAGE)),
        ("the first block again", specimen.copy_of(&first.all)),
        ("the last block again", specimen.copy_of(&last.all)),
        ("the archive again", specimen.bytes().to_vec()),
    ];
    additions.into_iter().map(|(what, bytes)| Damage::new(what, "after the end").insert(end, bytes)).collect()
}

/// Returns conversions by programs that treat the file as text.
pub(crate) fn conversions(specimen: &Specimen) -> Vec<Damage> {
    let bytes = specimen.bytes();
    let everywhere = |what, to: fn(u8) -> Vec<u8>| {
        let converted: Vec<u8> = bytes.iter().flat_map(|byte| to(*byte)).collect();
        Damage::new(what, "everywhere").replace(0..bytes.len(), converted)
    };
    vec![
        everywhere("LF became CR LF", |byte| if byte == b'\n' { b"\r\n".to_vec() } else { vec![byte] }),
        everywhere("Latin-1 became UTF-8", |byte| char::from(byte).to_string().into_bytes()),
        everywhere("zero bytes dropped", |byte| if byte == 0 { vec![] } else { vec![byte] }),
        everywhere("the eighth bit dropped", |byte| vec![byte & 0x7f]),
        everywhere("all zero", |_| vec![0]),
    ]
}
