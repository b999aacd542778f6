//! Longshore's command line.
//!
//! | file | holds |
//! | --- | --- |
//! | `args.rs` | verbs, flags and help |
//! | `command/` | the verbs, one file each |
//! | `complete.rs` | completions of command lines, for shells |
//! | `plugins.rs` | the list of plugins; no other file names one |
//! | `output.rs` | all printing |
//! | `progress.rs` | progress bars on a terminal, lines elsewhere |
//! | `log.rs` | the log of `--verbose` and `LONGSHORE_LOG` |
//! | `recorder.rs` | the run report of the current verb, its hooks and notices |
//! | `prompt.rs` | secrets from a terminal or the environment |
//! | `signals.rs` | signals, and cleanup before exit |
//! | `time_zone.rs` | the time zone of printed times |
//! | `exit_code.rs` | exit codes |

mod args;
mod command;
mod complete;
mod exit_code;
mod log;
mod output;
mod plugins;
mod progress;
mod prompt;
mod recorder;
mod signals;
mod time_zone;

use std::io::IsTerminal;
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::process::ExitCode;

use futures_util::FutureExt;
use longshore_core::cleanup::CleanupScope;

use crate::args::Args;
use crate::args::wal::Caller;
use crate::exit_code::Exit;
use crate::output::Output;
use crate::progress::RestoreStates;
use crate::recorder::Recorder;
use crate::signals::{OrderlyStop, Signals};

fn main() -> ExitCode {
    // Files of this process and its children are readable by their owner only.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if let Some(exit) = complete::answer(std::env::args_os()) {
        return exit;
    }
    // PostgreSQL acts on the exit code also if the command line is invalid.
    let caller = Caller::of(std::env::args_os());
    panic::catch_unwind(|| start(caller)).unwrap_or(Exit::Bug).code(caller)
}

fn start(caller: Caller) -> Exit {
    let args = match Args::of_process() {
        Ok(args) => args,
        Err(error) => {
            let exit = Output::new(false).usage(&error);
            // Help delivers no file, and PostgreSQL reads no help.
            let is_read = caller != Caller::RestoreCommand || std::io::stdout().is_terminal();
            return if is_read { exit } else { Exit::Usage };
        }
    };
    args.color.apply();
    let output = Output::new(args.quiet);
    if let Err(error) = log::start(args.verbose, output) {
        return output.error(&error);
    }
    work(args, &output)
}

fn work(args: Args, output: &Output) -> Exit {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return output.failure(&format!("cannot start the async runtime: {error}")),
    };
    let interrupted_state = args.verb.state_after_interrupt();
    let (recorder, restore_states, stop) = (Recorder::default(), RestoreStates::default(), OrderlyStop::default());
    let cleanup = CleanupScope::default();
    let (exit, left, mut signals) = runtime.block_on(cleanup.run(async {
        let mut signals = Signals::listen();
        let exit = {
            // A panic must not prevent cleanup.
            let executed = command::execute(args, output, &recorder, &restore_states, &stop);
            let mut executed = pin!(AssertUnwindSafe(executed).catch_unwind());
            tokio::select! {
                exit = &mut executed => exit.unwrap_or(Exit::Bug),
                signal = signals.first_end(&stop) => match stop.request() {
                    false => output.interrupted(&interrupted_state(&restore_states), signal),
                    true => tokio::select! {
                        exit = executed => exit.unwrap_or(Exit::Bug),
                        () = signals.second() => output.interrupted(&interrupted_state(&restore_states), signal),
                    },
                },
            }
        };
        let exit = recorder.hooks_after(exit, &cleanup, &mut signals, output).await;
        recorder.end(exit, &mut signals, output).await;
        (exit, signals::clean_up(&cleanup, &mut signals, output).await, signals)
    }));
    signals::shut_down(runtime, left, &mut signals, output);
    match exit {
        Exit::Done if output.was_lost() => Exit::Failed,
        exit => exit,
    }
}
