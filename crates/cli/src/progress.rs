//! Progress: bars on a terminal, lines elsewhere, nothing with `--quiet`.

mod restore;

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use longshore_core::event::{self, Event, Observer, Part, Step, SubjectResult};
use longshore_core::stage::DiscoveredSubject;
use longshore_core::subject::Subject;

use crate::output::Output;

pub(crate) use restore::{RestoreStates, restore_progress};

/// Returns the progress display of a run.
pub(crate) fn run_progress(output: Output) -> Arc<dyn Observer> {
    if output.is_quiet() {
        event::ignore()
    } else if std::io::stderr().is_terminal() {
        Arc::new(Bars { output, state: Mutex::default(), part_texts: Mutex::default() })
    } else {
        Arc::new(Lines(output))
    }
}

/// Returns a progress bar of bytes read, hidden with `--quiet` or without a terminal. The bar has
/// no total until the work is planned.
pub(crate) fn counter(output: Output) -> Arc<Counter> {
    if output.is_quiet() || !std::io::stderr().is_terminal() {
        return Arc::new(Counter { output, bar: ProgressBar::hidden() });
    }
    let bar = ProgressBar::new_spinner().with_style(style("{spinner} read {bytes}, {bytes_per_sec} {wide_msg}"));
    let bar = output.bars().add(bar);
    bar.enable_steady_tick(TICK);
    Arc::new(Counter { output, bar })
}

/// A progress bar of bytes read that names the current part. The steps of a drill are lines.
pub(crate) struct Counter {
    output: Output,
    bar: ProgressBar,
}

impl Counter {
    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Adds bytes to the total.
    fn plan(&self, bytes: u64) {
        if self.bar.length().is_none() {
            self.bar.set_length(0);
            self.bar.set_prefix("read");
            self.bar.set_style(bar_style());
        }
        self.bar.inc_length(bytes);
    }

    /// Prints a note above the bar.
    fn note(&self, note: &str) {
        self.bar.suspend(|| self.output.note(note));
    }
}

impl Observer for Counter {
    fn event(&self, event: &Event<'_>) {
        match event.unscoped() {
            Event::BytesPlanned(bytes) => self.plan(bytes),
            Event::BytesRead(bytes) => self.bar.inc(bytes),
            Event::PartReached(part) => self.bar.set_message(part_text(part)),
            Event::StepStarted(step) => self.note(&step_text(event, step)),
            Event::Warned(warning) => self.note(warning),
            _ => {}
        }
    }
}

/// Returns the current part and the number of finished parts: `public.orders, 3 of 12 done`.
fn part_text(part: Part<'_>) -> String {
    let of = part.of.map_or_else(String::new, |of| format!(" of {of}"));
    format!("{}, {}{of} done", longshore_core::error::printable(part.name), part.done)
}

/// Describes a step of a drill.
fn step_text(event: &Event<'_>, step: Step<'_>) -> String {
    let backup = event.backup().map_or_else(String::new, ToString::to_string);
    match step {
        Step::PrepareScratch => "preparing the scratch server".to_owned(),
        Step::Restore { destination } => format!("restoring {backup} from \"{destination}\""),
        Step::Compare => format!("comparing {backup}"),
        Step::Examine { subject } => format!("examining {subject}"),
        Step::RemoveScratch => "cleaning up the scratch server".to_owned(),
    }
}

const TICK: Duration = Duration::from_millis(200);

/// Returns the result of the copy of a subject as one line.
fn result_line(subject: &Subject, result: &SubjectResult<'_>) -> String {
    if let Some(error) = result.error {
        return format!("{subject}: failed: {error}");
    }
    let destinations = result.destinations.iter().map(|at| match at.failed {
        false => format!("{} in {:.1} s", at.destination, at.seconds),
        // The cause is printed once, at the end.
        true => format!("{} failed", at.destination),
    });
    format!(
        "{subject}: {} → {} → {}",
        HumanBytes(result.plaintext_bytes),
        HumanBytes(result.sealed_bytes),
        destinations.collect::<Vec<_>>().join(", ")
    )
}

/// Returns a line about a failed destination. The cause is printed once, at the end.
fn failure_line(subject: &Subject, destination: &str) -> String {
    format!("{subject}: \"{destination}\" failed; continuing with the others")
}

/// Returns the total of the estimated sizes; 0 if none is known.
fn estimated_bytes(subjects: &[DiscoveredSubject]) -> u64 {
    subjects.iter().filter_map(|discovered| discovered.estimated_bytes).sum()
}

/// Progress as lines, at the start and end of each artifact.
struct Lines(Output);

impl Observer for Lines {
    fn event(&self, event: &Event<'_>) {
        match (event.unscoped(), event.subject()) {
            (Event::RunPlanned(subjects), _) => {
                let on_disk = match estimated_bytes(subjects) {
                    0 => String::new(),
                    bytes => format!(", {} on disk", HumanBytes(bytes)),
                };
                let is_base = matches!(subjects, [only] if only.subject == Subject::Base);
                let verb = if is_base { "back up" } else { "dump" };
                self.0.note(format_args!("{} to {verb}{on_disk}", subjects.len()));
            }
            (Event::SubjectStarted, Some(subject)) => self.0.note(format_args!("{subject}: started")),
            (Event::DestinationFailed { destination, .. }, Some(subject)) => {
                self.0.note(failure_line(subject, destination));
            }
            (Event::SubjectFinished(result), Some(subject)) => self.0.note(result_line(subject, &result)),
            (Event::Warned(warning), _) => self.0.note(warning),
            _ => {}
        }
    }
}

/// Progress as bars: a total, one per current artifact (bytes read of the size on disk), and one
/// per destination.
struct Bars {
    output: Output,
    state: Mutex<State>,
    /// The current parts, until the bars show them.
    part_texts: Mutex<HashMap<Subject, String>>,
}

#[derive(Default)]
struct State {
    total: Option<ProgressBar>,
    estimates: HashMap<Subject, Option<u64>>,
    active: HashMap<Subject, ProgressBar>,
    destinations: HashMap<String, ProgressBar>,
}

impl Observer for Bars {
    fn event(&self, event: &Event<'_>) {
        match (event.unscoped(), event.subject()) {
            (Event::RunPlanned(subjects), _) => self.plan(subjects),
            (Event::SubjectStarted, Some(subject)) => self.start(subject),
            (Event::BytesRead(bytes), Some(subject)) => self.read(subject, bytes),
            (Event::PartReached(part), Some(subject)) => {
                // Sent from the thread that parses the dump. Drawing here would block the reader.
                let (subject, part_text) = (subject.clone(), part_text(part));
                self.part_texts().insert(subject, part_text);
            }
            (Event::BytesShipped { destination, bytes }, _) => self.ship(destination, bytes),
            (Event::DestinationFailed { destination, .. }, Some(subject)) => {
                // A failed write to a terminal is ignored: the terminal is closed.
                self.output.bars().println(failure_line(subject, destination)).unwrap_or_default();
            }
            (Event::SubjectFinished(result), Some(subject)) => self.finish(subject, &result),
            (Event::Warned(warning), _) => self.output.bars().suspend(|| self.output.note(warning)),
            _ => {}
        }
    }
}

impl Bars {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part_texts(&self) -> MutexGuard<'_, HashMap<Subject, String>> {
        self.part_texts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, subjects: &[DiscoveredSubject]) {
        let total = ProgressBar::new(estimated_bytes(subjects)).with_prefix("total").with_style(bar_style());
        let total = self.output.bars().add(total);
        total.enable_steady_tick(TICK);
        let mut state = self.state();
        state.total = Some(total);
        state.estimates =
            subjects.iter().map(|discovered| (discovered.subject.clone(), discovered.estimated_bytes)).collect();
    }

    fn start(&self, subject: &Subject) {
        let mut state = self.state();
        let bar = match state.estimates.get(subject).copied().flatten() {
            Some(bytes) => ProgressBar::new(bytes).with_style(bar_style()),
            None => ProgressBar::new_spinner()
                .with_style(style("{spinner} {prefix:16!} {bytes}, {bytes_per_sec} {wide_msg}")),
        };
        let bar = self.output.bars().insert(0, bar.with_prefix(subject.to_string()));
        state.active.insert(subject.clone(), bar);
    }

    fn read(&self, subject: &Subject, bytes: u64) {
        // Do not wait: the thread that reports parts may hold the lock.
        let part_text = self.part_texts.try_lock().ok().and_then(|mut part_texts| part_texts.remove(subject));
        let state = self.state();
        if let Some(bar) = state.active.get(subject) {
            if let Some(part_text) = part_text {
                bar.set_message(part_text);
            }
            bar.inc(bytes);
        }
        if let Some(total) = &state.total {
            total.inc(bytes);
        }
    }

    fn ship(&self, destination: &str, bytes: u64) {
        let mut state = self.state();
        if let Some(bar) = state.destinations.get(destination) {
            return bar.inc(bytes);
        }
        let bar = ProgressBar::new_spinner().with_style(style("  → {prefix:14!} {bytes}, {bytes_per_sec}"));
        let bar = self.output.bars().add(bar.with_prefix(destination.to_owned()));
        bar.inc(bytes);
        state.destinations.insert(destination.to_owned(), bar);
    }

    fn finish(&self, subject: &Subject, result: &SubjectResult<'_>) {
        self.part_texts().remove(subject);
        let mut state = self.state();
        if let Some(bar) = state.active.remove(subject) {
            bar.finish_and_clear();
            // The size on disk was an estimate, so complete the total for this artifact.
            if let Some(total) = state.total.as_ref().filter(|_| result.is_stored()) {
                total.inc(bar.length().unwrap_or(0).saturating_sub(bar.position()));
            }
        }
        let last = state.active.is_empty() && state.estimates.remove(subject).is_some() && state.estimates.is_empty();
        state.estimates.remove(subject);
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

#[cfg(test)]
mod tests {
    use longshore_core::event::DestinationResult;

    use super::*;

    #[test]
    fn steps_name_their_backup_or_subject() {
        let scope = longshore_core::event::Scope::Subject(&Subject::Globals);
        let step = Step::Examine { subject: &Subject::Globals };
        let event = Event::Scoped { scope, event: &Event::StepStarted(step) };
        assert_eq!(step_text(&event, step), format!("examining {}", Subject::Globals));
        assert_eq!(
            step_text(&Event::StepStarted(Step::PrepareScratch), Step::PrepareScratch),
            "preparing the scratch server"
        );
    }

    #[test]
    fn result_line_names_failed_destinations() {
        let at = |destination, failed| DestinationResult { destination, seconds: 1.25, failed };
        let destinations = [at("nas", false), at("s3", true)];
        let result =
            SubjectResult { plaintext_bytes: 2048, sealed_bytes: 1024, destinations: &destinations, error: None };
        let appdb = Subject::database("appdb");
        assert_eq!(result_line(&appdb, &result), format!("{appdb}: 2.00 KiB → 1.00 KiB → nas in 1.2 s, s3 failed"));
        let result = SubjectResult { error: Some("pg_dump failed"), ..result };
        assert_eq!(result_line(&appdb, &result), format!("{appdb}: failed: pg_dump failed"));
    }
}
