//! Tests the skeletons of programs and the example for rclone as destinations.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use longshore_core::plugin::{Plugin, StoreContext};
use longshore_core::stage::Store;
use longshore_ship_exec::Exec;
use longshore_testkit::conformance::{Fixture, Race, Scale};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Returns a destination that the program reaches, in a folder that is deleted after the test.
fn store(program: &Path, settings: impl Fn(&Path) -> Value) -> (TempDir, Box<dyn Store>) {
    let folder = tempfile::tempdir().unwrap();
    let settings = json!({
        "program": [program],
        "protocol": "longshore-exec/1",
        "hello_timeout": "60s",
        "settings": settings(folder.path()),
        "env": { "RCLONE_CONFIG": "/dev/null" },
    });
    let exec: Exec = serde_json::from_value(settings).unwrap();
    (folder, exec.build(&StoreContext::default()).unwrap())
}

/// Writes a skeleton beside the objects' folder.
fn skeleton(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    fs::write(&path, text.replace("NAME", "test")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    (folder, path)
}

/// Programs start for each operation, so long lists are of files that the test creates itself.
fn scale() -> Scale {
    Scale { large_bytes: 8 << 20, many_keys: 2_000, ..Scale::default() }
}

fn fixture(program: &Path, race: Race, keep: TempDir, settings: impl Fn(&Path) -> Value) -> Fixture {
    let (folder, store) = store(program, settings);
    let path = folder.path().to_owned();
    Fixture::new(store, (folder, keep)).scaled(scale()).racing(race).in_folder(path)
}

mod python {
    use super::*;

    async fn destination() -> Fixture {
        let (keep, program) = skeleton(include_str!("../../../crates/exec/src/skeleton/skeleton.py"));
        fixture(&program, Race::One, keep, |path| json!({ "path": path }))
    }

    longshore_testkit::conformance_tests! {
        destination,
        stores_bodies_of_any_length,
        never_overwrites_a_key,
        racing_writers_store_one_whole_body,
        failed_bodies_leave_nothing,
        dropped_uploads_leave_nothing,
        fetches_ranges,
        rejects_ranges_past_the_end,
        missing_keys_are_not_found,
        lists_one_folder,
        removing_a_missing_key_succeeds,
    }

    mod slow {
        longshore_testkit::store_conformance!(super::destination);
    }
}

mod shell {
    use super::*;

    async fn destination() -> Fixture {
        let (keep, program) = skeleton(include_str!("../../../crates/exec/src/skeleton/skeleton.sh"));
        fixture(&program, Race::One, keep, |path| json!({ "path": path }))
    }

    mod slow {
        longshore_testkit::store_conformance!(super::destination);
    }
}

mod rclone {
    use super::*;

    async fn destination() -> Fixture {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../exec-examples/rclone");
        let program = program.canonicalize().unwrap();
        let keep = tempfile::tempdir().unwrap();
        // A remote without create-only requests: of two writers at the same time, the last one
        // wins.
        fixture(&program, Race::Latest, keep, |path| json!({ "remote": path }))
    }

    #[tokio::test]
    async fn stores_and_reads_an_object() {
        longshore_testkit::conformance::stores_bodies_of_any_length(&destination().await).await;
    }

    #[tokio::test]
    async fn failed_bodies_leave_nothing() {
        longshore_testkit::conformance::failed_bodies_leave_nothing(&destination().await).await;
    }

    mod slow {
        longshore_testkit::store_conformance!(super::destination);
    }
}

#[test]
fn plain_command_is_refused() {
    let exec: Exec = serde_json::from_value(json!({ "program": ["/bin/cat"] })).unwrap();
    let error = exec.build(&StoreContext::default()).err().unwrap();
    assert!(error.to_string().contains("needs a program of the protocol"), "{error}");
    assert!(error.remedy().is_some_and(|hint| hint.contains("longshore-exec/1")), "{error:?}");
}
