//! The progress of a restore: plaintext bytes of the dump, the time of the last drill, and the
//! state of the target after an interruption.

use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar};
use longshore_core::Error;
use longshore_core::key::BackupName;
use longshore_service::restore::{Chosen, Restored, Watch};

use crate::output::Output;
use crate::progress::{TICK, bar_style};

/// The interval of progress lines without a terminal.
const LINES: Duration = Duration::from_secs(60);

/// The state of each backup, for the message after an interruption.
static STANDS: Mutex<BTreeMap<String, Stand>> = Mutex::new(BTreeMap::new());

/// The state of the restore of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Waiting,
    UnderWay,
    NotCompared,
    Restored,
    Failed,
}

fn stands() -> MutexGuard<'static, BTreeMap<String, Stand>> {
    STANDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Describes the state of the target if the restore is interrupted now.
pub(crate) fn restore_stands() -> String {
    let stands = stands();
    let of = |wanted: Stand, words: &str| {
        let names: Vec<_> =
            stands.iter().filter(|(_, stand)| **stand == wanted).map(|(name, _)| name.as_str()).collect();
        (!names.is_empty()).then(|| format!("{words}: {}", names.join(", ")))
    };
    let under_way = "incomplete (a database that the restore created or renamed is back in its previous state, unless \
                     all data was restored already; an existing empty database may contain a part of the backup: \
                     drop it before the next try)";
    let parts = [
        of(Stand::Restored, "restored"),
        of(Stand::NotCompared, "restored, not compared"),
        of(Stand::UnderWay, under_way),
        of(Stand::Failed, "failed"),
        of(Stand::Waiting, "not started"),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "the target was not changed".to_owned() } else { parts.join("; ") }
}

/// Returns the progress display of a restore.
pub(crate) fn restore_watcher(output: Output, chosen: &[Chosen]) -> Arc<dyn Watch> {
    let names = chosen.iter().map(|chosen| (chosen.backup.name.to_string(), Stand::Waiting));
    *stands() = names.collect();
    let all = (!output.is_quiet() && std::io::stderr().is_terminal()).then(MultiProgress::default);
    Arc::new(Shown { output, all, under_way: Mutex::default() })
}

/// The progress of a restore: bars on a terminal, lines elsewhere.
struct Shown {
    output: Output,
    all: Option<MultiProgress>,
    under_way: Mutex<HashMap<BackupName, UnderWay>>,
}

struct UnderWay {
    bar: ProgressBar,
    begun: Instant,
    said: Instant,
    read: u64,
    of: u64,
}

impl Shown {
    fn under_way(&self) -> MutexGuard<'_, HashMap<BackupName, UnderWay>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, line: String) {
        match &self.all {
            // A failed write to a terminal is ignored: the terminal is closed.
            Some(all) => drop(all.println(line)),
            None => self.output.note(line),
        }
    }
}

impl Watch for Shown {
    fn warned(&self, warning: &str) {
        match &self.all {
            Some(all) => all.suspend(|| self.output.warning(warning)),
            None => self.output.warning(warning),
        }
    }

    fn began(&self, chosen: &Chosen, estimated_seconds: Option<f64>) {
        let name = chosen.backup.name.clone();
        stands().insert(name.to_string(), Stand::UnderWay);
        let bytes = chosen.backup.manifest.artifact.plaintext.bytes;
        let estimate = estimated_seconds
            .map_or_else(String::new, |seconds| format!(", about {} (from the last drill)", humantime(seconds)));
        self.say(format!("{name} from \"{}\": {}{estimate}", chosen.destination, HumanBytes(bytes)));
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
        self.under_way().insert(name, UnderWay { bar, begun: now, said: now, read: 0, of: bytes });
    }

    fn read(&self, backup: &BackupName, bytes: u64) {
        let mut under_way = self.under_way();
        let Some(at) = under_way.get_mut(backup) else { return };
        at.read += bytes;
        at.bar.set_position(at.read.min(at.of));
        if at.read >= at.of {
            at.bar.set_message("all read; indexes and statistics");
        }
        if self.all.is_none() && at.said.elapsed() >= LINES {
            at.said = Instant::now();
            let rate = at.read as f64 / at.begun.elapsed().as_secs_f64();
            let percent = at.read * 100 / at.of.max(1);
            let line = format!("{backup}: {percent} % of {}, {}/s", HumanBytes(at.of), HumanBytes(rate as u64));
            self.output.note(line);
        }
    }

    fn turned(&self, backup: &BackupName, error: &Error, to: &str) {
        self.warned(&format!("{backup}: continues from \"{to}\": {}", error.chain()));
    }

    fn compares(&self, backup: &BackupName) {
        stands().insert(backup.to_string(), Stand::NotCompared);
    }

    fn ended(&self, backup: &BackupName, restored: &Restored) {
        let stand = if restored.is_ok() { Stand::Restored } else { Stand::Failed };
        stands().insert(backup.to_string(), stand);
        if let Some(at) = self.under_way().remove(backup) {
            at.bar.finish_and_clear();
        }
        let Ok(outcome) = restored else { return };
        let phases: Vec<_> =
            outcome.phases.iter().map(|phase| format!("{} {}", phase.name, humantime(phase.seconds))).collect();
        self.say(format!("{backup}: {}", phases.join(", ")));
    }
}

/// Formats a duration for people.
fn humantime(seconds: f64) -> String {
    if seconds < 120.0 {
        return format!("{seconds:.1} s");
    }
    let minutes = (seconds / 60.0).round() as u64;
    if minutes < 120 { format!("{minutes} min") } else { format!("{} h {} min", minutes / 60, minutes % 60) }
}
