//! The evaluation of series: a pure function of catalogs, configuration and the time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use longshore_catalog::catalog::{Backup, Catalog, Series};
use longshore_config::{Config, Job, ParentUnseen};
use longshore_core::mark::MarkKind;
use longshore_core::terms::{self, MaxAge};
use longshore_core::unit::{TimeSpan, format_age};
use longshore_retention::CLOCK_TOLERANCE;
use longshore_schedule::{Expression, Schedule};

use super::differences::Differences;
use super::drills::Drills;
use super::growth;
use super::report::{AtDestination, BackupAge, Copies, Issue, IssueKind, Level, Proof, SeriesStatus, Size, Tables};
use crate::prune::format_time;
use crate::run_history::{JobKey, LastRuns};
use crate::series_end::{ended, newest_complete_run};

/// The time after which a run counts as late, or a copy as missing. A run also has twice the
/// duration of its newest backup.
const GRACE: TimeDelta = TimeDelta::hours(1);

/// The message about a series without an age limit.
const NO_LIMIT_MESSAGE: &str =
    "no age limit is set: set max_age or schedule in the job (max_age = \"none\" for no limit), or use --max-age";

/// A destination that could be read.
#[derive(Clone, Copy)]
pub(super) struct ReadCatalog<'a> {
    /// The name of the destination.
    pub(super) name: &'a str,
    /// The contents of the destination.
    pub(super) catalog: &'a Catalog,
}

/// The criteria by which series are evaluated.
#[derive(Clone, Copy)]
pub(super) struct Criteria<'a> {
    /// The configuration, with the jobs and destinations known on this host.
    pub(super) config: &'a Config,
    /// The only job to evaluate.
    pub(super) job: Option<&'a str>,
    /// The maximum age of the newest backup, for jobs that state none.
    pub(super) max_age: Option<MaxAge>,
    /// The last runs of jobs, whose reports state terms.
    pub(super) reported: &'a BTreeMap<JobKey, LastRuns>,
    /// The time by this host's clock.
    pub(super) now: DateTime<Utc>,
}

impl<'a> Criteria<'a> {
    /// Returns true if a series is requested.
    pub(super) fn includes(&self, series: &Series) -> bool {
        self.job.is_none_or(|job| job == series.job)
    }

    /// Returns the job that makes a series, if it is configured on this host.
    fn job_of(&self, series: &Series) -> Option<&'a Job> {
        self.config.jobs.get(&series.job).filter(|job| job.site.cluster.name == series.cluster)
    }

    /// Returns true if a backup is not dated in the future.
    fn is_past(&self, backup: &Backup) -> bool {
        backup.manifest.time.time() <= self.now + CLOCK_TOLERANCE
    }

    /// Returns true if a backup has a hold that has not ended.
    fn is_held(&self, backup: &Backup) -> bool {
        let hold = backup.marks.held.as_ref();
        hold.is_some_and(|hold| hold.until.is_none_or(|until| until > self.now))
    }

    /// Returns the terms of a series: those of its job's configuration on this host, or those that
    /// its last run reported.
    fn job_terms(&self, series: &Series) -> JobTerms {
        let job = self.job_of(series).map(|job| JobTerms { max_age: job.max_age, schedule: job.schedule.clone() });
        job.filter(|job_terms| job_terms.max_age.is_some() || job_terms.schedule.is_some()).unwrap_or_else(|| {
            let reported = self.reported.get(&(series.cluster.clone(), series.job.clone()));
            reported.and_then(LastRuns::terms).map(JobTerms::from).unwrap_or_default()
        })
    }

    fn newest(&self, backup: &Backup) -> BackupAge {
        let time = backup.manifest.time.time();
        BackupAge { backup: backup.name.clone(), time, age_seconds: (self.now - time).num_seconds() }
    }
}

/// The terms that a job states.
#[derive(Default)]
struct JobTerms {
    max_age: Option<MaxAge>,
    schedule: Option<Schedule>,
}

impl From<&terms::Terms> for JobTerms {
    fn from(terms: &terms::Terms) -> Self {
        let expression = terms.schedule.clone().and_then(|text| Expression::try_from(text).ok());
        let zone = terms.timezone.as_ref().map_or(Some(Tz::UTC), |name| name.parse().ok());
        let schedule = expression.zip(zone).map(|(expression, zone)| Schedule::new(expression, zone));
        Self { max_age: terms.max_age, schedule }
    }
}

/// Evaluates every requested series, and every job that should have one.
pub(super) fn evaluate(
    catalogs: &[ReadCatalog<'_>],
    mut drills: Drills,
    criteria: &Criteria<'_>,
) -> (Vec<SeriesStatus>, Vec<Issue>) {
    let mut by_destination: BTreeMap<&Series, BTreeMap<&str, &[Backup]>> = BTreeMap::new();
    for at in catalogs {
        for (series, backups) in at.catalog.series.iter().filter(|(series, _)| criteria.includes(series)) {
            by_destination.entry(series).or_default().insert(at.name, backups);
        }
    }
    let mut past_backups: BTreeMap<(&str, &str), Vec<&Backup>> = BTreeMap::new();
    for (series, by_destination) in &by_destination {
        let past = by_destination.values().copied().flatten().filter(|backup| criteria.is_past(backup));
        past_backups.entry((&series.cluster, &series.job)).or_default().extend(past);
    }
    let runs: BTreeMap<_, _> =
        past_backups.into_iter().map(|(job_key, backups)| (job_key, newest_complete_run(backups))).collect();
    let readable: BTreeSet<&str> = catalogs.iter().map(|at| at.name).collect();
    let (mut all, mut attention) = (Vec::new(), Vec::new());
    for (series, by_destination) in by_destination {
        let run = runs.get(&(&*series.cluster, &*series.job)).copied().flatten();
        let evaluation = SeriesEvaluation::new(series, by_destination, run, &readable, criteria);
        let mut status = evaluation.status(drills.remove(series).unwrap_or_default());
        let issues = evaluation.issues(&status);
        status.level = issues.iter().map(|issue| issue.level).max().unwrap_or(Level::Good);
        all.push(status);
        attention.extend(issues);
    }
    let jobs = criteria.config.jobs.values().filter(|job| criteria.job.is_none_or(|name| name == job.name));
    for job in jobs.filter(|job| job.ship.iter().all(|name| readable.contains(name.as_str()))) {
        if !all.iter().any(|series| series.job == job.name && series.cluster == job.site.cluster.name) {
            let message = format!("job \"{}\" has no backup", job.name);
            attention.push(Issue { job: Some(job.name.clone()), ..Issue::new(IssueKind::Stale, message) });
        }
    }
    (all, attention)
}

/// Returns the good backups of a series without duplicates, the oldest first.
pub(super) fn distinct_good_backups<'a>(
    by_destination: impl IntoIterator<Item = &'a [Backup]>,
    now: DateTime<Utc>,
) -> Vec<&'a Backup> {
    let good = by_destination.into_iter().flatten().filter(|backup| backup.is_good());
    let past = good.filter(|backup| backup.manifest.time.time() <= now + CLOCK_TOLERANCE);
    let once: BTreeMap<_, _> = past.map(|backup| ((backup.manifest.time, &backup.name), backup)).collect();
    once.into_values().collect()
}

/// The limit for the age of a newest backup.
enum AgeLimit {
    /// Any age: no limit is wanted.
    Unlimited,
    /// At most this age.
    Age(TimeDelta),
    /// Made since this run was due.
    Since(DateTime<Utc>),
}

/// One series under evaluation.
struct SeriesEvaluation<'a> {
    series: &'a Series,
    /// The backups at each destination that has any.
    by_destination: BTreeMap<&'a str, &'a [Backup]>,
    criteria: &'a Criteria<'a>,
    job_terms: JobTerms,
    /// The good backups without duplicates, the oldest first.
    good: Vec<&'a Backup>,
    ended: Option<DateTime<Utc>>,
    copies: Copies,
    /// The readable destinations that should have the newest backup.
    expected: BTreeSet<&'a str>,
    /// The age limit; `None` if no term states one.
    age_limit: Option<AgeLimit>,
}

impl<'a> SeriesEvaluation<'a> {
    fn new(
        series: &'a Series,
        by_destination: BTreeMap<&'a str, &'a [Backup]>,
        newest_run: Option<DateTime<Utc>>,
        readable: &BTreeSet<&'a str>,
        criteria: &'a Criteria<'a>,
    ) -> Self {
        let (job, job_terms) = (criteria.job_of(series), criteria.job_terms(series));
        let good = distinct_good_backups(by_destination.values().copied(), criteria.now);
        let past = by_destination.values().copied().flatten().filter(|backup| criteria.is_past(backup));
        let newest = past.max_by_key(|backup| backup.manifest.time);
        let wanted: BTreeSet<&str> = match (job, newest) {
            (Some(job), _) => job.ship.iter().map(String::as_str).collect(),
            (None, Some(newest)) if !newest.manifest.shipments.is_empty() => {
                newest.manifest.shipments.iter().map(|shipment| shipment.destination.as_str()).collect()
            }
            (None, _) => by_destination.keys().copied().collect(),
        };
        let has = |backup: &Backup| newest.is_some_and(|newest| newest.name == backup.name) && backup.is_good();
        let present: BTreeSet<&str> =
            by_destination.iter().filter(|(_, backups)| backups.iter().any(has)).map(|(name, _)| *name).collect();
        let (here, unreadable): (BTreeSet<&str>, BTreeSet<&str>) =
            wanted.iter().copied().partition(|name| readable.contains(name));
        let owned = |names: &mut dyn Iterator<Item = &&str>| names.map(|name| (*name).to_owned()).collect();
        let copies = Copies {
            wanted: wanted.len(),
            missing: owned(&mut here.difference(&present)),
            present: owned(&mut present.iter()),
            unseen: owned(&mut unreadable.iter()),
        };
        // The host that ships may use other names for destinations than this configuration.
        let expected = readable.iter().copied().filter(|name| match here.is_empty() {
            true => present.contains(name),
            false => here.contains(name),
        });
        let expected = expected.collect();
        let ended = ended(newest.map(|newest| newest.manifest.time.time()), newest_run);
        let age_limit = age_limit(&job_terms, good.last().copied(), criteria);
        Self { series, by_destination, criteria, job_terms, good, ended, copies, expected, age_limit }
    }

    fn status(&self, drills: Vec<super::report::DrillTime>) -> SeriesStatus {
        let names: BTreeSet<&str> = self.by_destination.keys().chain(&self.expected).copied().collect();
        let destinations: Vec<_> = names.into_iter().map(|name| self.at(name)).collect();
        let max_age = self.job_terms.max_age.or(self.criteria.max_age);
        let schedule = self.job_terms.schedule.as_ref().filter(|_| self.ended.is_none());
        SeriesStatus {
            cluster: self.series.cluster.clone(),
            subject: self.series.subject.segment(),
            job: self.series.job.clone(),
            level: Level::Good,
            max_age_seconds: max_age.and_then(MaxAge::limit).map(|age| age.num_seconds()),
            newest: self.good.last().map(|backup| self.criteria.newest(backup)),
            ended: self.ended,
            next_run: schedule.and_then(|schedule| schedule.next(self.criteria.now)),
            copies: Copies {
                wanted: self.copies.wanted,
                present: self.copies.present.clone(),
                missing: self.copies.missing.clone(),
                unseen: self.copies.unseen.clone(),
            },
            size: growth::size(&self.good),
            tables: growth::tables(&self.good),
            restore: growth::restore(drills),
            differences: Differences::of(&self.by_destination, self.good.last().copied()),
            worst_gap_seconds: None,
            bytes: destinations.iter().fold(0, |sum, at| sum.saturating_add(at.bytes)),
            destinations,
        }
    }

    /// Returns the state at one destination.
    fn at(&self, name: &str) -> AtDestination {
        let backups = self.by_destination.get(name).copied().unwrap_or_default();
        let past = || backups.iter().rev().filter(|backup| self.criteria.is_past(backup));
        let proved = |kind: MarkKind, holds: fn(&Backup) -> bool| {
            let backup = past().find(|backup| backup.is_good() && holds(backup))?;
            Some(Proof { newest: self.criteria.newest(backup), proved: backup.marks.latest(kind)?.time() })
        };
        let newest = past().find(|backup| backup.is_good());
        let is_expected = self.ended.is_none() && self.expected.contains(name);
        AtDestination {
            destination: name.to_owned(),
            backups: backups.len(),
            bytes: backups.iter().fold(0, |sum: u64, backup| sum.saturating_add(bytes(backup))),
            newest: newest.map(|backup| self.criteria.newest(backup)),
            stale: self.age_limit.as_ref().filter(|_| is_expected).map(|age_limit| match (age_limit, newest) {
                // Any age is permitted, and a missing copy is reported as such.
                (AgeLimit::Unlimited, _) => false,
                (_, None) => true,
                (AgeLimit::Age(age), Some(newest)) => self.criteria.now - newest.manifest.time.time() > *age,
                (AgeLimit::Since(due), Some(newest)) => newest.manifest.time.time() < *due,
            }),
            damaged_backups: backups.iter().filter(|backup| !backup.is_good()).count(),
            held_backups: backups.iter().filter(|backup| self.criteria.is_held(backup)).count(),
            damaged: past().next().filter(|backup| !backup.is_good()).map(|backup| self.criteria.newest(backup)),
            verified: proved(MarkKind::Verified, |backup| backup.marks.verified()),
            drilled: proved(MarkKind::Drilled, |backup| backup.marks.drilled()),
        }
    }

    /// Returns the problems of the series.
    fn issues(&self, status: &SeriesStatus) -> Vec<Issue> {
        let mut all = self.damage_issues();
        all.extend(self.stale_issues(status));
        all.extend(self.damaged_pages_issue());
        all.extend(self.trusted_parent_issue());
        let at_risk = status.differences.as_ref().and_then(Differences::warning);
        all.extend(at_risk.map(|message| self.issue(IssueKind::FullAtRisk, None, message)));
        if self.ended.is_none() {
            if self.age_limit.is_none() {
                all.push(self.issue(IssueKind::NoLimit, None, NO_LIMIT_MESSAGE.to_owned()));
            }
            all.extend(self.missing_issues(status));
            if let Some(size) = status.size.as_ref().filter(|size| size.shrunk) {
                all.push(self.issue(IssueKind::Shrunk, None, shrunk_message(size)));
            }
            if let Some(message) = status.tables.as_ref().and_then(vanished_message) {
                all.push(self.issue(IssueKind::TablesVanished, None, message));
            }
        }
        all
    }

    /// Reports a damaged newest backup, and backups dated in the future.
    fn damage_issues(&self) -> Vec<Issue> {
        let mut all = Vec::new();
        for (name, backups) in &self.by_destination {
            let newest = backups.iter().rev().find(|backup| self.criteria.is_past(backup));
            if let Some((newest, damage)) = newest.and_then(|newest| Some((newest, newest.damage()?))) {
                let mut message = format!("the newest backup, of {}, is damaged: {damage}", time(newest));
                if newest.marks.damaged() {
                    message += &format!("; `longshore mark {} --withdraw` withdraws a wrong mark", newest.name);
                }
                all.push(self.issue(IssueKind::Damaged, Some(name), message));
            } else if let Some((newest, advice)) = newest.and_then(|newest| Some((newest, newest.advice()?))) {
                let message = format!("the newest backup, of {}: {advice}", time(newest));
                all.push(self.issue(IssueKind::DrillAgain, Some(name), message));
            }
            if let Some(ahead) = backups.iter().rev().find(|backup| !self.criteria.is_past(backup)) {
                let message = format!("a backup is dated {}, which is in the future, and does not count", time(ahead));
                all.push(self.issue(IssueKind::FutureDated, Some(name), message));
            }
        }
        all
    }

    /// Reports pages that were damaged in the source cluster when the newest backup was made.
    fn damaged_pages_issue(&self) -> Option<Issue> {
        let newest = self.good.last()?;
        let pages = newest.manifest.base.as_ref().map(|base| base.damaged_pages).filter(|pages| *pages > 0)?;
        let of_pages =
            if pages == 1 { "1 page of the cluster is" } else { &format!("{pages} pages of the cluster are") };
        let message = format!(
            "{of_pages} damaged, also in the newest backup, of {}: `longshore inspect {}` names the files",
            time(newest),
            newest.name
        );
        Some(self.issue(IssueKind::DamagedPages, None, message))
    }

    /// Reports that backups are made without a look at the ones that they continue.
    fn trusted_parent_issue(&self) -> Option<Issue> {
        let newest = self.good.last()?;
        let job = self.criteria.job_of(self.series)?;
        let parent_unseen = match newest.manifest.is_difference() {
            true => job.differential.as_ref()?.parent_unseen,
            false => job.incremental.as_ref().filter(|_| newest.manifest.is_incremental())?.parent_unseen,
        };
        (parent_unseen == ParentUnseen::Trust).then(|| {
            let message = "parent_unseen = \"trust\": backups are made even where the backups that they continue may be \
                           missing";
            self.issue(IssueKind::ParentTrusted, None, message.to_owned())
        })
    }

    /// Reports destinations whose newest backup is too old, as one problem if all destinations
    /// are concerned.
    fn stale_issues(&self, status: &SeriesStatus) -> Vec<Issue> {
        let Some(newest) = &status.newest else {
            return vec![self.issue(IssueKind::Stale, None, "there is no good backup".to_owned())];
        };
        let stale: Vec<_> = status.destinations.iter().filter(|at| at.stale == Some(true)).collect();
        let same = stale.iter().all(|at| at.newest.as_ref() == Some(newest));
        if same && !stale.is_empty() && stale.len() == self.expected.len() {
            return vec![self.issue(IssueKind::Stale, None, self.stale_message(Some(newest)))];
        }
        stale
            .into_iter()
            .map(|at| self.issue(IssueKind::Stale, Some(&at.destination), self.stale_message(at.newest.as_ref())))
            .collect()
    }

    fn stale_message(&self, newest: Option<&BackupAge>) -> String {
        let Some(newest) = newest else { return "there is no good backup at the destination".to_owned() };
        let old = format_age(TimeDelta::seconds(newest.age_seconds));
        match &self.age_limit {
            Some(AgeLimit::Since(due)) => format!(
                "the run due at {} made no good backup: the newest is {old} old, of {}",
                format_time(*due),
                format_time(newest.time)
            ),
            Some(AgeLimit::Age(most)) => format!(
                "the newest good backup is {old} old, of {}: max_age is {}",
                format_time(newest.time),
                TimeSpan::new(most.to_std().unwrap_or_default())
            ),
            Some(AgeLimit::Unlimited) | None => {
                format!("the newest good backup is {old} old, of {}", format_time(newest.time))
            }
        }
    }

    /// Reports destinations that lack the newest backup, unless a worse problem is reported there.
    fn missing_issues(&self, status: &SeriesStatus) -> Vec<Issue> {
        let Some(newest) = self.good.last() else { return Vec::new() };
        if newest.manifest.finished + GRACE > self.criteria.now {
            // The run that ships the backup may still be in progress.
            return Vec::new();
        }
        let quiet = |name: &&String| {
            let at = status.destinations.iter().find(|at| at.destination == **name);
            at.is_none_or(|at| at.stale != Some(true) && at.damaged.is_none())
        };
        let missing = self.copies.missing.iter().filter(quiet);
        let message = || format!("the newest backup, of {}, is missing", time(newest));
        missing.map(|name| self.issue(IssueKind::Missing, Some(name), message())).collect()
    }

    fn issue(&self, kind: IssueKind, destination: Option<&str>, message: String) -> Issue {
        Issue {
            series: Some(format!("{}/{}", self.series.cluster, self.series.subject.segment())),
            job: Some(self.series.job.clone()),
            destination: destination.map(str::to_owned),
            ..Issue::new(kind, message)
        }
    }
}

/// Returns the age limit: the job's, or the requested one, or else the time of the last run
/// that was due.
fn age_limit(job_terms: &JobTerms, newest: Option<&Backup>, criteria: &Criteria<'_>) -> Option<AgeLimit> {
    if let Some(age) = job_terms.max_age.or(criteria.max_age) {
        return Some(age.limit().map_or(AgeLimit::Unlimited, AgeLimit::Age));
    }
    let took = newest.map_or(TimeDelta::zero(), |newest| newest.manifest.finished - newest.manifest.time.time());
    let grace = GRACE.checked_add(&took).and_then(|grace| grace.checked_add(&took)).unwrap_or(GRACE).max(GRACE);
    let until = criteria.now.checked_sub_signed(grace)?;
    job_terms.schedule.as_ref()?.last(until).map(AgeLimit::Since)
}

/// Returns the size of a backup in bytes.
pub(super) fn bytes(backup: &Backup) -> u64 {
    let details = backup.manifest.details.as_ref().map_or(0, |details| details.sealed.bytes);
    backup.manifest.artifact.sealed.bytes.saturating_add(details)
}

fn time(backup: &Backup) -> String {
    format_time(backup.manifest.time.time())
}

fn shrunk_message(size: &Size) -> String {
    let usual = size.median_plaintext_bytes.unwrap_or_default();
    let percent = 100 - u128::from(size.plaintext_bytes) * 100 / u128::from(usual.max(1));
    format!(
        "the newest dump is {percent} % smaller than the previous ones: {} bytes, but their median is {usual}",
        size.plaintext_bytes
    )
}

/// Describes the tables that vanished.
pub(super) fn vanished_message(tables: &Tables) -> Option<String> {
    let before = tables.before.filter(|before| *before > tables.now)?;
    let names = tables.vanished.as_ref().filter(|names| !names.is_empty());
    let names = names.map(|names| format!(": {}", names.join(", "))).unwrap_or_default();
    Some(format!("tables vanished: {}, before {before}{names}", tables.now))
}
