//! The programs that start each task on this host: timers of systemd, lines of cron, and
//! `longshore serve`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::OpenOptions;

use longshore_config::Config;
use longshore_core::regular_file;
use longshore_schedule::Verb;
use serde::Serialize;

use super::command_line;
use super::host::Host;
use crate::dirs;

/// A program that starts a task at its due times.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Starter {
    /// The kind of program.
    pub kind: StarterKind,
    /// The name of the timer, or the file of the line of cron.
    pub name: String,
}

/// The kind of a program that starts tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StarterKind {
    /// A timer of systemd.
    Timer,
    /// A line of cron.
    Cron,
    /// `longshore serve`.
    Serve,
}

impl fmt::Display for Starter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            StarterKind::Timer => f.write_str(&self.name),
            StarterKind::Cron => write!(f, "cron ({})", self.name),
            StarterKind::Serve => f.write_str("longshore serve"),
        }
    }
}

/// Returns the programs that start each task of the configuration, by job and verb.
pub fn starters(config: &Config, host: &Host) -> BTreeMap<(String, Verb), BTreeSet<Starter>> {
    let mut all: BTreeMap<(String, Verb), BTreeSet<Starter>> = BTreeMap::new();
    let mut add = |line: &str, kind: StarterKind, name: &str| {
        for task in command_line::tasks(line, config) {
            all.entry(task).or_default().insert(Starter { kind, name: name.to_owned() });
        }
    };
    for timer in host.enabled_timers() {
        for command in &timer.commands {
            add(command, StarterKind::Timer, &timer.name);
        }
    }
    for (file, line) in host.cron_lines() {
        add(&line, StarterKind::Cron, &file);
    }
    if is_serving(config) {
        for job in config.jobs.values() {
            for verb in job.timetable.schedules.keys() {
                let starter = Starter { kind: StarterKind::Serve, name: "longshore serve".to_owned() };
                all.entry((job.name.clone(), *verb)).or_default().insert(starter);
            }
        }
    }
    all
}

/// Returns true if `longshore serve` starts the tasks of the configuration. It then holds a lock.
fn is_serving(config: &Config) -> bool {
    let path = dirs::lock_dir(config).join(format!("serve-{}.lock", config.digest()));
    // Another user's lock, or none.
    let Ok(file) = regular_file::open(&path, OpenOptions::new().read(true)) else { return false };
    file.try_lock_shared().is_err()
}
