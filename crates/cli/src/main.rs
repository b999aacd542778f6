//! Longshore's command line.
//!
//! | file | holds |
//! | --- | --- |
//! | `args.rs` | what can be said |
//! | `command/` | what each verb does, a file each |
//! | `plugins.rs` | the only place that names a plugin |
//! | `output.rs` | the only place that prints |
//! | `progress.rs` | bars on a terminal, lines elsewhere |
//! | `recorder.rs` | the run report of the verb that is executed |
//! | `ask.rs` | secrets from a terminal or the environment |
//! | `signals.rs` | who asks us to end, and what is waited for then |
//! | `zone.rs` | the time zone that times are shown in |
//! | `exit_code.rs` | what a program that called us is told |

mod args;
mod ask;
mod command;
mod exit_code;
mod output;
mod plugins;
mod progress;
mod recorder;
mod signals;
mod zone;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use clap::Parser;
use futures_util::FutureExt;

use crate::args::Args;
use crate::exit_code::Exit;
use crate::output::Output;
use crate::recorder::Recorder;
use crate::signals::Signals;

fn main() -> ExitCode {
    // Nothing that we or our children write is anybody else's to read.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return output::usage(&error).into(),
    };
    args.color.apply();
    let output = Output::new(args.quiet);
    let worked = panic::catch_unwind(|| work(args, &output));
    worked.unwrap_or(Exit::Bug).into()
}

fn work(args: Args, output: &Output) -> Exit {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return output.failure(&format!("cannot start: {error}")),
    };
    let leaves = args.verb.leaves_when_interrupted();
    let recorder = Recorder::default();
    let (exit, left, mut signals) = runtime.block_on(async {
        let mut signals = Signals::listen();
        // A bug in it keeps nothing from being cleaned up.
        let executed = AssertUnwindSafe(command::execute(args, output, &recorder)).catch_unwind();
        let exit = tokio::select! {
            exit = executed => exit.unwrap_or(Exit::Bug),
            exit = signals.first() => output.interrupted(&leaves(), exit),
        };
        recorder.end(exit, &mut signals, output).await;
        (exit, signals::clean_up(&mut signals, output).await, signals)
    });
    signals::shut_down(runtime, left, &mut signals, output);
    match exit {
        Exit::Done if output::was_lost() => Exit::Failed,
        exit => exit,
    }
}
