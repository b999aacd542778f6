//! Tests the catalog of a destination: its series, its problems, its marks, and the retention plan.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod cache;
mod former_names;
mod headers;
mod mark;
mod problem;
mod retention;
mod series;
mod untrusted;

use std::collections::BTreeMap;

use longshore_catalog::catalog::{Backup, Catalog, Series};
use longshore_core::event::ignore;
use longshore_core::key::{Key, Timestamp};
use longshore_core::manifest::Manifest;
use longshore_core::subject::Subject;
use longshore_retention::{History, Plan, PlanContext, Policy, SeriesMode, plan};
use longshore_testkit::fake_stage::{dumped, order, pipeline};
use longshore_testkit::memory::MemoryStore;
use longshore_testkit::stream::random;

const TIMES: [&str; 3] = ["2026-06-05_030000", "2026-06-06_030000", "2026-06-07_030000"];

/// Makes a backup of one subject for each time, by `job`.
async fn back_up(store: &MemoryStore, job: &str, subject: &Subject, times: &[&str]) {
    let pipeline = pipeline([("memory", store.clone())]);
    for time in times {
        let order = order(job, subject, time);
        let shipped = pipeline.back_up(&order, dumped(random(1, 1000)), &ignore()).await;
        let delivery = shipped.expect("the dump is sound").deliveries.remove(0);
        delivery.result.expect("the upload succeeds");
    }
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("a valid key")
}

fn series(subject: &str, job: &str) -> Series {
    Series { cluster: "main".into(), subject: Subject::database(subject), job: job.into() }
}

/// Returns the keys that belong to no backup.
fn orphans(catalog: &Catalog) -> Vec<Key> {
    catalog.orphans.iter().map(|orphan| orphan.key.clone()).collect()
}

/// Returns the times of a series' backups, as used in names.
fn times(catalog: &Catalog, series: &Series) -> Vec<String> {
    let backups = catalog.series.get(series).map_or(&[][..], Vec::as_slice);
    backups.iter().map(|backup| backup.manifest.time.to_string()).collect()
}

/// Returns the manifest of format 1 that the tests modify.
fn manifest_of_format_1() -> Manifest {
    let key = key("main/appdb/appdb-2026-06-07_091500.json");
    Manifest::from_bytes(&key, include_bytes!("../../../model/testdata/manifest-1.json")).unwrap()
}

/// Plans several series at noon of the last of [`TIMES`].
fn plan_series<'a>(policy: &Policy, series: impl IntoIterator<Item = &'a [Backup]>) -> Plan {
    let histories: Vec<_> = series
        .into_iter()
        .map(|backups| History {
            backups: backups.iter().map(Backup::candidate).collect(),
            series_mode: SeriesMode::Policy,
        })
        .collect();
    let now = Timestamp::parse("2026-06-07_120000").expect("a valid time").time();
    let context = PlanContext { now, needed: &BTreeMap::new(), trust_clock: false, own_runs: None };
    plan(policy, &histories, context).expect("a valid plan")
}
