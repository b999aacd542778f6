//! For any bytes, patching an intact archive keeps it intact.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let read = longshore_pg_archive::read(bytes, &mut |_| ());
    let patches = longshore_pg_archive::offsets::missing(bytes);
    if let (Ok(facts), Ok(patches)) = (read, patches) {
        let mut bytes = bytes.to_vec();
        for patch in patches {
            let at = patch.at as usize;
            bytes[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
        }
        assert_eq!(longshore_pg_archive::read(&bytes[..], &mut |_| ()).unwrap(), facts);
    }
});
