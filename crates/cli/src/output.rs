//! The only place that prints: results on stdout, everything else on stderr.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};
use std::iter::repeat_n;
use std::sync::atomic::{AtomicBool, Ordering};

use longshore_core::Error;
use longshore_core::error::printable;
use serde::Serialize;

use crate::exit_code::Exit;

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

    /// Rows of the result beneath their headings, each column as wide as it must be. Headings that begin with `>` are of columns of numbers.
    pub(crate) fn table(self, headings: &[&str], rows: &[Vec<String>]) {
        let plain: Vec<String> = headings.iter().map(|heading| heading.trim_start_matches('>').to_owned()).collect();
        let mut widths = vec![0; headings.len()];
        for row in std::iter::once(&plain).chain(rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(shown(cell).chars().count());
            }
        }
        let mut text = String::new();
        for row in std::iter::once(&plain).chain(rows) {
            for ((cell, width), heading) in row.iter().zip(&widths).zip(headings) {
                let cell = shown(cell);
                let blanks = repeat_n(' ', width - cell.chars().count());
                if heading.starts_with('>') {
                    text.extend(blanks);
                    text += &cell;
                } else {
                    text += &cell;
                    text.extend(blanks);
                }
                text += "  ";
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        self.line(text.trim_end_matches('\n'));
    }

    /// Something to know, unless it is unwanted.
    pub(crate) fn note(self, note: impl Display) {
        if !self.quiet {
            say(format_args!("{note}\n"));
        }
    }

    /// Something to act on.
    pub(crate) fn warning(self, warning: impl Display) {
        say(format_args!("warning: {warning}\n"));
    }

    /// An error, layer by layer, and the way out.
    pub(crate) fn error(self, error: &Error) -> Exit {
        let mut text = format!("error: {error}\n");
        let mut next = std::error::Error::source(error);
        while let Some(cause) = next {
            let cause_text = cause.to_string();
            for line in cause_text.lines() {
                text += &format!("  {line}\n");
            }
            next = cause.source();
        }
        if let Some(hint) = error.remedy() {
            text += &format!("hint: {hint}\n");
        }
        say(format_args!("{text}"));
        Exit::from(error)
    }

    /// An error that is only words.
    pub(crate) fn problem(self, message: &str, hint: Option<&str>) {
        say(format_args!("error: {message}\n"));
        if let Some(hint) = hint {
            say(format_args!("hint: {hint}\n"));
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

/// A cell as it may be shown; most are as they are.
fn shown(cell: &str) -> Cow<'_, str> {
    let is_plain = cell.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_plain { cell.into() } else { printable(cell).into() }
}

fn print(text: std::fmt::Arguments<'_>) {
    finish(io::stdout().write_fmt(text));
}

fn say(text: std::fmt::Arguments<'_>) {
    finish(io::stderr().write_fmt(text));
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
