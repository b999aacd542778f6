//! The filters of a list.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use longshore_catalog::adopt::Adopted;
use longshore_catalog::catalog::{Backup, Series};
use longshore_config::Config;
use longshore_core::Result;
use longshore_core::unit::TimeSpan;
use longshore_engine::catalogs::{Catalogued, matches_adopted, matches_backup, parse_time, unknown_backup};

use super::entry::Entry;
use crate::args::{List, State};

/// The filters of a list, and its level of detail.
pub(super) struct Filter<'a> {
    subject: Option<&'a str>,
    job: Option<&'a str>,
    since: Option<DateTime<Utc>>,
    states: &'a [State],
    latest: Option<usize>,
    /// True if each backup has a line, false if each series has one.
    pub(super) each: bool,
}

impl<'a> Filter<'a> {
    pub(super) fn new(args: &'a List) -> Result<Self> {
        let since = args.since.as_deref().map(since).transpose()?;
        let latest = args.latest.map(|latest| latest as usize);
        Ok(Self {
            subject: args.subject.as_deref(),
            job: args.job.as_deref(),
            since,
            states: &args.state,
            latest,
            each: args.all || since.is_some() || latest.is_some() || !args.state.is_empty(),
        })
    }

    pub(super) fn matches(&self, backup: &Backup) -> bool {
        self.subject.is_none_or(|words| matches_backup(words, backup))
            && self.job.is_none_or(|job| job == backup.manifest.job)
    }

    pub(super) fn matches_adopted(&self, file: &Adopted) -> bool {
        self.subject.is_none_or(|words| matches_adopted(words, file))
            && self.job.is_none_or(|job| job == file.series.job)
    }

    /// Fails if no backup has the requested subject or job, unless the destinations are empty.
    pub(super) fn expect_known(&self, config: &Config, read: &[Catalogued]) -> Result<()> {
        let backups = || read.iter().flat_map(|at| at.catalog.backups());
        let files = || read.iter().flat_map(|at| at.catalog.adopted.values().flatten());
        if backups().next().is_none() && files().next().is_none() {
            return Ok(());
        }
        if let Some(words) = self.subject {
            let is_known = backups().any(|backup| matches_backup(words, backup))
                || files().any(|file| matches_adopted(words, file));
            if !is_known {
                return Err(unknown_backup(read, words));
            }
        }
        if let Some(job) = self.job {
            let is_known =
                backups().any(|backup| backup.manifest.job == job) || files().any(|file| file.series.job == job);
            if !is_known {
                config.job(Some(job))?;
            }
        }
        Ok(())
    }

    /// Returns the matching lines by series, oldest first.
    pub(super) fn apply(&self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut series: BTreeMap<Series, Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            let is_wanted = self.since.is_none_or(|since| entry.time() >= since)
                && self.states.iter().all(|state| entry.is(*state));
            if is_wanted {
                series.entry(entry.series()).or_default().push(entry);
            }
        }
        for entries in series.values_mut() {
            entries.sort_by(|one, other| (one.time(), &one.name).cmp(&(other.time(), &other.name)));
            if let Some(latest) = self.latest {
                entries.drain(..entries.len().saturating_sub(latest));
            }
        }
        series.into_values().flatten().collect()
    }
}

/// Parses a time, or a period before now.
fn since(text: &str) -> Result<DateTime<Utc>> {
    if let Ok(span) = TimeSpan::try_from(text.to_owned()) {
        let ago = chrono::TimeDelta::from_std(span.duration()).ok();
        return Ok(ago.and_then(|ago| Utc::now().checked_sub_signed(ago)).unwrap_or(DateTime::<Utc>::MIN_UTC));
    }
    let is_day = text.trim().len() == "2026-06-07".len();
    // Start at the first second of a day; `parse_time` returns its last second.
    parse_time(&if is_day { format!("{} 00:00", text.trim()) } else { text.to_owned() }).or_else(|_| parse_time(text))
}
