//! The progress of a restore: plaintext bytes of the dump, the time of the last drill, and the
//! state of the target after an interruption.

use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar};
use longshore_core::drill::Phase;
use longshore_core::event::{Event, Observer, RestoreStart, Step};
use longshore_core::key::BackupName;
use longshore_engine::restore::Chosen;

use crate::output::Output;
use crate::progress::{TICK, bar_style};

/// The interval of progress lines without a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// The state of the restore of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RestoreState {
    Waiting,
    Active,
    NotCompared,
    Restored,
    Failed,
}

/// The state of each backup of a restore, for the message after an interruption. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct RestoreStates(Arc<Mutex<BTreeMap<String, RestoreState>>>);

impl RestoreStates {
    fn states(&self) -> MutexGuard<'_, BTreeMap<String, RestoreState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, backup: &BackupName, state: RestoreState) {
        self.states().insert(backup.to_string(), state);
    }

    /// Describes the state of the target if the restore is interrupted now.
    pub(crate) fn description(&self) -> String {
        let states = self.states();
        let of = |wanted: RestoreState, words: &str| {
            let names: Vec<_> =
                states.iter().filter(|(_, state)| **state == wanted).map(|(name, _)| name.as_str()).collect();
            (!names.is_empty()).then(|| format!("{words}: {}", names.join(", ")))
        };
        let active = "incomplete (a database that the restore created or renamed is back in its previous state, unless \
                         all data was restored already; an existing empty database may contain a part of the backup: \
                         drop it before the next try)";
        let parts = [
            of(RestoreState::Restored, "restored"),
            of(RestoreState::NotCompared, "restored, not compared"),
            of(RestoreState::Active, active),
            of(RestoreState::Failed, "failed"),
            of(RestoreState::Waiting, "not started"),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "the target was not changed".to_owned() } else { parts.join("; ") }
    }
}

/// Returns the progress display of a restore, which also records the states of the backups.
pub(crate) fn restore_progress(output: Output, chosen: &[Chosen], states: &RestoreStates) -> Arc<dyn Observer> {
    for chosen in chosen {
        states.set(&chosen.backup.name, RestoreState::Waiting);
    }
    let bars = (!output.is_quiet() && std::io::stderr().is_terminal()).then(|| output.bars());
    Arc::new(RestoreDisplay { output, bars, states: states.clone(), active: Mutex::default() })
}

/// The progress of a restore: bars on a terminal, lines elsewhere.
struct RestoreDisplay {
    output: Output,
    bars: Option<&'static MultiProgress>,
    states: RestoreStates,
    active: Mutex<HashMap<BackupName, ActiveRestore>>,
}

struct ActiveRestore {
    bar: ProgressBar,
    begun: Instant,
    last_line: Instant,
    read: u64,
    of: u64,
}

impl Observer for RestoreDisplay {
    fn event(&self, event: &Event<'_>) {
        match (event.unscoped(), event.backup()) {
            (Event::Warned(warning), _) => self.warn(warning),
            (Event::RestoreStarted(start), Some(backup)) => self.start(backup, start),
            (Event::BytesRead(bytes), Some(backup)) => self.read(backup, bytes),
            (Event::SourceFailed { error, next }, Some(backup)) => {
                self.warn(&format!("{backup}: continues from \"{next}\": {}", error.chain()));
            }
            (Event::StepStarted(Step::Compare), Some(backup)) => self.states.set(backup, RestoreState::NotCompared),
            (Event::RestoreFinished(phases), Some(backup)) => self.finish(backup, phases.ok()),
            _ => {}
        }
    }
}

impl RestoreDisplay {
    fn active(&self) -> MutexGuard<'_, HashMap<BackupName, ActiveRestore>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print_line(&self, line: String) {
        match self.bars {
            // A failed write to a terminal is ignored: the terminal is closed.
            Some(bars) => bars.println(line).unwrap_or_default(),
            None => self.output.note(line),
        }
    }

    fn warn(&self, warning: &str) {
        match self.bars {
            Some(bars) => bars.suspend(|| self.output.warning(warning)),
            None => self.output.warning(warning),
        }
    }

    fn start(&self, backup: &BackupName, start: RestoreStart<'_>) {
        self.states.set(backup, RestoreState::Active);
        let bytes = start.plaintext_bytes;
        let estimate = start
            .estimated_seconds
            .map_or_else(String::new, |seconds| format!(", about {} (from the last drill)", format_seconds(seconds)));
        self.print_line(format!("{backup} from \"{}\": {}{estimate}", start.destination, HumanBytes(bytes)));
        let bar = match self.bars {
            Some(bars) => {
                let bar = ProgressBar::new(bytes).with_style(bar_style()).with_prefix(start.subject.to_string());
                let bar = bars.add(bar);
                bar.enable_steady_tick(TICK);
                bar
            }
            None => ProgressBar::hidden(),
        };
        let now = Instant::now();
        let active = ActiveRestore { bar, begun: now, last_line: now, read: 0, of: bytes };
        self.active().insert(backup.clone(), active);
    }

    fn read(&self, backup: &BackupName, bytes: u64) {
        let mut active = self.active();
        let Some(at) = active.get_mut(backup) else { return };
        at.read += bytes;
        at.bar.set_position(at.read.min(at.of));
        if at.read >= at.of {
            at.bar.set_message("all read; indexes and statistics");
        }
        if self.bars.is_none() && at.last_line.elapsed() >= LINE_INTERVAL {
            at.last_line = Instant::now();
            let rate = at.read as f64 / at.begun.elapsed().as_secs_f64();
            let percent = at.read * 100 / at.of.max(1);
            let line = format!("{backup}: {percent} % of {}, {}/s", HumanBytes(at.of), HumanBytes(rate as u64));
            self.output.note(line);
        }
    }

    /// Ends the display of a backup. `phases` is `None` if its restore failed.
    fn finish(&self, backup: &BackupName, phases: Option<&[Phase]>) {
        self.states.set(backup, if phases.is_some() { RestoreState::Restored } else { RestoreState::Failed });
        if let Some(at) = self.active().remove(backup) {
            at.bar.finish_and_clear();
        }
        let Some(phases) = phases else { return };
        let phases: Vec<_> =
            phases.iter().map(|phase| format!("{} {}", phase.name, format_seconds(phase.seconds))).collect();
        self.print_line(format!("{backup}: {}", phases.join(", ")));
    }
}

/// Formats a duration for people.
fn format_seconds(seconds: f64) -> String {
    if seconds < 120.0 {
        return format!("{seconds:.1} s");
    }
    let minutes = (seconds / 60.0).round() as u64;
    if minutes < 120 { format!("{minutes} min") } else { format!("{} h {} min", minutes / 60, minutes % 60) }
}

#[cfg(test)]
mod tests {
    use longshore_core::event::Scope;
    use longshore_core::key::Timestamp;
    use longshore_core::subject::Subject;
    use longshore_core::{Error, Kind, Stage};

    use super::*;

    #[test]
    fn states_of_two_restores_are_separate() {
        let time = Timestamp::parse("2026-06-07_091500").unwrap();
        let [globals, appdb] = ["globals", "appdb"].map(|subject| BackupName::new("main", subject, time).unwrap());
        let (states, others) = (RestoreStates::default(), RestoreStates::default());
        let display = restore_progress(Output::new(true), &[], &states);
        let send = |backup: &BackupName, event: Event<'_>| {
            display.event(&Event::Scoped { scope: Scope::Backup(backup), event: &event })
        };
        let start = RestoreStart {
            subject: &Subject::Globals,
            destination: "nas",
            plaintext_bytes: 1,
            estimated_seconds: None,
        };
        send(&globals, Event::RestoreStarted(start));
        send(&globals, Event::RestoreFinished(Ok(&[])));
        send(&appdb, Event::RestoreStarted(start));
        send(&appdb, Event::StepStarted(Step::Compare));
        assert_eq!(states.description(), format!("restored: {globals}; restored, not compared: {appdb}"));
        let error = Error::new(Stage::Restore, Kind::Failed, "appdb", "failed on purpose");
        send(&appdb, Event::RestoreFinished(Err(&error)));
        assert_eq!(states.description(), format!("restored: {globals}; failed: {appdb}"));
        assert_eq!(others.description(), "the target was not changed");
    }
}
