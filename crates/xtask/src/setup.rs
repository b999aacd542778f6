//! The setup of a machine for tests and the demo. Installed programs are left unchanged, so a
//! second run costs little.

mod browser;
mod cached;
mod debian;
mod emulator;
mod garage;
mod packaging;
mod postgresql;

use longshore_testkit::cluster::Installation;

use crate::Result;
use crate::tier::Tier;

/// Installs the requirements of a tier of tests, including all major versions of PostgreSQL.
/// Returns the version that is newer than the system's.
pub(crate) fn for_tests(tier: Tier) -> Result<Installation> {
    let system = for_demo()?;
    debian::ensure_scheduler(&system)?;
    debian::ensure_german()?;
    debian::ensure(&debian::CEPH)?;
    debian::ensure(&debian::FILE_SYSTEMS)?;
    debian::ensure(&debian::MONITORING)?;
    debian::ensure(&debian::PACKAGING)?;
    if tier == Tier::All {
        debian::ensure(&debian::CLOCK)?;
        browser::ensure()?;
    }
    garage::ensure()?;
    emulator::ensure()?;
    packaging::ensure()?;
    postgresql::ensure(&system)
}

/// Installs the requirements of benchmarks with a database. Returns the newest available
/// PostgreSQL.
pub(crate) fn for_bench() -> Result<Installation> {
    postgresql::ensure(&for_demo()?)
}

/// Installs the store of the upload benchmark, and the programs of the scripts in the comparison.
pub(crate) fn for_ship_bench() -> Result<()> {
    garage::ensure()?;
    debian::ensure(&debian::SCRIPT_PROGRAMS)
}

/// Installs the file systems of the snapshot benchmark.
pub(crate) fn for_snapshot_bench() -> Result<()> {
    debian::ensure(&debian::FILE_SYSTEMS)
}

/// Installs the requirements of the demo. Returns the system's PostgreSQL.
pub(crate) fn for_demo() -> Result<Installation> {
    debian::ensure(&debian::REQUIRED)?;
    debian::check_server_user()?;
    Installation::find_system()
        .ok_or_else(|| "package postgresql is installed, but no server in /usr/lib/postgresql runs".to_owned())
}
