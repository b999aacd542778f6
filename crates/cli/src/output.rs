//! All printing: results to stdout, everything else to stderr.

mod colour;
mod state;
mod table;

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::MultiProgress;
use longshore_core::Error;
use longshore_core::plugin::IDENTITY_HINT;
use serde::Serialize;

pub(crate) use self::colour::Colour;
use self::colour::{BAD, HINT, WARNING};
pub(crate) use self::state::State;
pub(crate) use self::table::{Cell, Column, Priority, Table};
use crate::exit_code::Exit;

/// The minimum width of a table, in columns.
const MIN_WIDTH: usize = 20;
/// The width of a table on a terminal of unknown width.
const DEFAULT_WIDTH: usize = 80;
/// The width of the state at the beginning of a line.
const STATE_WIDTH: usize = 9;

/// The beginning of a command in a text.
const COMMAND: &str = "`longshore ";

/// The output of a verb.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    quiet: bool,
    shared: &'static Shared,
}

/// The state that all copies of an output share.
#[derive(Debug, Default)]
struct Shared {
    /// The progress bars on stderr.
    bars: MultiProgress,
    /// True if output was lost.
    is_lost: AtomicBool,
    /// The hint that suggests the identity file beside the configuration.
    identity_hint: OnceLock<String>,
    /// The argument that names the configuration, if it is not the default one.
    config_argument: OnceLock<String>,
}

impl Output {
    /// Returns a new output. Its state is never freed: a program has one output.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet, shared: Box::leak(Box::default()) }
    }

    /// Returns the progress bars. Lines that are printed while bars are visible have to be printed
    /// above them.
    pub(crate) fn bars(self) -> &'static MultiProgress {
        &self.shared.bars
    }

    /// Returns true if notes and progress are disabled.
    pub(crate) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Prints a line of the result.
    pub(crate) fn line(self, line: impl Display) {
        self.print_stdout(format_args!("{line}\n"));
    }

    /// Prints the result as JSON.
    pub(crate) fn json(self, value: &impl Serialize) -> Exit {
        match serde_json::to_string_pretty(value) {
            Ok(json) => {
                self.line(json);
                Exit::Done
            }
            Err(error) => self.failure(&format!("cannot write JSON: {error}")),
        }
    }

    /// Prints bytes of the result unchanged.
    pub(crate) fn bytes(self, bytes: &[u8]) {
        self.finish(io::stdout().write_all(bytes));
    }

    /// Prints a table, fitted to the width of the terminal.
    pub(crate) fn table(self, table: &Table) {
        self.line(table.render(width()).trim_end_matches('\n'));
    }

    /// Prints a line that begins with a coloured state, padded to a column.
    pub(crate) fn state(self, state: State, rest: impl Display) {
        let (style, padding) = (state.style(), STATE_WIDTH.saturating_sub(state.word().len()));
        self.line(format_args!("{style}{state}{style:#}{:padding$}{rest}", ""));
    }

    /// Prints a note, unless notes are disabled.
    pub(crate) fn note(self, note: impl Display) {
        if !self.quiet {
            let note = self.with_config(&note.to_string());
            self.print_stderr(format_args!("{note}\n"));
        }
    }

    /// Prints a warning.
    pub(crate) fn warning(self, warning: impl Display) {
        let warning = self.with_config(&warning.to_string());
        self.print_stderr(format_args!("{WARNING}warning:{WARNING:#} {warning}\n"));
    }

    /// Prints the hint of a warning.
    pub(crate) fn hint(self, hint: impl Display) {
        let hint = self.with_config(&hint.to_string());
        self.print_stderr(format_args!("hint: {hint}\n"));
    }

    /// Prints a line of the log above the progress bars. A failure loses no result, so it does not
    /// count as lost output.
    pub(crate) fn log_line(self, line: &str) -> io::Result<()> {
        let bars = self.bars();
        if bars.is_hidden() { io::stderr().write_all(format!("{line}\n").as_bytes()) } else { bars.println(line) }
    }

    /// Prints an error with its causes and hint. Returns its exit code.
    pub(crate) fn error(self, error: &Error) -> Exit {
        let mut text = format!("{BAD}error:{BAD:#} {error}\n");
        let mut next = std::error::Error::source(error);
        while let Some(cause) = next {
            let cause_text = cause.to_string();
            for line in cause_text.lines() {
                text += &format!("  {line}\n");
            }
            next = cause.source();
        }
        if let Some(hint) = error.remedy().map(|hint| self.hint_text(hint)) {
            text += &format!("{HINT}hint:{HINT:#} {hint}\n");
        }
        self.print_stderr(format_args!("{text}"));
        Exit::from(error)
    }

    /// Prints an error message with its hint.
    pub(crate) fn problem(self, message: &str, hint: Option<&str>) {
        self.print_stderr(format_args!("{BAD}error:{BAD:#} {message}\n"));
        if let Some(hint) = hint.map(|hint| self.hint_text(hint)) {
            self.print_stderr(format_args!("{HINT}hint:{HINT:#} {hint}\n"));
        }
    }

    /// Prints a failure outside of any stage, such as a write to stdout.
    pub(crate) fn failure(self, message: &str) -> Exit {
        self.problem(message, None);
        Exit::Failed
    }

    /// Prints that a signal ended the verb, and the state that it leaves.
    pub(crate) fn interrupted(self, interrupted_state: &str, exit: Exit) -> Exit {
        self.print_stderr(format_args!("interrupted: {interrupted_state}\n"));
        exit
    }

    /// Prints clap's help, version or usage error.
    pub(crate) fn usage(self, error: &clap::Error) -> Exit {
        self.finish(error.print());
        if error.use_stderr() { Exit::Usage } else { Exit::Done }
    }

    /// Makes hints about a missing identity suggest this file, if any.
    pub(crate) fn suggest_identity(self, file: Option<PathBuf>) {
        if let Some(file) = file {
            let hint = || format!("try the identity beside the configuration: --identity {}", file.display());
            self.shared.identity_hint.get_or_init(hint);
        }
    }

    /// Makes the commands in hints and notes name this configuration.
    pub(crate) fn name_config(self, file: &Path) {
        let file = file.display().to_string();
        let is_plain = file.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+,:@".contains(&byte));
        let file = if is_plain { file } else { format!("'{}'", file.replace('\'', "'\\''")) };
        self.shared.config_argument.get_or_init(|| format!("--config {file}"));
    }

    /// Returns a text whose commands of this program name the configuration, if that is not the
    /// default one. Commands are between backquotes.
    pub(crate) fn with_config(self, text: &str) -> String {
        match self.shared.config_argument.get() {
            Some(argument) => text.replace(COMMAND, &format!("{COMMAND}{argument} ")),
            None => text.to_owned(),
        }
    }

    /// Returns the text to print for the hint of an error.
    fn hint_text(self, hint: &str) -> String {
        let identity = self.shared.identity_hint.get().filter(|_| hint == IDENTITY_HINT);
        identity.map_or_else(|| self.with_config(hint), String::clone)
    }

    /// Returns true if output was lost, for example on a full disk.
    pub(crate) fn was_lost(self) -> bool {
        self.shared.is_lost.load(Ordering::Relaxed)
    }

    fn print_stdout(self, text: fmt::Arguments<'_>) {
        self.finish(anstream::stdout().write_fmt(text));
    }

    fn print_stderr(self, text: fmt::Arguments<'_>) {
        self.finish(anstream::stderr().write_fmt(text));
    }

    /// Records lost output. A reader that closes a pipe early, like `head`, loses nothing: the work
    /// continues, and the exit code reports its outcome.
    fn finish(self, written: io::Result<()>) {
        if written.is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe) {
            self.shared.is_lost.store(true, Ordering::Relaxed);
        }
    }
}

/// Prints a prompt. Returns true if it was written.
pub(crate) fn prompt(question: &str) -> bool {
    let mut stderr = io::stderr();
    stderr.write_fmt(format_args!("{question}: ")).and_then(|()| stderr.flush()).is_ok()
}

/// Returns the width of the terminal, or `None` if stdout is a pipe or a file.
fn width() -> Option<usize> {
    let size = || terminal_size::terminal_size_of(io::stdout());
    let width = || size().map_or(DEFAULT_WIDTH, |(width, _)| usize::from(width.0).max(MIN_WIDTH));
    io::stdout().is_terminal().then(width)
}
