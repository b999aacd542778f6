//! The names of the configuration, and of the backups that this host knows by its run reports.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter};
use longshore_config::Config;
use longshore_engine::run_history::known_backups;

use crate::command::{ShortName, default_config_path};
use crate::plugins;

/// The time for reading run reports, the newest first.
const TIME_LIMIT: Duration = Duration::from_millis(60);

/// The names that an argument accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Job,
    JobOrAdopt,
    Adopt,
    Destination,
    Cluster,
    Channel,
    Policy,
    /// `main/shop`.
    Series,
    /// `shop`, or `main/shop`.
    Subject,
    /// `main/shop/shop-2026-06-07_091500`.
    Backup,
    SubjectOrBackup,
    BackupOrPath,
    /// A subject, a backup, or a cluster with base backups.
    Restorable,
}

/// The names for a command line. Each source is read once, if an argument accepts its names.
pub(super) struct Names {
    path: PathBuf,
    tables: LazyLock<toml::Table, Box<dyn FnOnce() -> toml::Table + Send>>,
    backups: LazyLock<Backups, Box<dyn FnOnce() -> Backups + Send>>,
}

/// The names of backups, and of their series.
#[derive(Default)]
struct Backups {
    /// The newest first.
    names: Vec<String>,
    series: BTreeSet<String>,
}

impl Names {
    /// Returns the names for a command line.
    pub(super) fn of(words: &[OsString]) -> Self {
        let path = config_path(words);
        let (of_tables, of_backups) = (path.clone(), path.clone());
        Self {
            path,
            // An invalid configuration still has names, if it is TOML.
            tables: LazyLock::new(Box::new(move || {
                let text = std::fs::read_to_string(of_tables).unwrap_or_default();
                toml::from_str(&text).unwrap_or_default()
            })),
            backups: LazyLock::new(Box::new(move || Backups::read(&of_backups))),
        }
    }

    /// Returns the candidates for a word.
    pub(super) fn candidates(&self, wanted: Wanted, current: &OsStr) -> Vec<CompletionCandidate> {
        let text = current.to_string_lossy();
        let names = match wanted {
            Wanted::Job => self.tables(&["job"]),
            Wanted::JobOrAdopt => self.tables(&["job", "adopt"]),
            Wanted::Adopt => self.tables(&["adopt"]),
            Wanted::Destination => self.tables(&["destination"]),
            Wanted::Cluster => self.tables(&["cluster"]),
            Wanted::Channel => self.tables(&["notify"]),
            Wanted::Policy => self.tables(&["retention"]),
            Wanted::Series => self.backups.series.iter().cloned().collect(),
            Wanted::Subject => self.subjects(&text),
            Wanted::Backup => self.backups.names.clone(),
            Wanted::SubjectOrBackup | Wanted::BackupOrPath => self.subjects_and_backups(&text),
            Wanted::Restorable => {
                let mut names = self.subjects_and_backups(&text);
                names.extend(self.tables(&["cluster"]).into_iter().filter(|cluster| self.has_base_backups(cluster)));
                names
            }
        };
        let matching = names.into_iter().filter(|name| name.starts_with(&*text));
        let order = |(place, name)| CompletionCandidate::new(name).display_order(Some(place));
        let mut candidates: Vec<CompletionCandidate> = matching.enumerate().map(order).collect();
        if wanted == Wanted::BackupOrPath {
            candidates.extend(PathCompleter::any().complete(current));
        }
        candidates
    }

    /// Returns the names of the tables in these sections: `NAME` of `[job.NAME]`.
    fn tables(&self, sections: &[&str]) -> Vec<String> {
        let of_section = |section: &&str| {
            let table = self.tables.get(*section).and_then(toml::Value::as_table);
            table.into_iter().flat_map(toml::Table::keys).cloned().collect::<Vec<_>>()
        };
        sections.iter().flat_map(of_section).collect()
    }

    /// Returns the short names of all subjects, such as `shop`. Returns also the series for a word
    /// that may begin one, and for subjects of several clusters.
    fn subjects(&self, current: &str) -> Vec<String> {
        let mut series_of: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
        for series in &self.backups.series {
            let subject = series.split_once('/').map_or(series.as_str(), |(_, subject)| subject);
            series_of.entry(subject).or_default().push(series);
        }
        let mut names = Vec::new();
        for (subject, series) in series_of {
            if series.len() == 1 {
                names.push(subject.to_owned());
            }
            if series.len() > 1 || !current.is_empty() {
                names.extend(series.into_iter().cloned());
            }
        }
        names
    }

    /// Returns subjects, and backups for a word that begins with their series.
    fn subjects_and_backups(&self, current: &str) -> Vec<String> {
        let mut names = self.subjects(current);
        if current.contains('/') {
            names.extend(self.backups.names.iter().cloned());
        }
        names
    }

    fn has_base_backups(&self, cluster: &str) -> bool {
        self.backups.series.contains(&format!("{cluster}/base"))
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Backups {
    fn read(path: &std::path::Path) -> Self {
        let Ok(config) = Config::load(path, &plugins::registry()) else { return Self::default() };
        let known = known_backups(&config, TIME_LIMIT);
        let series = known.iter().map(|name| ShortName::of(name).series).collect();
        Self { names: known.iter().map(ToString::to_string).collect(), series }
    }
}

/// Returns the configuration of a command line that is not complete.
fn config_path(words: &[OsString]) -> PathBuf {
    let mut path = None;
    let mut words = words.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        if word == "--config" || word == "-c" {
            path = words.next().map(|word| word.into_owned());
        } else if let Some(value) = word.strip_prefix("--config=") {
            path = Some(value.to_owned());
        } else if let Some(value) = word.strip_prefix("-c").filter(|_| !word.starts_with("--")) {
            path = Some(value.to_owned());
        }
    }
    let from_home = |path: String| match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(below), Some(home)) => PathBuf::from(home).join(below),
        _ => PathBuf::from(path),
    };
    let variable = || std::env::var_os("LONGSHORE_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    path.map(from_home).or_else(variable).unwrap_or_else(default_config_path)
}
