//! The requirements of plugins, and tools to test them. For tests only.
//!
//! | module | contents |
//! | --- | --- |
//! | [`conformance`] | the requirements of all destinations, with one function per behaviour |
//! | [`memory`] | a destination in memory that fails, hangs and damages data on purpose |
//! | [`injection`] | one fault in one numbered call of an operation |
//! | [`stream`] | streams that fail on purpose, and streams of any length |
//! | [`fake_stage`] | fake stages: a dump, a verifier and an encryption |
//! | [`sample_backups`] | the times of many backups, and files that look like backups |
//! | [`proxy`] | a proxy that cuts, stalls, throttles and corrupts connections |
//! | [`garage`], [`ceph`], [`gcs`], [`azurite`] | temporary object stores, two of them emulators |
//! | [`cluster`], [`sample`] | temporary PostgreSQL clusters, and sample databases |
//! | [`helm`], [`container_base`] | checks of Helm charts; the base image of container tests |
//! | [`browser`] | programs that examine web pages |
//! | [`loop_mount`] | file systems that can make snapshots |
//! | [`pgbouncer`], [`session_pool`] | two kinds of connection poolers in front of a cluster |
//! | [`restic`] | a restic repository with snapshots of any date |
//! | [`sshd`] | a temporary SSH server with several kinds of accounts |
//! | [`folder_conformance`] | requirements of destinations that are a folder of files |
//! | [`ssh_conformance`](mod@ssh_conformance) | requirements of destinations behind SSH |

// A panic here fails the test at the right line.
#![allow(clippy::unwrap_used)]

pub mod azurite;
pub mod browser;
pub mod ceph;
pub mod cluster;
pub mod conformance;
pub mod container_base;
pub mod fake_stage;
pub mod folder_conformance;
pub mod garage;
pub mod gcs;
pub mod helm;
pub mod injection;
pub mod loop_mount;
pub mod memory;
pub mod pgbouncer;
pub mod port;
pub mod proxy;
pub mod restic;
pub mod sample;
pub mod sample_backups;
mod server;
pub mod session_pool;
pub mod ssh_conformance;
pub mod sshd;
pub mod stream;
