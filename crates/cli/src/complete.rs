//! Completions of command lines, with the names of the configuration and of this host's backups.
//!
//! A shell runs a script that calls `longshore __complete SHELL -- WORDS`, where the last word is
//! the one to complete. The answer has a line for each candidate. There is no answer in place of an
//! error, and none after a delay: completions read only the configuration and the run reports of
//! this host.

mod names;

use std::ffi::OsString;
use std::panic;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use clap::{Arg, Command, ValueHint};
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};

use self::names::{Names, Wanted};
use crate::args;
use crate::output::Output;

/// The first argument of a request.
const REQUEST: &str = "__complete";
/// The time limit of an answer: a file system may hang.
const TIME_LIMIT: Duration = Duration::from_millis(500);

/// Answers the request of a completion script. Returns `None` for any other command line.
pub(crate) fn answer(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != REQUEST {
        return None;
    }
    let shell = arguments.next().unwrap_or_default();
    let words: Vec<OsString> = arguments.skip(1).collect();
    // A message of a bug would break the line that is being edited.
    panic::set_hook(Box::new(|_| {}));
    let (sender, receiver) = mpsc::channel();
    // The process ends without the thread.
    thread::spawn(move || {
        // Fails after the time limit.
        sender.send(candidates(words)).unwrap_or_default();
    });
    let candidates = receiver.recv_timeout(TIME_LIMIT).unwrap_or_default();
    let lines: String = candidates.iter().map(|candidate| line(&shell.to_string_lossy(), candidate)).collect();
    Output::new(true).bytes(lines.as_bytes());
    Some(ExitCode::SUCCESS)
}

/// Returns the script that asks for completions, for shells whose completions have names.
pub(crate) fn script(shell: Shell) -> Option<&'static str> {
    match shell {
        Shell::Bash => Some(include_str!("complete/longshore.bash")),
        Shell::Fish => Some(include_str!("complete/longshore.fish")),
        Shell::Zsh => Some(include_str!("complete/longshore.zsh")),
        _ => None,
    }
}

/// Returns the candidates for the last word.
fn candidates(words: Vec<OsString>) -> Vec<CompletionCandidate> {
    let Some(current) = words.last().map(|word| word.to_string_lossy().into_owned()) else { return Vec::new() };
    let names = Arc::new(Names::of(&words));
    let last = words.len() - 1;
    let mut command = with_names(args::command(), &names);
    let mut candidates = complete(&mut command, words, last, None).unwrap_or_default();
    // Flags are offered for a word that begins like one, or where nothing else is possible.
    let is_flag = |candidate: &CompletionCandidate| candidate.get_value().as_encoded_bytes().starts_with(b"-");
    if !current.starts_with('-') && candidates.iter().any(|candidate| !is_flag(candidate)) {
        candidates.retain(|candidate| !is_flag(candidate));
    }
    candidates
}

/// Returns a line of the answer.
fn line(shell: &str, candidate: &CompletionCandidate) -> String {
    let value = candidate.get_value().to_string_lossy();
    let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
    let help = help.lines().next().unwrap_or_default();
    match shell {
        "fish" if !help.is_empty() => format!("{value}\t{help}\n"),
        "zsh" => format!("{}:{help}\n", value.replace('\\', "\\\\").replace(':', "\\:")),
        _ => format!("{value}\n"),
    }
}

/// Adds the names to the arguments of a command and its subcommands.
fn with_names(command: Command, names: &Arc<Names>) -> Command {
    let verb = command.get_name().to_owned();
    let command = command.mut_args(|arg| match wanted(&verb, &arg) {
        Some(wanted) => {
            let names = Arc::clone(names);
            arg.add(ArgValueCompleter::new(move |current: &std::ffi::OsStr| names.candidates(wanted, current)))
        }
        None => arg,
    });
    command.mut_subcommands(|subcommand| with_names(subcommand, names))
}

/// Returns the names that an argument of a verb accepts; `None` if it accepts none.
fn wanted(verb: &str, arg: &Arg) -> Option<Wanted> {
    let wanted = match (verb, arg.get_id().as_str()) {
        ("inspect", "what") => return Some(Wanted::BackupOrPath),
        _ if arg.get_value_hint() != ValueHint::Unknown => return None,
        ("prune", "job") => Wanted::JobOrAdopt,
        ("take", "adopt") => Wanted::Adopt,
        (_, "job") => Wanted::Job,
        (_, "destination" | "from") => Wanted::Destination,
        (_, "cluster") => Wanted::Cluster,
        (_, "channel") => Wanted::Channel,
        (_, "policy") => Wanted::Policy,
        ("remove" | "drill", "backup") => Wanted::Backup,
        (_, "backup") => Wanted::SubjectOrBackup,
        ("restore", "subject") => Wanted::Restorable,
        (_, "subject") => Wanted::Subject,
        (_, "retired") => Wanted::Series,
        _ => return None,
    };
    Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arguments whose values are no names of the configuration, and no files.
    const FREE: [&str; 46] = [
        "file",
        "host",
        "setting",
        "secret",
        "env",
        "events",
        "connection",
        "ship",
        "recipient",
        "latest",
        "since",
        "max_age",
        "percent",
        "run",
        "to",
        "tablespace",
        "owner",
        "at",
        "lsn",
        "xid",
        "name",
        "timeline",
        "primary_conninfo",
        "primary_slot_name",
        "from_snapshot",
        "table",
        "schema",
        "role_map",
        "jobs",
        "parallel",
        "stall_timeout",
        "hello_timeout",
        "recover_to",
        "why",
        "every",
        "lasting",
        "start",
        "size",
        "full_every",
        "difference_size",
        "until",
        "run_as",
        "slot",
        "partial_every",
        "listen",
        "on",
    ];

    fn unnamed(command: &Command, found: &mut Vec<String>) {
        for arg in command.get_arguments().filter(|arg| arg.get_action().takes_values()) {
            let is_known = arg.get_value_hint() != ValueHint::Unknown
                || !arg.get_possible_values().is_empty()
                || wanted(command.get_name(), arg).is_some();
            if !is_known && !FREE.contains(&arg.get_id().as_str()) {
                found.push(format!("{} {}", command.get_name(), arg.get_id()));
            }
        }
        command.get_subcommands().for_each(|command| unnamed(command, found));
    }

    #[test]
    fn every_argument_completes_or_is_free_text() {
        let mut found = Vec::new();
        unnamed(&args::command(), &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
}
