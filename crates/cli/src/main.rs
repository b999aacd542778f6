//! Longshore's command line.
//!
//! | file | holds |
//! | --- | --- |
//! | `args.rs` | what can be said |
//! | `command/` | what each verb does, a file each |
//! | `plugins.rs` | the only place that names a plugin |
//! | `output.rs` | the only place that prints |
//! | `progress.rs` | bars on a terminal, lines elsewhere |
//! | `ask.rs` | secrets from a terminal or the environment |
//! | `exit_code.rs` | what a program that called us is told |

mod args;
mod ask;
mod command;
mod exit_code;
mod output;
mod plugins;
mod progress;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use longshore_core::aftercare;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Args;
use crate::exit_code::Exit;
use crate::output::Output;

/// How long what was interrupted may take to clean up: elsewhere, and then here.
const CLEAN_UP: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    // Nothing that we or our children write is anybody else's to read.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return output::usage(&error).into(),
    };
    let output = Output::new(args.quiet);
    let worked = std::panic::catch_unwind(|| work(args, &output));
    worked.unwrap_or(Exit::Bug).into()
}

fn work(args: Args, output: &Output) -> Exit {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return output.failure(&format!("cannot start: {error}")),
    };
    let leaves = args.verb.leaves_when_interrupted();
    let exit = runtime.block_on(async {
        // Whoever listens for it is not ended by it: a file that grew too large is an error of its write, then, as a full disk is.
        let _too_large = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
        tokio::select! {
            exit = command::execute(args, output) => exit,
            exit = interrupted() => output.interrupted(&leaves(), exit),
        }
    });
    runtime.block_on(async {
        // Who asks twice does not want to wait.
        tokio::select! {
            _ = tokio::time::timeout(CLEAN_UP, aftercare::done()) => {}
            _ = interrupted() => {}
        }
    });
    runtime.shutdown_timeout(CLEAN_UP);
    match exit {
        Exit::Done if output::was_lost() => Exit::Failed,
        exit => exit,
    }
}

/// Waits for a signal that asks us to end. What is under way is dropped then, which undoes it.
async fn interrupted() -> Exit {
    let wait = async |kind| match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => Exit::Interrupted,
        () = wait(SignalKind::terminate()) => Exit::Terminated,
        () = wait(SignalKind::hangup()) => Exit::HungUp,
    }
}
