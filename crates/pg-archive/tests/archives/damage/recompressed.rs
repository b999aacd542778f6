//! Invalid data that is compressed correctly, and compressed data that continues after its end.

use std::io::Write;

use flate2::write::ZlibEncoder;

use crate::damage::edit::Damage;
use crate::damage::layout::{Block, INT};
use crate::damage::specimen::{Specimen, chunk, int};

/// The intact data of the replaced table.
const TINY: &str = "1\tone\n2\t\\N\n3\tdrei\n\\.\n\n\n";

/// Returns replacements of a table's data that pg_dump never writes.
pub(crate) fn data(specimen: &Specimen) -> Vec<Damage> {
    const PLACE: &str = "a tiny table's data, packed well";
    let wrong: [(_, &[u8]); 13] = [
        ("nothing at all", b""),
        ("no mark at the end", b"1\tone\n2\t\\N\n3\tdrei\n"),
        ("half of the mark at the end", b"1\tone\n2\t\\N\n3\tdrei\n\\.\n\n"),
        ("the mark at the end before the last row", b"1\tone\n2\t\\N\n\\.\n3\tdrei\n\n\n"),
        ("two marks at the end", b"1\tone\n2\t\\N\n3\tdrei\n\\.\n\n\n\\.\n\n\n"),
        ("an empty line after the mark", b"1\tone\n2\t\\N\n3\tdrei\n\\.\n\n\n\n"),
        ("a row of one column", b"1\tone\n2\n3\tdrei\n\\.\n\n\n"),
        ("a row of three columns", b"1\tone\n2\t\\N\t\n3\tdrei\n\\.\n\n\n"),
        ("an empty row", b"1\tone\n\n3\tdrei\n\\.\n\n\n"),
        ("two rows in one", b"1\tone2\t\\N\n3\tdrei\n\\.\n\n\n"),
        ("a zero byte", b"1\tone\n2\t\\N\n3\t\0rei\n\\.\n\n\n"),
        ("bytes that are not UTF-8", b"1\tone\n2\t\\N\n3\tdre\xec\n\\.\n\n\n"),
        ("a carriage return", b"1\tone\r\n2\t\\N\r\n3\tdrei\r\n\\.\r\n\r\n\r\n"),
    ];
    let table = specimen.table("tiny");
    let replaced = |(what, text)| Damage::new(what, PLACE).replace(table.content(), item(specimen, text));
    let mut damages: Vec<_> = wrong.into_iter().map(replaced).collect();
    // With another length, the following large objects would have to move.
    let moves = |text: &[u8]| item(specimen, text).len() != table.content().len() && !specimen.has_no_offsets();
    let plausible: [(_, &[u8]); 3] = [
        ("a row less", b"1\tone\n3\tdrei\n\\.\n\n\n"),
        ("a row more", b"1\tone\n2\t\\N\n3\tdrei\n3\tdrei\n\\.\n\n\n"),
        ("rows in another order", b"3\tdrei\n2\t\\N\n1\tone\n\\.\n\n\n"),
    ];
    damages.extend(plausible.map(|plausible| replaced(plausible).only_digest_detects_if(!moves(plausible.1))));
    damages
}

/// Returns streams and frames that end too early, too late or more than once.
pub(crate) fn ends(specimen: &Specimen) -> Vec<Damage> {
    const PLACE: &str = "a tiny table's data";
    let table = specimen.table("tiny");
    let payload = |text: &[u8]| compressed(specimen.archive.compression, text);
    let whole = payload(TINY.as_bytes());
    let replaced = |what, chunks: &[&[u8]]| {
        let chunks: Vec<u8> = chunks.iter().flat_map(|payload| chunk(payload)).collect();
        Damage::new(what, PLACE).replace(table.content(), [chunks, int(0).to_vec()].concat())
    };
    if specimen.is_plain() {
        return Vec::new();
    }
    let second = payload(b"4\tfour\n\\.\n\n\n");
    let (head, tail) = whole.split_at(whole.len() - 1);
    let mut damages = vec![
        replaced("its last byte is missing", &[head]),
        // The last byte of an LZ4 frame's end mark may announce an empty block.
        replaced("its last byte is another's", &[head, &[tail[0] ^ 0x80]]).unless_harmless(),
        replaced("a byte after its end", &[&whole, b"x"]),
        replaced("another stream after it", &[&whole, &second]),
        replaced("not compressed at all", &[TINY.as_bytes()]),
        replaced("no stream at all", &[]),
    ];
    damages.extend(foreign(specimen, table));
    if specimen.archive.compression == "zstd" {
        let [one, two] = [&TINY.as_bytes()[..6], &TINY.as_bytes()[6..]].map(payload);
        // Two frames in two chunks are allowed. Of two frames in one chunk, pg_restore drops the
        // second.
        damages.push(replaced("two frames in one chunk", &[&[one, two].concat()]));
    }
    damages
}

/// Returns data with other compressions.
fn foreign(specimen: &Specimen, table: &Block) -> Vec<Damage> {
    let names = ["gzip", "lz4", "zstd"].into_iter().filter(|name| *name != specimen.archive.compression);
    let item = |name| [chunk(&compressed(name, TINY.as_bytes())), int(0).to_vec()].concat();
    names
        .map(|name| {
            Damage::new("another compression's stream", "a tiny table's data").replace(table.content(), item(name))
        })
        .collect()
}

/// Returns a text as one chunk, or as one chunk per row if uncompressed.
fn item(specimen: &Specimen, text: &[u8]) -> Vec<u8> {
    let chunks: Vec<u8> = if specimen.is_plain() {
        text.split_inclusive(|byte| *byte == b'\n').flat_map(chunk).collect()
    } else {
        chunk(&compressed(specimen.archive.compression, text))
    };
    let mut item = chunks;
    item.extend([0; INT]);
    item
}

fn compressed(compression: &str, text: &[u8]) -> Vec<u8> {
    match compression {
        "gzip" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        }
        "lz4" => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(text, 3).unwrap(),
        _ => text.to_vec(),
    }
}
