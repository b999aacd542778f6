//! Tools to build, test and demonstrate Longshore on a new machine.
//!
//! | module | contents |
//! | --- | --- |
//! | `test` | `cargo xtask test`: the checks before a commit; with `--all`, also the slow tests |
//! | `tier` | the tests of a tier |
//! | `memory` | a folder in memory for the temporary files of tests |
//! | `demo` | `cargo xtask demo`: a day of backups, from the first command to a restored cluster |
//! | `bench` | `cargo xtask bench`: Longshore's cost, compared with alternatives |
//! | `setup` | installation: Debian packages, PostgreSQL 16 to 18, object stores |
//! | `step` | commands with a heading and their time |
#![allow(clippy::print_stdout, clippy::print_stderr)] // this program prints to a terminal

mod bench;
mod demo;
mod memory;
mod setup;
mod step;
mod test;
mod tier;

use std::process::ExitCode;

use tier::Tier;

const USAGE: &str = "\
usage: cargo xtask test [--all] [-- ARGUMENTS OF THE TEST RUNNER]
       cargo xtask demo
       cargo xtask bench [NAMES OF BENCHMARKS] [--scale N] [--rounds N] [--against PROGRAM,PROGRAM] [--json FILE]

`test` skips the tests in modules named `slow`; `test --all` runs all tests.
All commands install missing Debian packages, as root or with sudo.";

/// The result of a task, with an error message for the user.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test"] => test::run(Tier::Commit, &[]),
        ["test", "--", runner @ ..] => test::run(Tier::Commit, runner),
        ["test", "--all"] => test::run(Tier::All, &[]),
        ["test", "--all", "--", runner @ ..] => test::run(Tier::All, runner),
        ["demo"] => demo::run(),
        ["bench", words @ ..] => bench::run(words),
        // Used by bench to measure each command in its own process.
        ["measure", command] => bench::measure(command),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
