//! For any bytes, the result is facts or an error.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _answer = longshore_pg_archive::read(bytes, &mut |_| ());
});
