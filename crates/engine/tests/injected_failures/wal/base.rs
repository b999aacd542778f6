//! Base backups whose recovery needs archived WAL, and their removal with the WAL.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use longshore_core::key::{BackupName, Key, Timestamp};
use longshore_core::manifest::Manifest;
use longshore_core::meter::Digest;
use longshore_engine::prune::{Pruned, prune};
use longshore_testkit::injection::Fault;

use super::server::system_identifier;
use super::source::SEGMENT_BYTES;
use super::wal_env::WalEnv;
use crate::env::DESTINATIONS;
use crate::on_own_clock;
use crate::verb::prune_request;

/// The recovery window of the archive, in days.
pub(super) const WINDOW_DAYS: i64 = 5;

/// A base backup that begins and ends in one segment of the first timeline.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) name: BackupName,
    pub(super) segment: u64,
    pub(super) age_days: i64,
}

impl WalEnv {
    /// Stores a base backup at both destinations.
    pub(super) fn put_base(&self, segment: u64, age_days: i64) -> Base {
        let example = include_bytes!("../../../../model/testdata/manifest-2.json");
        let key = Key::parse("main/base/base-2026-11-29_030000.json").unwrap();
        let mut manifest = Manifest::from_bytes(&key, example).unwrap();
        let finished = Utc::now() - TimeDelta::days(age_days);
        let start = segment * SEGMENT_BYTES as u64;
        manifest.job = "nightly".to_owned();
        manifest.time = Timestamp::new(finished);
        manifest.finished = finished;
        manifest.run = format!("{}-0", manifest.time);
        manifest.artifact.sealed = Digest::of(b"abc");
        manifest.artifact.key = manifest.name().unwrap().artifact(".base.tar.zst.xor").unwrap();
        manifest.details = None;
        manifest.cluster.server.system_identifier = Some(system_identifier().to_string());
        manifest.base = serde_json::from_value(serde_json::json!({
            "timeline": 1, "start_lsn": lsn(start + 0x28), "stop_lsn": lsn(start + 0x130), "wal": "archive",
            "wal_segment_bytes": SEGMENT_BYTES, "from_standby": false, "page_checksums": true, "settings": {},
            "files": 1, "file_bytes": 3, "finished": finished
        }))
        .unwrap();
        let name = manifest.name().unwrap();
        for destination in DESTINATIONS {
            let store = self.env.shared.stores[destination].inner();
            store.put(&manifest.artifact.key, "abc");
            store.put(&name.manifest(), manifest.to_bytes().unwrap());
        }
        Base { name, segment, age_days }
    }

    /// Prunes while one call fails. Returns true if it succeeded.
    pub(super) fn prune(&self, fault: Option<(usize, Fault)>) -> bool {
        let injector = self.env.shared.injector.clone();
        injector.arm(fault);
        let pruned = on_own_clock(async {
            let request = prune_request();
            tokio::select! {
                pruned = prune(&self.env.config, &request) => Some(pruned),
                () = injector.killed() => None,
            }
        });
        pruned.and_then(Result::ok).is_some_and(|pruned| pruned.iter().all(Pruned::succeeded))
    }

    /// Returns the backups that a destination has.
    pub(super) fn bases_at<'a>(&self, destination: &str, bases: &'a [Base]) -> Vec<&'a Base> {
        let keys: BTreeSet<Key> = self.env.shared.stores[destination].inner().keys().into_iter().collect();
        bases.iter().filter(|base| keys.contains(&base.name.manifest())).collect()
    }
}

/// Returns true if the recovery of one of these backups, to any moment of the window, needs a
/// segment of either timeline, by its number.
pub(super) fn is_needed(bases: &[&Base], segment: u64) -> bool {
    let before_window = bases.iter().filter(|base| base.age_days > WINDOW_DAYS).min_by_key(|base| base.age_days);
    let oldest = before_window.or_else(|| bases.iter().max_by_key(|base| base.age_days));
    oldest.is_none_or(|oldest| segment >= oldest.segment) || bases.iter().any(|base| base.segment == segment)
}

/// Returns the number of the segment of this name, if it is one.
pub(super) fn number(name: &str) -> Option<u64> {
    let (log, segment) = (name.get(8..16)?, name.get(16..24)?);
    let [log, segment] = [log, segment].map(|digits| u64::from_str_radix(digits, 16));
    Some(log.ok()? * ((1 << 32) / SEGMENT_BYTES as u64) + segment.ok()?)
}

fn lsn(position: u64) -> String {
    format!("{:X}/{:X}", position >> 32, position & 0xFFFF_FFFF)
}
