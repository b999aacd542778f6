//! For any bytes, an archive remains an archive after its roles are renamed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let map = [("postgres".to_owned(), "some\"body".to_owned())].into();
    let mut rewritten = Vec::new();
    let answer = longshore_pg_archive::rewrite::roles(bytes, &mut rewritten, &map);
    if answer.is_ok() && longshore_pg_archive::read(bytes, &mut |_| ()).is_ok() {
        longshore_pg_archive::read(&rewritten[..], &mut |_| ()).unwrap();
    }
});
