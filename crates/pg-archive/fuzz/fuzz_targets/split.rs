//! For any division of the bytes into pieces, the result is the same.
#![no_main]

use std::io::BufReader;

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let answer = |answer: longshore_pg_archive::Result<_>| answer.map_err(|error| error.to_string());
    let whole = answer(longshore_pg_archive::read(bytes, &mut |_| ()));
    let pieces = BufReader::with_capacity(usize::from(piece) + 1, bytes);
    assert_eq!(whole, answer(longshore_pg_archive::read(pieces, &mut |_| ())));
});
