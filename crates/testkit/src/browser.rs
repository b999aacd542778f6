//! Programs that examine web pages: Playwright, which controls Chromium, axe and html-validate.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::cluster::cache;
use crate::server;

/// The npm packages. Chromium is Debian's.
pub const PACKAGES: [&str; 3] = ["playwright-core@1.65.1", "axe-core@4.14.1", "html-validate@11.21.1"];

/// Returns the path in the cache where the setup installs the packages.
pub fn installation() -> PathBuf {
    cache::folder().join("browser-1")
}

/// Runs a script of Node.js that may require the packages, to its end.
///
/// # Panics
/// If a program is not installed.
pub fn run(script: &Path, arguments: &[&str]) -> Output {
    server::expect_installed(&installation());
    server::expect_installed(Path::new("/usr/bin/chromium"));
    let mut node = Command::new("node");
    node.arg(script).args(arguments).env("NODE_PATH", installation().join("node_modules")).stdin(Stdio::null());
    node.output().expect("node is missing: run `cargo xtask test`, which installs it")
}
