//! For any division of the bytes into pieces, the result is the same.
#![no_main]

use longshore_pg_wal::walk::Walker;

libfuzzer_sys::fuzz_target!(|input: (u16, &[u8])| {
    let (piece, bytes) = input;
    let (mut whole, mut pieces) = (Walker::new(), Walker::new());
    whole.push(bytes);
    bytes.chunks(usize::from(piece) + 1).for_each(|piece| pieces.push(piece));
    assert_eq!(whole.finish(), pieces.finish());
});
