//! The only place that prints: results on stdout, everything else on stderr.

mod colour;
mod table;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use longshore_core::Error;
use longshore_core::plugin::GIVE_IDENTITY;
use serde::Serialize;

pub(crate) use self::colour::Colour;
use self::colour::{BAD, DOUBTFUL, HINT};
use crate::exit_code::Exit;

/// A terminal is taken for no narrower than this.
const NARROW: usize = 40;

/// Where a verb says what it has to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    quiet: bool,
}

impl Output {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Whether notes and progress are unwanted.
    pub(crate) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// A line of the result.
    pub(crate) fn line(self, line: impl Display) {
        print(format_args!("{line}\n"));
    }

    /// The result for programs.
    pub(crate) fn json(self, value: &impl Serialize) -> Exit {
        match serde_json::to_string_pretty(value) {
            Ok(json) => {
                self.line(json);
                Exit::Done
            }
            Err(error) => self.failure(&format!("cannot write JSON: {error}")),
        }
    }

    /// Bytes of the result, as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) {
        finish(io::stdout().write_all(bytes));
    }

    /// Rows of the result beneath their headings, each column as wide as it must be and none wider than the terminal lets it.
    /// Headings that begin with `>` are of columns of numbers, and with `?` of columns that a narrow terminal does without.
    pub(crate) fn table(self, headings: &[&str], rows: &[Vec<String>]) {
        self.line(table::render(headings, rows, width()).trim_end_matches('\n'));
    }

    /// A line that begins with a state, in its colour.
    pub(crate) fn state(self, state: &str, rest: impl Display) {
        match colour::of_state("STATE", state) {
            Some(style) => self.line(format_args!("{style}{state}{style:#}{rest}")),
            None => self.line(format_args!("{state}{rest}")),
        }
    }

    /// Something to know, unless it is unwanted.
    pub(crate) fn note(self, note: impl Display) {
        if !self.quiet {
            say(format_args!("{note}\n"));
        }
    }

    /// Something to act on.
    pub(crate) fn warning(self, warning: impl Display) {
        say(format_args!("{DOUBTFUL}warning:{DOUBTFUL:#} {warning}\n"));
    }

    /// The way out of what a warning said.
    pub(crate) fn hint(self, hint: impl Display) {
        say(format_args!("hint: {hint}\n"));
    }

    /// An error, layer by layer, and the way out.
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
        if let Some(hint) = error.remedy().map(remedy) {
            text += &format!("{HINT}hint:{HINT:#} {hint}\n");
        }
        say(format_args!("{text}"));
        Exit::from(error)
    }

    /// An error that is only words.
    pub(crate) fn problem(self, message: &str, hint: Option<&str>) {
        say(format_args!("{BAD}error:{BAD:#} {message}\n"));
        if let Some(hint) = hint.map(remedy) {
            say(format_args!("{HINT}hint:{HINT:#} {hint}\n"));
        }
    }

    /// A failure of our own surroundings.
    pub(crate) fn failure(self, message: &str) -> Exit {
        self.problem(message, None);
        Exit::Failed
    }

    /// A signal asked us to end; `leaves` says in what state.
    pub(crate) fn interrupted(self, leaves: &str, exit: Exit) -> Exit {
        say(format_args!("interrupted: {leaves}\n"));
        exit
    }
}

/// The identity file that a person may have meant to give.
static IDENTITY: OnceLock<String> = OnceLock::new();

/// Makes hints that an identity is missing name this file, if there is one.
pub(crate) fn suggest_identity(file: Option<PathBuf>) {
    if let Some(file) = file {
        IDENTITY.get_or_init(|| format!("try the identity beside the configuration: --identity {}", file.display()));
    }
}

/// The hint to show for one that an error has.
fn remedy(hint: &str) -> &str {
    if hint == GIVE_IDENTITY { IDENTITY.get().map_or(hint, String::as_str) } else { hint }
}

/// A question to whoever sits at the terminal; whether it could be put.
pub(crate) fn ask(question: &str) -> bool {
    let mut stderr = io::stderr();
    stderr.write_fmt(format_args!("{question}: ")).and_then(|()| stderr.flush()).is_ok()
}

/// What clap has to say of the command line: help, a version, or what is wrong with it.
pub(crate) fn usage(error: &clap::Error) -> Exit {
    finish(error.print());
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

/// The columns of the terminal that the result goes to, if it is one.
fn width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0).max(NARROW))
}

fn print(text: std::fmt::Arguments<'_>) {
    finish(anstream::stdout().write_fmt(text));
}

fn say(text: std::fmt::Arguments<'_>) {
    finish(anstream::stderr().write_fmt(text));
}

/// Whether something that should have been printed was not.
static LOST: AtomicBool = AtomicBool::new(false);

/// Whether something that should have been printed was not, as on a full disk.
pub(crate) fn was_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Whoever closes our output early, as `head` does, wants no more of it; the work goes on, and its exit code tells.
fn finish(written: io::Result<()>) {
    if written.is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe) {
        LOST.store(true, Ordering::Relaxed);
    }
}
