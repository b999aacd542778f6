//! Archives that request excessive memory and time.

use std::io::{BufRead, Read, Write, repeat};

use crate::hostile::forged::{beginning, chunk, data, end, entry, header, int, magic, null, one_table, rest, text};
use crate::hostile::test_readers::{generated, repeated};

/// A name of the request, and an archive with the request.
pub(crate) type Case = (&'static str, Box<dyn BufRead>);

/// The size of a piece of a long text.
const PIECE: usize = 64 * 1024;
/// The number of pieces: 64 MB.
const PIECES: u32 = 1024;

const NONE: u8 = 0;
const GZIP: u8 = 1;
const LZ4: u8 = 2;
const ZSTD: u8 = 3;

fn case(what: &'static str, archive: impl BufRead + 'static) -> Case {
    (what, Box::new(archive))
}

fn letters() -> Vec<u8> {
    vec![b'a'; PIECE]
}

/// Returns lengths and counts without the content, or with very much of it.
pub(crate) fn lengths() -> Vec<Case> {
    let bytes = |what, parts: &[Vec<u8>]| case(what, std::io::Cursor::new(parts.concat()));
    let from = beginning(1, false, "t", "TABLE");
    let huge = int(i32::MAX);
    let million = "a".repeat(1 << 20);
    vec![
        case("a name of two GB", repeated([magic(NONE), huge.clone()].concat(), letters(), PIECES)),
        bytes("two billion entries, and nothing", &[header(NONE, i32::MAX)]),
        bytes("fewer entries than none", &[header(NONE, i32::MIN)]),
        case("SQL of two GB", repeated([header(NONE, 1), from.clone(), huge.clone()].concat(), letters(), PIECES)),
        case("a COPY statement of two GB", {
            let first = [header(NONE, 1), from.clone(), null(), null(), huge.clone()].concat();
            repeated(first, letters(), PIECES)
        }),
        case("dependencies without end", {
            let first = [header(NONE, 1), from, null(), null(), rest(None)].concat();
            repeated(first, text("1").repeat(PIECE / 6), PIECES / 4)
        }),
        case("OIDs of large objects without end", {
            let first = [header(NONE, 1), beginning(1, false, "o", "BLOB METADATA"), huge.clone()].concat();
            generated(first, |number| {
                let oids = (number * 5000..(number + 1) * 5000).map(|oid| format!("{oid}\n"));
                (number < 200).then(|| oids.collect::<String>().into_bytes())
            })
        }),
        bytes("a name of a MB", &[header(NONE, 2), entry(1, &million, "TABLE", b""), entry(1, "", "TABLE", b"")]),
        bytes("a kind of a MB", &[header(NONE, 1), entry(1, "t", &million, b""), vec![7]]),
        bytes("a COPY statement of a MB", &[header(NONE, 1), data(1, "t", &million)]),
        bytes("control characters as a COPY statement", &[header(NONE, 1), data(1, "t", &"\u{1}".repeat(1 << 20))]),
        bytes("a table's name of a MB", &[header(NONE, 1), data(1, &million, "COPY t (a) FROM stdin;\n"), vec![7]]),
        bytes(
            "a dependency of a MB",
            &[
                header(NONE, 1),
                beginning(1, false, "t", "TABLE"),
                null(),
                null(),
                rest(None),
                text(&million),
                end(false),
            ],
        ),
    ]
}

/// Returns data that is long, or decompresses to long data.
pub(crate) fn payloads() -> Vec<Case> {
    let table = |compression| one_table(compression);
    let huge = int(i32::MAX);
    let zlib = |bytes: &mut dyn Read| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::copy(bytes, &mut encoder).unwrap();
        encoder.finish().unwrap()
    };
    let long = u64::from(PIECES) * PIECE as u64;
    let packed = |compression, stream: Vec<u8>| [table(compression), chunk(&stream), int(0)].concat();
    let zstd = zstd::encode_all(repeat(b'a').take(long), 1).unwrap();
    let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
    frame.write_all(b"").unwrap();
    let empty_frame = frame.finish().unwrap();
    let cursor = std::io::Cursor::new;
    vec![
        case("a row of 64 MB", repeated([table(NONE), huge.clone()].concat(), letters(), PIECES)),
        case("millions of rows", repeated([table(NONE), huge.clone()].concat(), vec![b'\n'; PIECE], PIECES / 16)),
        case("columns without end", repeated([table(NONE), huge.clone()].concat(), vec![b'\t'; PIECE], PIECES)),
        case("a chunk for each byte", repeated(table(NONE), chunk(b"a").repeat(PIECE / 6), PIECES / 32)),
        case("a zlib bomb of a row", cursor(packed(GZIP, zlib(&mut repeat(b'a').take(long))))),
        case("a zlib bomb of zeros", cursor(packed(GZIP, zlib(&mut repeat(0).take(long))))),
        case("a zlib bomb of rows", cursor(packed(GZIP, zlib(&mut repeat(b'\n').take(long / 16))))),
        case("a zstd bomb", cursor(packed(ZSTD, zstd))),
        // A frame header without a size, with a window of 2^41 bytes, and a block.
        case("a zstd window of two TB", cursor(packed(ZSTD, vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0xf8, 1, 0, 0]))),
        case("LZ4 frames without end", repeated([table(LZ4), huge.clone()].concat(), empty_frame.repeat(1000), 500)),
        case(
            "zlib data without end",
            repeated(
                [table(GZIP), vec![0, 0, 0, 0, 0x7f, 0x78, 0x9c]].concat(),
                {
                    // Empty stored blocks.
                    [0, 0, 0, 0xff, 0xff].repeat(PIECE / 5)
                },
                PIECES / 16,
            ),
        ),
    ]
}

/// Returns large numbers of small items.
pub(crate) fn numbers() -> Vec<Case> {
    vec![
        case("a million large objects", {
            let list = [beginning(1, true, "BLOBS", "BLOBS"), null(), null(), rest(None), end(true)].concat();
            generated([header(NONE, 1), list, vec![3], int(1)].concat(), |number| {
                let objects =
                    (number * 1000 + 1..=(number + 1) * 1000).map(|oid| [int(oid.cast_signed()), int(0)].concat());
                (number < 1000).then(|| objects.flatten().collect())
            })
        }),
        case(
            "a hundred thousand entries",
            generated(header(NONE, i32::MAX), |number| (number < 100_000).then(|| small(number))),
        ),
    ]
}

/// Returns names that together exceed the memory of any TOC.
pub(crate) fn names() -> Vec<Case> {
    let million = "a".repeat(1 << 20);
    let name = move |number: u32| entry(i32::try_from(number + 1).unwrap(), &million, "TABLE", b"");
    vec![case("names of a MB without end", generated(header(NONE, i32::MAX), move |number| Some(name(number))))]
}

/// Returns entries so small that their names do not dominate the memory.
pub(crate) fn entries() -> Vec<Case> {
    vec![case("small entries without end", generated(header(NONE, i32::MAX), |number| Some(small(number))))]
}

fn small(number: u32) -> Vec<u8> {
    entry(i32::try_from(number + 1).unwrap(), "t", "TABLE", b"")
}
