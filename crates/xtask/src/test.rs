//! `cargo xtask test`: everything that must hold before a commit, on a machine that has Rust and nothing else.

use std::env;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Instant;

use longshore_testkit::cluster::{NEWER, cache};

use crate::step::{cargo, step, succeeds};
use crate::tier::{Runner, Tier};
use crate::{Result, setup};

/// How many tests nextest runs at once. They wait for servers to start and to end for half of their time, so that there are more than there
/// are processors.
const THREADS: &str = "NEXTEST_TEST_THREADS";

/// Sets the machine up, then checks format, lints, documentation and the tests of a tier, and stops at the first that fails.
pub(crate) fn run(tier: Tier, arguments: &[&str]) -> Result<()> {
    let start = Instant::now();
    let newer = setup::for_tests()?;
    let mut variables = vec![(NEWER, newer.bin_dir.into_os_string())];
    // A CI machine starts from a fresh checkout each time; with the target folder there, each run would compile all
    // dependencies again. A person's checkout keeps its own.
    if env::var("CI").is_ok_and(|ci| ci == "true") && env::var_os("CARGO_TARGET_DIR").is_none() {
        let target = cache::folder().join("target");
        fs::create_dir_all(&target).map_err(|error| format!("cannot make {}: {error}", target.display()))?;
        println!("==> building in {}, which outlives this checkout", target.display());
        variables.push(("CARGO_TARGET_DIR", target.into_os_string()));
    }
    if env::var_os(THREADS).is_none() {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        variables.push((THREADS, (processors * 3).div_ceil(2).to_string().into()));
    }
    let run = |arguments: &[&str], adjust: &dyn Fn(&mut Command)| {
        let mut command = cargo();
        command.args(arguments).envs(variables.clone());
        adjust(&mut command);
        step(&format!("cargo {}", arguments.join(" ")), &mut command)
    };
    run(&["fmt", "--all", "--check"], &|_| {})?;
    run(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &|_| {})?;
    run(&["doc", "--workspace", "--no-deps"], &|doc| {
        doc.env("RUSTDOCFLAGS", "-D warnings");
    })?;
    let runner = if succeeds(cargo().args(["nextest", "--version"])) {
        Runner::Nextest
    } else {
        println!("    cargo-nextest is not installed, so cargo test runs the tests: slower, and they share processes");
        Runner::Cargo
    };
    run(&tier.arguments(runner, arguments), &|_| {})?;
    run(&["test", "--doc", "--workspace"], &|_| {})?;
    println!("==> all of it holds, in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
