//! A retention policy can be simulated before it removes any backup.

use std::fs;

use crate::support::{Job, TestEnv};

#[test]
fn simulation_prints_table_json_and_chart() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { more: "retention = 'two'\n[retention.two]\nkeep_last = 2", ..Job::default() });
    let simulate =
        ["retention", "simulate", "--policy", "two", "--every", "6h", "--for", "30d", "--start", "2026-01-01"];
    let result =
        test_env.longshore(&simulate).expect(0).shows("END OF DAY").shows("2 backups of 120 runs; at most 3 at once");
    result.shows("Fri 2026-01-30 18:00").shows("newest, last");
    let on = [&simulate[..], &["--on", "2026-01-01", "--size", "10GB", "--json"]].concat();
    let simulated = test_env.json(&on);
    assert_eq!((&simulated["runs"], &simulated["backup_bytes"]), (&4.into(), &10_000_000_000_u64.into()));
    assert_eq!(simulated["survivors"][0]["reasons"], serde_json::json!(["newest", "last"]));
    let picture = test_env.path("two.svg");
    let draw = [&simulate[..], &["--svg", picture.to_str().unwrap()]].concat();
    test_env.longshore(&draw).expect(0);
    let drawn = fs::read_to_string(&picture).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.ends_with("</svg>\n"));
    test_env.longshore(&draw).expect(6).shows("files are never overwritten");
    assert_eq!(fs::read_to_string(&picture).unwrap(), drawn);
    let none = ["retention", "simulate", "--policy", "none", "--every", "1d", "--for", "1y"];
    test_env.longshore(&none).expect(1).shows("the policies are \"two\"");
}

#[test]
fn simulated_differences_keep_their_full_backup() {
    let test_env = TestEnv::new();
    test_env.configure(&Job { more: "retention = 'daily'\n[retention.daily]\nkeep_daily = 3", ..Job::default() });
    let simulate = [
        "retention",
        "simulate",
        "--policy",
        "daily",
        "--every",
        "1d",
        "--for",
        "12d",
        "--start",
        "2026-01-01",
        "--full-every",
        "7d",
        "--size",
        "1GB",
        "--difference-size",
        "50MB",
    ];
    let result = test_env.longshore(&simulate).expect(0).shows("4 backups (1.07 GiB) of 12 runs; at most 5 (2.00 GiB)");
    result.shows("difference").shows("Thu 2026-01-08 00:00").shows("needed by");
    test_env
        .longshore(&simulate[..12].iter().copied().chain(["--difference-size", "50MB"]).collect::<Vec<_>>())
        .expect(0);
    let without: Vec<_> = simulate[..10].iter().copied().chain(["--difference-size", "50MB"]).collect();
    test_env.longshore(&without).expect(1).shows("--full-every");
}
