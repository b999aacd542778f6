//! The browser that examines the pages of the service, and its packages in the cache.

use std::process::Command;

use longshore_testkit::browser;

use super::{cached, debian};
use crate::Result;
use crate::step::step;

/// Installs the browser and its packages if they are missing.
pub(super) fn ensure() -> Result<()> {
    debian::ensure(&debian::BROWSER)?;
    cached::ensure(&browser::installation(), &|target| {
        debian::ensure(&debian::NODE)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-fund", "--no-audit", "--prefix"]).arg(target).args(browser::PACKAGES);
        step(&format!("npm packages {} into {}", browser::PACKAGES.join(" "), target.display()), &mut npm)
    })
}
