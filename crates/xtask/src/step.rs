//! Commands with a heading and their time.

use std::env;
use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Result;

/// Returns a command for the cargo that runs this program.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// Runs a command under a heading, and prints its duration. The command's output is printed as
/// well.
pub(crate) fn step(heading: &str, command: &mut Command) -> Result<()> {
    println!("==> {heading}");
    let start = Instant::now();
    let status = command.status().map_err(|error| format!("cannot run {heading}: {error}"))?;
    let seconds = start.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("==> {heading}: failed after {seconds:.1} s ({status})"));
    }
    println!("    done in {seconds:.1} s");
    Ok(())
}

/// Returns true if a command succeeds. Its output is discarded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
