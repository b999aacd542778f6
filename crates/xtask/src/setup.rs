//! Makes a machine fit for tests and the demo. What is there already is left alone, so a second run costs nothing.

mod debian;
mod emulator;
mod garage;
mod postgresql;

use longshore_testkit::cluster::Installation;

use crate::Result;

/// Installs what the tests need, every major version of PostgreSQL included; returns the one that is newer than the system's.
pub(crate) fn for_tests() -> Result<Installation> {
    let system = for_demo()?;
    debian::ensure_scheduler(&system)?;
    debian::ensure_german()?;
    debian::ensure(&debian::CEPH)?;
    garage::ensure()?;
    emulator::ensure()?;
    postgresql::ensure(&system)
}

/// Installs what a database takes to measure on; returns the newest PostgreSQL that is to be had.
pub(crate) fn for_bench() -> Result<Installation> {
    postgresql::ensure(&for_demo()?)
}

/// Installs the store that is measured, and what scripts call that Longshore is measured against.
pub(crate) fn for_ship_bench() -> Result<()> {
    garage::ensure()?;
    debian::ensure(&debian::PEERS)
}

/// Installs what the demo needs; returns the system's PostgreSQL.
pub(crate) fn for_demo() -> Result<Installation> {
    debian::ensure(&debian::NEEDED)?;
    debian::check_server_user()?;
    Installation::find_system()
        .ok_or_else(|| "package postgresql is installed, but /usr/lib/postgresql holds no server that runs".to_owned())
}
