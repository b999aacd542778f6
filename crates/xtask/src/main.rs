//! What a fresh machine needs to build, test and show Longshore.
//!
//! | module | holds |
//! | --- | --- |
//! | `test` | `cargo xtask test`: everything that must hold before a commit; with `--all`, the slow tests, too |
//! | `tier` | which tests a tier runs |
//! | `demo` | `cargo xtask demo`: a day of backups, from the first command to a restored cluster |
//! | `bench` | `cargo xtask bench`: what Longshore costs, against what a user would run instead |
//! | `setup` | what they install: Debian packages, PostgreSQL 16 to 18, object stores |
//! | `step` | commands with a heading and their time |
#![allow(clippy::print_stdout, clippy::print_stderr)] // talking to a person is this program's work

mod bench;
mod demo;
mod setup;
mod step;
mod test;
mod tier;

use std::process::ExitCode;

use tier::Tier;

const USAGE: &str = "\
usage: cargo xtask test [--all] [-- ARGUMENTS OF THE TEST RUNNER]
       cargo xtask demo
       cargo xtask bench [NAMES OF BENCHES] [--scale N] [--rounds N] [--against PROGRAM,PROGRAM] [--json FILE]

`test` leaves out the tests in modules named `slow`; `test --all` runs them, too.
All commands install the Debian packages that are missing, as root or through sudo.";

/// What went wrong, for a person.
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
        // What bench runs itself as, so that each command is counted alone.
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
