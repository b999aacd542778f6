//! A retention policy can be simulated before it removes any backup.

use std::fs;

use crate::support::{Job, Workshop};

#[test]
fn what_a_policy_would_keep_is_shown_as_a_table_as_json_and_as_a_picture() {
    let workshop = Workshop::new();
    workshop.configure(&Job { more: "retention = 'two'\n[retention.two]\nkeep_last = 2", ..Job::default() });
    let simulate =
        ["retention", "simulate", "--policy", "two", "--every", "6h", "--for", "30d", "--start", "2026-01-01"];
    let told =
        workshop.longshore(&simulate).expect(0).says("END OF DAY").says("2 backups of 120 runs; at most 3 at once");
    told.says("Fri 2026-01-30 18:00").says("newest, last");
    let on = [&simulate[..], &["--on", "2026-01-01", "--size", "10GB", "--json"]].concat();
    let simulated = workshop.json(&on);
    assert_eq!((&simulated["runs"], &simulated["backup_bytes"]), (&4.into(), &10_000_000_000_u64.into()));
    assert_eq!(simulated["survivors"][0]["reasons"], serde_json::json!(["newest", "last"]));
    let picture = workshop.path("two.svg");
    let draw = [&simulate[..], &["--svg", picture.to_str().unwrap()]].concat();
    workshop.longshore(&draw).expect(0);
    let drawn = fs::read_to_string(&picture).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.ends_with("</svg>\n"));
    workshop.longshore(&draw).expect(6).says("files are never overwritten");
    assert_eq!(fs::read_to_string(&picture).unwrap(), drawn);
    let none = ["retention", "simulate", "--policy", "none", "--every", "1d", "--for", "1y"];
    workshop.longshore(&none).expect(1).says("the policies are \"two\"");
}
