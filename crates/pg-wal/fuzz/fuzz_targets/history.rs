//! For any bytes, the result is a history or an error, and each ancestor leaves the lineage once.
#![no_main]

use longshore_pg_wal::History;

libfuzzer_sys::fuzz_target!(|input: (u32, &[u8])| {
    let (timeline, content) = input;
    if let Ok(history) = History::parse(timeline, content) {
        let timelines: Vec<u32> = history.lineage().map(|section| section.timeline).collect();
        assert!(timelines.is_sorted_by(|before, after| before < after));
        for ancestor in history.ancestors() {
            assert_eq!(history.switch_point(ancestor.timeline), Some(ancestor.switch_point));
        }
    }
});
