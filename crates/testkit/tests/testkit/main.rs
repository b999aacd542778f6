//! Tests the test kit itself: stores and clusters for tests have the properties that other tests
//! rely on.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod copy;
mod major_versions;
mod memory_store;
mod temporary_clusters;
mod temporary_stores;
