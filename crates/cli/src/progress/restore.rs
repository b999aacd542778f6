//! The progress of a restore: plaintext bytes of the dump, the time of the last drill, and the
//! state of the target after an interruption.

use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar};
use longshore_core::Error;
use longshore_core::key::BackupName;
use longshore_engine::restore::{Chosen, RestoreProgress, RestoreResult};

use crate::output::Output;
use crate::progress::{TICK, bar_style};

/// The interval of progress lines without a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// The state of each backup, for the message after an interruption.
static STATES: Mutex<BTreeMap<String, RestoreState>> = Mutex::new(BTreeMap::new());

/// The state of the restore of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RestoreState {
    Waiting,
    Active,
    NotCompared,
    Restored,
    Failed,
}

fn states() -> MutexGuard<'static, BTreeMap<String, RestoreState>> {
    STATES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Describes the state of the target if the restore is interrupted now.
pub(crate) fn restore_state() -> String {
    let states = states();
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

/// Returns the progress display of a restore.
pub(crate) fn restore_progress(output: Output, chosen: &[Chosen]) -> Arc<dyn RestoreProgress> {
    let names = chosen.iter().map(|chosen| (chosen.backup.name.to_string(), RestoreState::Waiting));
    *states() = names.collect();
    let all = (!output.is_quiet() && std::io::stderr().is_terminal()).then(MultiProgress::default);
    Arc::new(RestoreDisplay { output, all, active: Mutex::default() })
}

/// The progress of a restore: bars on a terminal, lines elsewhere.
struct RestoreDisplay {
    output: Output,
    all: Option<MultiProgress>,
    active: Mutex<HashMap<BackupName, ActiveRestore>>,
}

struct ActiveRestore {
    bar: ProgressBar,
    begun: Instant,
    last_line: Instant,
    read: u64,
    of: u64,
}

impl RestoreDisplay {
    fn active(&self) -> MutexGuard<'_, HashMap<BackupName, ActiveRestore>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print_line(&self, line: String) {
        match &self.all {
            // A failed write to a terminal is ignored: the terminal is closed.
            Some(all) => drop(all.println(line)),
            None => self.output.note(line),
        }
    }
}

impl RestoreProgress for RestoreDisplay {
    fn warned(&self, warning: &str) {
        match &self.all {
            Some(all) => all.suspend(|| self.output.warning(warning)),
            None => self.output.warning(warning),
        }
    }

    fn began(&self, chosen: &Chosen, estimated_seconds: Option<f64>) {
        let name = chosen.backup.name.clone();
        states().insert(name.to_string(), RestoreState::Active);
        let bytes = chosen.backup.manifest.artifact.plaintext.bytes;
        let estimate = estimated_seconds
            .map_or_else(String::new, |seconds| format!(", about {} (from the last drill)", format_seconds(seconds)));
        self.print_line(format!("{name} from \"{}\": {}{estimate}", chosen.destination, HumanBytes(bytes)));
        let bar = match &self.all {
            Some(all) => {
                let bar = all.add(
                    ProgressBar::new(bytes)
                        .with_style(bar_style())
                        .with_prefix(chosen.backup.manifest.subject.to_string()),
                );
                bar.enable_steady_tick(TICK);
                bar
            }
            None => ProgressBar::hidden(),
        };
        let now = Instant::now();
        self.active().insert(name, ActiveRestore { bar, begun: now, last_line: now, read: 0, of: bytes });
    }

    fn read(&self, backup: &BackupName, bytes: u64) {
        let mut active = self.active();
        let Some(at) = active.get_mut(backup) else { return };
        at.read += bytes;
        at.bar.set_position(at.read.min(at.of));
        if at.read >= at.of {
            at.bar.set_message("all read; indexes and statistics");
        }
        if self.all.is_none() && at.last_line.elapsed() >= LINE_INTERVAL {
            at.last_line = Instant::now();
            let rate = at.read as f64 / at.begun.elapsed().as_secs_f64();
            let percent = at.read * 100 / at.of.max(1);
            let line = format!("{backup}: {percent} % of {}, {}/s", HumanBytes(at.of), HumanBytes(rate as u64));
            self.output.note(line);
        }
    }

    fn source_failed(&self, backup: &BackupName, error: &Error, to: &str) {
        self.warned(&format!("{backup}: continues from \"{to}\": {}", error.chain()));
    }

    fn comparing(&self, backup: &BackupName) {
        states().insert(backup.to_string(), RestoreState::NotCompared);
    }

    fn ended(&self, backup: &BackupName, restored: &RestoreResult) {
        let state = if restored.is_ok() { RestoreState::Restored } else { RestoreState::Failed };
        states().insert(backup.to_string(), state);
        if let Some(at) = self.active().remove(backup) {
            at.bar.finish_and_clear();
        }
        let Ok(outcome) = restored else { return };
        let phases: Vec<_> =
            outcome.phases.iter().map(|phase| format!("{} {}", phase.name, format_seconds(phase.seconds))).collect();
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
