//! Tests a directory as a destination: the conformance tests, and the behaviour of a file system.

// Allows unwrap in helpers: a failure there fails the test.
#![allow(clippy::unwrap_used)]

mod atomic_write;
mod conformance;
mod disk_full;
mod list;
mod permission;
mod refused;

use std::fs;
use std::path::{Path, PathBuf};

use longshore_core::key::Key;
use longshore_core::plugin::{Plugin, StoreContext};
use longshore_core::stage::Store;
use longshore_ship_local::Local;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Returns a destination in `path`, with additional settings.
fn local(path: &Path, more: Value) -> Box<dyn Store> {
    let mut settings = json!({ "path": path, "min_free": "0" });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value::<Local>(settings).unwrap().build(&StoreContext::default()).unwrap()
}

/// Returns a destination in a directory that is deleted after the test.
fn temporary() -> (TempDir, Box<dyn Store>) {
    let folder = tempfile::tempdir().unwrap();
    let store = local(folder.path(), json!({}));
    (folder, store)
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

/// Returns every file below `folder`, including hidden ones.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
