//! The filters of a list.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use longshore_catalog::adopt::Adopted;
use longshore_catalog::catalog::{Backup, Series};
use longshore_core::Result;
use longshore_core::quantity::Span;
use longshore_service::catalogs::{Catalogued, means, means_adopted, moment, unknown};
use longshore_service::config::Config;

use super::line::Line;
use crate::args::{List, State};

/// The filters of a list, and its level of detail.
pub(super) struct Wanted<'a> {
    subject: Option<&'a str>,
    job: Option<&'a str>,
    since: Option<DateTime<Utc>>,
    states: &'a [State],
    latest: Option<usize>,
    /// True if each backup has a line, false if each series has one.
    pub(super) each: bool,
}

impl<'a> Wanted<'a> {
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

    pub(super) fn means(&self, backup: &Backup) -> bool {
        self.subject.is_none_or(|words| means(words, backup)) && self.job.is_none_or(|job| job == backup.manifest.job)
    }

    pub(super) fn means_adopted(&self, file: &Adopted) -> bool {
        self.subject.is_none_or(|words| means_adopted(words, file)) && self.job.is_none_or(|job| job == file.series.job)
    }

    /// Fails if no backup has the requested subject or job, unless the destinations are empty.
    pub(super) fn expect_known(&self, config: &Config, read: &[Catalogued]) -> Result<()> {
        let backups = || read.iter().flat_map(|at| at.catalog.backups());
        let files = || read.iter().flat_map(|at| at.catalog.adopted.values().flatten());
        if backups().next().is_none() && files().next().is_none() {
            return Ok(());
        }
        if let Some(words) = self.subject {
            let is_known =
                backups().any(|backup| means(words, backup)) || files().any(|file| means_adopted(words, file));
            if !is_known {
                return Err(unknown(read, words));
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
    pub(super) fn chosen(&self, lines: Vec<Line>) -> Vec<Line> {
        let mut series: BTreeMap<Series, Vec<Line>> = BTreeMap::new();
        for line in lines {
            let is_wanted =
                self.since.is_none_or(|since| line.time() >= since) && self.states.iter().all(|state| line.is(*state));
            if is_wanted {
                series.entry(line.series()).or_default().push(line);
            }
        }
        for lines in series.values_mut() {
            lines.sort_by(|one, other| (one.time(), &one.name).cmp(&(other.time(), &other.name)));
            if let Some(latest) = self.latest {
                lines.drain(..lines.len().saturating_sub(latest));
            }
        }
        series.into_values().flatten().collect()
    }
}

/// Parses a time, or a period before now.
fn since(text: &str) -> Result<DateTime<Utc>> {
    if let Ok(span) = Span::try_from(text.to_owned()) {
        let ago = chrono::TimeDelta::from_std(span.duration()).ok();
        return Ok(ago.and_then(|ago| Utc::now().checked_sub_signed(ago)).unwrap_or(DateTime::<Utc>::MIN_UTC));
    }
    let is_day = text.trim().len() == "2026-06-07".len();
    // Start at the first second of a day; `moment` returns its last second.
    moment(&if is_day { format!("{} 00:00", text.trim()) } else { text.to_owned() }).or_else(|_| moment(text))
}
