//! What every plugin must prove, and what it takes to prove it. For tests alone.
//!
//! | module | holds |
//! | --- | --- |
//! | [`conformance`] | what every destination must prove, a function per behaviour |
//! | [`memory`] | a destination in memory that fails, hangs and lies damaged on purpose |
//! | [`injection`] | one fault in one numbered call of all that a piece of work makes |
//! | [`stream`] | streams that fail on purpose, and ones of any length |
//! | [`stage`] | a dump, a judge and a seal that do as they are told |
//! | [`runs`] | backups that are many: when they were made, and files that look like them |
//! | [`proxy`] | a network in between that cuts, stalls, throttles and corrupts |
//! | [`garage`], [`ceph`], [`gcs`], [`azurite`] | throwaway object stores: two real ones that speak S3, emulators of the others |
//! | [`cluster`], [`sample`] | throwaway PostgreSQL clusters, and databases worth backing up |
//! | [`pgbouncer`], [`session_pool`] | connection poolers of two kinds in front of a cluster |
//! | [`restic`] | a restic repository with snapshots of any date |
//! | [`sshd`] | a throwaway SSH server, with accounts of every kind |
//! | [`folder`] | what every destination that is a folder of files must prove besides |
//! | [`behind_ssh`](mod@behind_ssh) | what every destination behind such a server must prove besides |

// What fails here fails a test, at the line where it fails.
#![allow(clippy::unwrap_used)]

pub mod azurite;
pub mod behind_ssh;
pub mod ceph;
pub mod cluster;
pub mod conformance;
pub mod folder;
pub mod garage;
pub mod gcs;
pub mod injection;
pub mod memory;
pub mod pgbouncer;
mod port;
pub mod proxy;
pub mod restic;
pub mod runs;
pub mod sample;
mod server;
pub mod session_pool;
pub mod sshd;
pub mod stage;
pub mod stream;
