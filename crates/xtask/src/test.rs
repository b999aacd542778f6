//! `cargo xtask test`: the checks before a commit, on a machine with only Rust installed.

use std::env;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Instant;

use longshore_testkit::cluster::{Installation, NEWER, cache};

use crate::step::{cargo, step, succeeds};
use crate::tier::{Runner, Tier, wal_tests};
use crate::{Result, memory, setup};

/// The number of concurrent tests in nextest. Tests wait half of their time for servers to start
/// and stop, so it exceeds the number of processors.
const THREADS: &str = "NEXTEST_TEST_THREADS";

/// Sets up the machine, then checks format, lints, documentation and the tests of a tier. Stops at
/// the first failure.
pub(crate) fn run(tier: Tier, arguments: &[&str]) -> Result<()> {
    let start = Instant::now();
    let newer = setup::for_tests(tier)?;
    let mut variables = vec![(NEWER, newer.bin_dir.clone().into_os_string())];
    // CI starts from a new checkout each time and would compile all dependencies again, so its
    // target folder is outside the checkout.
    if env::var("CI").is_ok_and(|ci| ci == "true") && env::var_os("CARGO_TARGET_DIR").is_none() {
        let target = cache::folder().join("target");
        fs::create_dir_all(&target).map_err(|error| format!("cannot create {}: {error}", target.display()))?;
        println!("==> building in {}, outside this checkout", target.display());
        variables.push(("CARGO_TARGET_DIR", target.into_os_string()));
    }
    if env::var_os(THREADS).is_none() {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        variables.push((THREADS, (processors * 3).div_ceil(2).to_string().into()));
    }
    // The slow tests need more space than memory has.
    let in_memory = if tier == Tier::Commit { memory::folder() } else { None };
    if let Some(folder) = in_memory {
        println!("==> temporary files of tests are in {}", folder.display());
        variables.push(("TMPDIR", folder.into()));
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
        println!(
            "    cargo-nextest is not installed: cargo test runs the tests instead, slower and in shared processes"
        );
        Runner::Cargo
    };
    run(&tier.arguments(runner, arguments), &|_| {})?;
    if tier == Tier::All {
        for other in Installation::all().into_iter().filter(|other| other.major != newer.major) {
            println!("==> archived WAL with PostgreSQL {}", other.major);
            run(&wal_tests(runner), &|tests| {
                tests.env(NEWER, &other.bin_dir);
            })?;
        }
    }
    println!("==> all checks passed in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
