//! Holds: marks that exempt backups from retention, and marks that release them.

use chrono::{DateTime, TimeDelta, Utc};
use longshore_config::Config;
use longshore_core::key::BackupName;
use longshore_core::mark::{Mark, MarkKind, MarkName, Marks, RememberedHold};
use longshore_core::{Error, Kind, Result, Stage};
use serde::Serialize;

use crate::catalogs::{JobChoice, NamedBackup, find_name_or_file, read_available};
use crate::destination_state::DestinationState;
use crate::error_report::ErrorReport;

/// A change of a backup's holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldChange {
    /// Exempt the backup from retention.
    Hold {
        /// The end of the hold; indefinite if `None`.
        until: Option<DateTime<Utc>>,
        /// The reason, for a reader years later.
        why: String,
    },
    /// Release all holds.
    Release,
}

/// The result of a mark at one destination.
#[derive(Debug, Serialize)]
pub struct Marked {
    /// The destination's name.
    pub destination: String,
    /// The backup.
    pub name: BackupName,
    /// The error, if the mark could not be stored.
    pub error: Option<ErrorReport>,
}

/// Returns the author of a mark: the user and the host.
pub(crate) fn author() -> String {
    let uid = rustix::process::getuid().as_raw();
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| format!("uid {uid}"));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{host}")
}

/// Creates a mark of this program and user.
pub(crate) fn mark(until: Option<DateTime<Utc>>, why: &str) -> Mark {
    Mark {
        longshore: env!("CARGO_PKG_VERSION").to_owned(),
        by: author(),
        until,
        why: why.to_owned(),
        ..Mark::default()
    }
}

/// Marks a backup or an adopted file at every destination that has it, or at the one named. The
/// name of a series means its newest backup; with a job, that of this job or adopt.
pub async fn hold<'a>(
    config: &Config,
    named: impl Into<NamedBackup<'a>>,
    only: Option<&str>,
    change: &HoldChange,
) -> Result<Vec<Marked>> {
    let NamedBackup { words, job } = named.into();
    let (catalogs, errors) = read_available(config, only).await?;
    let name = find_name_or_file(&catalogs, words, JobChoice::Flag(job))?;
    let mut all: Vec<Marked> = Vec::new();
    for at in &catalogs {
        for (_, marks) in at.catalog.marked().filter(|(marked, _)| **marked == name) {
            // A hold whose mark was deleted is known from the state of this host, and is released
            // like any other. An unreadable state hides only such a hold: the next prune fails
            // and reports it.
            let state = DestinationState::read(config, &at.name).ok();
            let is_remembered = state.is_some_and(|state| state.holds.contains_key(&name));
            let Some((kind, time, mark)) = mark_for(marks, change, is_remembered) else { continue };
            let put = longshore_catalog::mark::put(&mark, &*at.store, &name, kind, time).await;
            if let Ok(put) = &put {
                // On failure, the next prune reads the mark from the destination.
                remember(config, &at.name, change, put).ok();
            }
            all.push(Marked {
                destination: at.name.clone(),
                name: name.clone(),
                error: put.err().as_ref().map(ErrorReport::from),
            });
        }
    }
    if all.is_empty() {
        return Err(Error::new(Stage::Retention, Kind::Usage, name.as_str(), "is not held"));
    }
    // An unreadable manifest may be of the same backup, which was not marked there.
    for at in &catalogs {
        let unreadable = at.catalog.unreadable.iter().filter(|(key, _)| *key == name.manifest());
        all.extend(unreadable.map(|(_, error)| Marked {
            destination: at.name.clone(),
            name: name.clone(),
            error: Some(ErrorReport::from(error)),
        }));
    }
    // An unreadable destination may have the backup, too.
    let elsewhere = errors.iter().map(|error| Marked {
        destination: error.subject().to_owned(),
        name: name.clone(),
        error: Some(ErrorReport::from(error)),
    });
    all.extend(elsewhere);
    Ok(all)
}

/// Records a new hold in the state of this host, or removes a released one.
fn remember(config: &Config, destination: &str, change: &HoldChange, put: &MarkName) -> Result<()> {
    let mut state = DestinationState::open(config, destination)?;
    match change {
        HoldChange::Hold { until, why } => {
            let hold = RememberedHold { made: put.time, until: *until, why: why.clone() };
            state.holds.insert(put.backup.clone(), hold);
        }
        HoldChange::Release => {
            state.holds.remove(&put.backup);
        }
    }
    state.save()
}

/// Returns the mark for a change, and its time; `None` if there is no hold to release.
fn mark_for(marks: &Marks, change: &HoldChange, is_remembered: bool) -> Option<(MarkKind, DateTime<Utc>, Mark)> {
    let now = Utc::now();
    let after = |kind| marks.latest(kind).map_or(now, |time| now.max(time.time() + TimeDelta::seconds(1)));
    match change {
        HoldChange::Hold { until, why } => Some((MarkKind::Hold, after(MarkKind::Released), mark(*until, why))),
        HoldChange::Release if marks.held.is_some() || is_remembered => {
            Some((MarkKind::Released, after(MarkKind::Hold), mark(None, "")))
        }
        HoldChange::Release => None,
    }
}
