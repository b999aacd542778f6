//! The problems in the status.

use std::collections::BTreeMap;

use longshore_core::run_report::Outcome;
use longshore_notify::Event;

use super::matter::{Family, Matter, RunFacts, Scope};
use crate::run_history::RUN;
use crate::status::{Issue, IssueKind, RunStatus, Status};

/// The verb of a drill.
const DRILL: &str = "drill";

/// Returns the problems that the status shows, and those that it would show.
pub(super) fn matters(status: &Status) -> (Vec<Matter>, Scope) {
    let mut all: BTreeMap<String, Matter> = BTreeMap::new();
    let issues = status.attention.iter().map(|issue| issue_matter(status, issue));
    for matter in issues.chain(drills(status)).chain(low_space(status)) {
        // One notice reports a problem at several destinations.
        match all.get_mut(&matter.key()) {
            None => drop(all.insert(matter.key(), matter)),
            Some(known) if known.text == matter.text => {}
            Some(known) => {
                known.text = format!("{}\n{}", known.text, matter.text);
                known.destination = None;
                known.detail = match (known.detail.take(), matter.detail) {
                    (Some(one), Some(other)) => Some(format!("{one}\n{other}")),
                    (one, other) => one.or(other),
                };
            }
        }
    }
    // A backup at an unreadable destination may still be damaged.
    let is_complete = status.destinations.iter().all(|destination| destination.error.is_none());
    let scope = Scope::new(move |matter| match matter.family() {
        Family::Verify | Family::Task => false,
        Family::Destination => true,
        // Reports at an unreadable destination may show a later failure.
        Family::Run | Family::Drill | Family::Damage | Family::Other => is_complete,
    });
    (all.into_values().collect(), scope)
}

fn issue_matter(status: &Status, issue: &Issue) -> Matter {
    let event = event(issue);
    let subject = issue.series.as_ref().or(issue.job.as_ref()).or(issue.destination.as_ref());
    let subject = subject.map(|subject| format!(" {subject}")).unwrap_or_default();
    let summary = format!("{}{subject}", words(issue.kind));
    // Such messages contain errors, or names of tables.
    let is_detail = issue.kind.is_of_run()
        || matches!(issue.kind, IssueKind::Unreadable | IssueKind::Unknown | IssueKind::TablesVanished);
    let text = match is_detail {
        true => format!("{}; `longshore status` shows the reason.", capitalised(&summary)),
        false => format!("{}: {}", capitalised(&summary), issue.message),
    };
    let of_run = || {
        let job = issue.job.as_ref().filter(|_| issue.kind.is_of_run())?;
        let found = status.jobs.iter().find(|status| status.job == *job && status.last_run.is_some())?;
        Some((found.cluster.clone(), found.last_run.as_ref()?))
    };
    let (cluster, run) = of_run().unzip();
    // A task without a report has no facts, but replaces the last report of its job.
    let of_job = || status.jobs.iter().find(|status| Some(&status.job) == issue.job.as_ref());
    let unreported = || of_job().filter(|_| issue.kind == IssueKind::RunUnreported).map(|job| job.cluster.clone());
    Matter {
        cluster: cluster.or_else(unreported),
        job: issue.job.clone(),
        series: issue.series.clone(),
        destination: issue.destination.clone(),
        run: run.map(facts),
        detail: is_detail.then(|| issue.message.clone()),
        ..Matter::new(event, summary, text)
    }
}

fn facts(run: &RunStatus) -> RunFacts {
    RunFacts { verb: run.verb.clone(), id: run.id.clone(), outcome: run.outcome.to_string(), exit_code: run.exit_code }
}

/// Returns the jobs whose last drill failed.
fn drills(status: &Status) -> impl Iterator<Item = Matter> {
    let runs = status.jobs.iter().flat_map(|job| job.others.iter().map(move |run| (job, run)));
    let is_good = |outcome| matches!(outcome, Outcome::Done | Outcome::Locked | Outcome::Skipped);
    let failed = runs.filter(move |(_, run)| run.verb == DRILL && !is_good(run.outcome));
    failed.map(|(job, run)| {
        let summary = format!("drill of {} failed", job.job);
        let text = format!("{}, {} ago, with outcome {}.", capitalised(&summary), run.format_age(), run.outcome);
        Matter {
            cluster: Some(job.cluster.clone()),
            job: Some(job.job.clone()),
            run: Some(facts(run)),
            since: run.begun,
            detail: run.reason.clone(),
            ..Matter::new(Event::DrillFailed, summary, text)
        }
    })
}

/// Returns the destinations with less free space than the newest backups take there.
fn low_space(status: &Status) -> impl Iterator<Item = Matter> {
    status.destinations.iter().filter_map(|destination| {
        let free = destination.free_bytes?;
        let here = status.series.iter().filter(|series| {
            series.ended.is_none()
                && series.destinations.iter().any(|at| at.destination == destination.name && at.newest.is_some())
        });
        let needed: u64 = here.filter_map(|series| Some(series.size.as_ref()?.sealed_bytes)).sum();
        (free < needed).then(|| {
            let summary = format!("little space at {}", destination.name);
            let text = format!(
                "{}: {} MiB are free, and the newest backups take {} MiB. The next run may not fit.",
                capitalised(&summary),
                free >> 20,
                needed >> 20
            );
            Matter { destination: Some(destination.name.clone()), ..Matter::new(Event::Space, summary, text) }
        })
    })
}

/// Returns the event of a problem.
fn event(issue: &Issue) -> Event {
    match issue.kind {
        IssueKind::RunUnreported => match issue.verb.as_deref() {
            None | Some(RUN) => Event::RunFailed,
            Some(DRILL) => Event::DrillFailed,
            Some(_) => Event::Warning,
        },
        IssueKind::RunInterrupted | IssueKind::RunLost | IssueKind::RunFailed => Event::RunFailed,
        IssueKind::RunPartial => Event::RunPartial,
        IssueKind::NoLimit | IssueKind::Stale | IssueKind::WalStale => Event::Stale,
        IssueKind::Missing | IssueKind::WalMissing => Event::MissingCopy,
        IssueKind::Shrunk | IssueKind::TablesVanished => Event::Shrunk,
        IssueKind::Unreadable | IssueKind::Untrusted | IssueKind::HistoryChanged => Event::Unreadable,
        IssueKind::Damaged | IssueKind::DamagedPages | IssueKind::WalLost => Event::Damaged,
        IssueKind::Unknown | IssueKind::FutureDated | IssueKind::HoldLost | IssueKind::BackupsLost => Event::Warning,
        IssueKind::ParentTrusted | IssueKind::FullAtRisk => Event::Warning,
        IssueKind::WalForked | IssueKind::DrillAgain | IssueKind::MarkIgnored => Event::Warning,
        IssueKind::ScheduleFailed | IssueKind::WalNotReceived => Event::Warning,
    }
}

/// Returns the problem in a few words, before its subject.
fn words(kind: IssueKind) -> &'static str {
    match kind {
        IssueKind::NoLimit => "no age limit for",
        IssueKind::Unknown => "an unknown state of",
        IssueKind::Missing => "a missing copy of",
        IssueKind::FutureDated => "a backup dated in the future of",
        IssueKind::MarkIgnored => "ignored marks at",
        IssueKind::HistoryChanged => "a changed history of",
        IssueKind::Untrusted => "refused records at",
        IssueKind::HoldLost => "a lost hold at",
        IssueKind::BackupsLost => "lost backups at",
        IssueKind::ParentTrusted => "unseen parents of",
        IssueKind::FullAtRisk => "a full backup at risk of",
        IssueKind::WalMissing => "missing WAL at",
        IssueKind::WalForked => "forked WAL at",
        IssueKind::TablesVanished => "vanished tables in",
        IssueKind::DrillAgain => "a drill to repeat of",
        IssueKind::Shrunk => "a smaller backup of",
        IssueKind::RunInterrupted => "an interrupted run of",
        IssueKind::RunPartial => "a partial run of",
        IssueKind::Unreadable => "unreadable destination",
        IssueKind::Stale => "stale backups of",
        IssueKind::RunLost => "a killed run of",
        IssueKind::RunFailed => "a failed run of",
        IssueKind::RunUnreported => "a failure without a report of",
        IssueKind::ScheduleFailed => "schedules that cannot be evaluated",
        IssueKind::WalNotReceived => "a WAL receiver that does not work",
        IssueKind::DamagedPages => "damaged pages in",
        IssueKind::WalStale => "stale WAL at",
        IssueKind::WalLost => "lost WAL at",
        IssueKind::Damaged => "a damaged backup of",
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}
