//! Progress: bars on a terminal, lines elsewhere, nothing with `--quiet`.

mod restore;

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use longshore_core::Error;
use longshore_core::progress::{Part, Progress};
use longshore_core::stage::DiscoveredSubject;
use longshore_core::subject::Subject;
use longshore_engine::progress::{NoProgress, RunProgress};
use longshore_engine::report::{ArtifactReport, Outcome};

use crate::output::Output;

pub(crate) use restore::{restore_progress, restore_state};

/// Returns the progress display of a run.
pub(crate) fn run_progress(output: Output) -> Arc<dyn RunProgress> {
    if output.is_quiet() {
        Arc::new(NoProgress)
    } else if std::io::stderr().is_terminal() {
        Arc::new(Bars::default())
    } else {
        Arc::new(Lines(output))
    }
}

/// Returns a progress bar of bytes read, hidden with `--quiet` or without a terminal. The bar has
/// no total until the work is planned.
pub(crate) fn counter(output: Output) -> Arc<Counter> {
    if output.is_quiet() || !std::io::stderr().is_terminal() {
        return Arc::new(Counter(ProgressBar::hidden()));
    }
    let bar = ProgressBar::new_spinner().with_style(style("{spinner} read {bytes}, {bytes_per_sec} {wide_msg}"));
    bar.enable_steady_tick(TICK);
    Arc::new(Counter(bar))
}

/// A progress bar of bytes read that names the current part.
pub(crate) struct Counter(ProgressBar);

impl Counter {
    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }

    /// Prints above the bar.
    pub(crate) fn above(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }
}

impl Progress for Counter {
    fn planned(&self, bytes: u64) {
        if self.0.length().is_none() {
            self.0.set_length(0);
            self.0.set_prefix("read");
            self.0.set_style(bar_style());
        }
        self.0.inc_length(bytes);
    }

    fn read(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn part(&self, place: &Part) {
        self.0.set_message(place_text(place));
    }
}

/// Returns the current part and the number of finished parts: `public.orders, 3 of 12 done`.
fn place_text(place: &Part) -> String {
    let of = place.of.map_or_else(String::new, |of| format!(" of {of}"));
    format!("{}, {}{of} done", longshore_core::error::printable(&place.name), place.done)
}

const TICK: Duration = Duration::from_millis(200);

/// Returns the result of an artifact as one line.
pub(crate) fn artifact_line(artifact: &ArtifactReport) -> String {
    let subject = &artifact.subject;
    if let Some(error) = &artifact.error {
        return format!("{subject}: failed: {}", error.message);
    }
    let destinations = artifact.destinations.iter().map(|destination| match &destination.error {
        None => format!("{} in {:.1} s", destination.destination, destination.seconds),
        // The cause is printed once, at the end.
        Some(_) => format!("{} failed", destination.destination),
    });
    format!(
        "{subject}: {} → {} → {}",
        HumanBytes(artifact.plaintext_bytes),
        HumanBytes(artifact.sealed_bytes),
        destinations.collect::<Vec<_>>().join(", ")
    )
}

/// Returns a line about a failed destination. The cause is printed once, at the end.
fn failure_line(subject: &Subject, destination: &str) -> String {
    format!("{subject}: \"{destination}\" failed; continuing with the others")
}

/// Progress as lines, at the start and end of each artifact.
struct Lines(Output);

impl RunProgress for Lines {
    fn planned(&self, subjects: &[DiscoveredSubject]) {
        let bytes = subjects.iter().filter_map(|surveyed| surveyed.estimated_bytes).sum();
        self.0.note(format_args!("{} to dump, {} on disk", subjects.len(), HumanBytes(bytes)));
    }

    fn began(&self, subject: &Subject) {
        self.0.note(format_args!("{subject}: started"));
    }

    fn read(&self, _: &Subject, _: u64) {}

    fn upload_failed(&self, subject: &Subject, destination: &str, _: &Error) {
        self.0.note(failure_line(subject, destination));
    }

    fn ended(&self, artifact: &ArtifactReport) {
        self.0.note(artifact_line(artifact));
    }
}

/// Progress as bars: a total, one per current artifact (bytes read of the size on disk), and one
/// per destination.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    state: Mutex<State>,
    /// The current parts, until the bars show them.
    place_texts: Mutex<HashMap<Subject, String>>,
}

#[derive(Default)]
struct State {
    total: Option<ProgressBar>,
    estimates: HashMap<Subject, Option<u64>>,
    active: HashMap<Subject, ProgressBar>,
    destinations: HashMap<String, ProgressBar>,
}

impl Bars {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place_texts(&self) -> MutexGuard<'_, HashMap<Subject, String>> {
        self.place_texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunProgress for Bars {
    fn planned(&self, subjects: &[DiscoveredSubject]) {
        let bytes = subjects.iter().filter_map(|surveyed| surveyed.estimated_bytes).sum();
        let total = self.all.add(ProgressBar::new(bytes).with_prefix("total").with_style(bar_style()));
        total.enable_steady_tick(TICK);
        let mut state = self.state();
        state.total = Some(total);
        state.estimates =
            subjects.iter().map(|surveyed| (surveyed.subject.clone(), surveyed.estimated_bytes)).collect();
    }

    fn began(&self, subject: &Subject) {
        let mut state = self.state();
        let bar = match state.estimates.get(subject).copied().flatten() {
            Some(bytes) => ProgressBar::new(bytes).with_style(bar_style()),
            None => ProgressBar::new_spinner()
                .with_style(style("{spinner} {prefix:16!} {bytes}, {bytes_per_sec} {wide_msg}")),
        };
        let bar = self.all.insert(0, bar.with_prefix(subject.to_string()));
        state.active.insert(subject.clone(), bar);
    }

    fn read(&self, subject: &Subject, bytes: u64) {
        // Do not wait: the thread that reports parts runs at idle priority and may hold the lock.
        let place_text = self.place_texts.try_lock().ok().and_then(|mut place_texts| place_texts.remove(subject));
        let state = self.state();
        if let Some(bar) = state.active.get(subject) {
            if let Some(place_text) = place_text {
                bar.set_message(place_text);
            }
            bar.inc(bytes);
        }
        if let Some(total) = &state.total {
            total.inc(bytes);
        }
    }

    fn shipped(&self, _: &Subject, destination: &str, bytes: u64) {
        let mut state = self.state();
        let bar = state.destinations.entry(destination.to_owned()).or_insert_with(|| {
            let bar = ProgressBar::new_spinner().with_style(style("  → {prefix:14!} {bytes}, {bytes_per_sec}"));
            self.all.add(bar.with_prefix(destination.to_owned()))
        });
        bar.inc(bytes);
    }

    fn upload_failed(&self, subject: &Subject, destination: &str, _: &Error) {
        // A failed write to a terminal is ignored: the terminal is closed.
        self.all.println(failure_line(subject, destination)).ok();
    }

    fn at(&self, subject: &Subject, place: &Part) {
        // Called from a thread at idle priority. Drawing here would block the reader.
        let (subject, place_text) = (subject.clone(), place_text(place));
        self.place_texts().insert(subject, place_text);
    }

    fn ended(&self, artifact: &ArtifactReport) {
        self.place_texts().remove(&artifact.subject);
        let mut state = self.state();
        if let Some(bar) = state.active.remove(&artifact.subject) {
            bar.finish_and_clear();
            // The size on disk was an estimate, so complete the total for this artifact.
            if let Some(total) = state.total.as_ref().filter(|_| artifact.outcome() != Outcome::Failed) {
                total.inc(bar.length().unwrap_or(0).saturating_sub(bar.position()));
            }
        }
        let last = state.active.is_empty()
            && state.estimates.remove(&artifact.subject).is_some()
            && state.estimates.is_empty();
        state.estimates.remove(&artifact.subject);
        if let Some(total) = state.total.take_if(|_| last) {
            total.finish_and_clear();
            state.destinations.drain().for_each(|(_, bar)| bar.finish_and_clear());
        }
    }
}

/// Returns a bar that fits 80 columns. Long names and messages are cut.
fn bar_style() -> ProgressStyle {
    style("{spinner} {prefix:16!} [{bar:10}] {bytes}/{total_bytes} {bytes_per_sec} ETA {eta} {wide_msg}")
}

/// Returns the style of a template, or the default style if the template is invalid.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
