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
    let (report, peak) = run(&workshop);
    assert!(report["artifacts"][0]["plaintext_bytes"].as_u64().unwrap() > 2 << 30);
    assert!(peak > 0 && peak < LIMIT_KIB, "{peak} KiB");
}

/// None runs ahead of the others by more than its buffers hold, and what is in them does not grow with the dump.
#[test]
fn memory_stays_under_256_mb_with_eight_destinations_of_different_speeds() {
    let workshop = Workshop::new();
    workshop.make_bulk("bulk", 192);
    let names: Vec<_> = (0..8).map(|n| format!("d{n}")).collect();
    let folders: Vec<_> = names.iter().map(|name| workshop.make_folder(name)).collect();
    let ship: Vec<_> = names.iter().zip(&folders).map(|(name, folder)| (name.as_str(), folder.as_path())).collect();
    let terms = [("d0", "max_rate = '20MiB'"), ("d3", "max_rate = '40MiB'"), ("d7", "max_rate = '80MiB'")];
    let dump = "[{ type = 'pg_dump', databases = ['bulk'] }]";
    let more = "compression = { method = 'none' }";
    workshop.configure(&Job { dump, ship: &ship, terms: &terms, more, ..Job::default() });
    let (report, peak) = run(&workshop);
    let sealed = report["artifacts"][0]["sealed_bytes"].as_u64().unwrap();
    assert!(sealed > 192 << 20);
    for destination in report["artifacts"][0]["destinations"].as_array().unwrap() {
        assert_eq!(destination["bytes"].as_u64(), Some(sealed), "{destination}");
        // 20 MiB a second for the slowest of them, which all wait for.
        assert!(destination["seconds"].as_f64().unwrap() > 7.0, "{destination}");
    }
    assert!(peak > 0 && peak < 256 * 1024, "{peak} KiB");
}

/// Runs the job, and tells its report and the most memory that it took, in KiB.
fn run(workshop: &Workshop) -> (serde_json::Value, u64) {
    let mut run = workshop.start(&["run", "--json"]);
    let mut peak = 0;
    while run.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", run.id())).unwrap_or_default();
        let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(high.map_or(0, |high| high.trim().trim_end_matches(" kB").parse().unwrap()));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let ended = Ended::of(run.wait_with_output().unwrap()).expect(0);
    (serde_json::from_str(&ended.stdout).unwrap(), peak)
}
