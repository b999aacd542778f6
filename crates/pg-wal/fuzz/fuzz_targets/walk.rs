//! For any bytes, the result is facts or an error, and records are within the segment.
#![no_main]

use longshore_pg_wal::walk;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(facts) = walk::read(bytes) {
        assert_eq!(facts.file_bytes, bytes.len() as u64);
        assert!(facts.first_record <= facts.last_record);
        assert!(facts.last_record.is_none_or(|last| last >= facts.start && last < facts.end_of_records));
    }
});
