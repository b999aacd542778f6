//! Memory does not grow with the size of the dump.

use crate::support::{Ended, Job, Workshop};

/// The most resident memory that a process of ours may take, in KiB.
const LIMIT_KIB: u64 = 100 * 1024;

#[test]
fn memory_stays_under_100_mb_for_a_2_gb_dump() {
    let workshop = Workshop::new();
    workshop.cluster.create_database("bulk");
    workshop.cluster.psql(
        "bulk",
        "create unlogged table bulk as select i, repeat(md5(i::text), 60) as text from generate_series(1, 1150000) i;",
    );
    workshop.configure(&Job { dump: "[{ type = 'pg_dump', databases = ['bulk'] }]", ..Job::default() });
    let mut run = workshop.start(&["run", "--json"]);
    let mut peak = 0;
    while run.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", run.id())).unwrap_or_default();
        let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(high.map_or(0, |high| high.trim().trim_end_matches(" kB").parse().unwrap()));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let ended = Ended::of(run.wait_with_output().unwrap()).expect(0);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(report["artifacts"][0]["plaintext_bytes"].as_u64().unwrap() > 2 << 30);
    assert!(peak > 0 && peak < LIMIT_KIB, "{peak} KiB");
}
