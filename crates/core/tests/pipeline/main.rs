//! Tests the pipeline and the settings of stores with destinations in memory: a backup is complete
//! or absent, reading back finds every damage, and a stalled destination times out.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod backup;
mod difference;
mod edited_archives;
mod read_back;
mod store;

use longshore_core::key::Key;
use longshore_core::pipeline::BackupSpec;
use longshore_core::subject::Subject;
use longshore_testkit::fake_stage;

/// Returns the order for the backup that the tests make.
fn order() -> BackupSpec {
    fake_stage::order("nightly", &Subject::database("appdb"), "2026-06-07_091500")
}

/// Returns the key of the artifact of that backup, without compression and encryption.
fn artifact() -> Key {
    Key::parse("main/appdb/appdb-2026-06-07_091500.dump").unwrap()
}
