//! A problem, and its identity over time.

use chrono::{DateTime, SubsecRound, Utc};
use longshore_notify::{Event, Notice, Severity, State};
use serde::{Deserialize, Serialize};

/// The verb of a verification.
pub(super) const VERIFY: &str = "verify";

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Matter {
    pub(super) event: Event,
    /// The cluster of the job.
    pub(super) cluster: Option<String>,
    pub(super) job: Option<String>,
    /// The series, as `CLUSTER/SUBJECT`.
    pub(super) series: Option<String>,
    pub(super) destination: Option<String>,
    /// The facts of the run that shows the problem, if a run does.
    #[serde(default)]
    pub(super) run: Option<RunFacts>,
    /// The problem in a few words, such as `run of nightly failed`.
    pub(super) summary: String,
    /// The description, without messages of errors.
    pub(super) text: String,
    /// The messages of errors. The memory does not contain them.
    #[serde(skip)]
    pub(super) detail: Option<String>,
    /// The begin of the problem, as far as this host knows.
    pub(super) since: DateTime<Utc>,
}

/// The facts of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunFacts {
    pub(super) verb: String,
    pub(super) id: String,
    pub(super) outcome: String,
    pub(super) exit_code: Option<u8>,
}

/// The kinds of problems that replace each other: a run that failed, and then succeeded in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    Run,
    Drill,
    Verify,
    /// Another verb of a schedule: prune, sync.
    Task,
    Damage,
    Destination,
    /// Any other problem that only the status shows.
    Other,
}

impl Matter {
    pub(super) fn new(event: Event, summary: String, text: String) -> Self {
        Self {
            event,
            cluster: None,
            job: None,
            series: None,
            destination: None,
            run: None,
            summary,
            text,
            detail: None,
            since: Utc::now().trunc_subsecs(0),
        }
    }

    /// Returns the family of the problem.
    pub(super) fn family(&self) -> Family {
        match self.event {
            Event::RunFailed | Event::RunPartial => Family::Run,
            Event::DrillFailed => Family::Drill,
            Event::Damaged => Family::Damage,
            Event::Unreadable => Family::Destination,
            Event::Warning if self.run.as_ref().is_some_and(|run| run.verb == VERIFY) => Family::Verify,
            Event::Warning if self.run.is_some() => Family::Task,
            _ => Family::Other,
        }
    }

    /// Returns the identity of the problem. Whether a verification, a drill or the status finds a
    /// damaged backup, the problem is the same.
    pub(super) fn key(&self) -> String {
        let name = |part: &Option<String>| part.clone().unwrap_or_default();
        let (cluster, job, series, destination) =
            (name(&self.cluster), name(&self.job), name(&self.series), name(&self.destination));
        match self.family() {
            Family::Run => format!("run {cluster} {job}"),
            Family::Drill => format!("drill {cluster} {job}"),
            Family::Verify => format!("verify {cluster} {job}"),
            Family::Task => {
                let verb = self.run.as_ref().map(|run| run.verb.as_str()).unwrap_or_default();
                format!("{verb} {cluster} {job}")
            }
            Family::Damage if !series.is_empty() => format!("damaged {series}"),
            Family::Damage | Family::Destination | Family::Other if series.is_empty() && job.is_empty() => {
                format!("{} {destination}", self.event)
            }
            Family::Damage | Family::Destination | Family::Other => format!("{} {series} {job}", self.event),
        }
    }

    /// Returns true if the problem is worse than `other`.
    pub(super) fn is_worse_than(&self, other: &Self) -> bool {
        self.event.severity() == Severity::Critical && other.event.severity() != Severity::Critical
    }

    /// Returns the notice about the problem.
    pub(super) fn notice(&self, state: State, host: &str, with_detail: bool) -> Notice {
        let (mark, text) = match state {
            State::Recovered => ("Recovered: ", format!("This problem is over: {}", self.text)),
            State::Reminder => ("Still: ", self.text.clone()),
            _ => ("", self.text.clone()),
        };
        let named = [("job", &self.job), ("series", &self.series), ("destination", &self.destination)];
        let named = named.iter().filter_map(|(what, name)| Some(format!("{what} {}", name.as_ref()?)));
        let place: Vec<String> = named.chain([format!("host {host}")]).collect();
        Notice {
            job: self.job.clone(),
            series: self.series.clone(),
            destination: self.destination.clone(),
            verb: self.run.as_ref().map(|run| run.verb.clone()),
            run: self.run.as_ref().map(|run| run.id.clone()),
            outcome: self.run.as_ref().map(|run| run.outcome.clone()),
            exit_code: self.run.as_ref().and_then(|run| run.exit_code),
            since: self.since,
            detail: self.detail.clone().filter(|_| with_detail && state != State::Recovered),
            ..Notice::new(
                self.event,
                state,
                host,
                format!("{mark}Longshore: {} on {host}", self.summary),
                format!("{text}\n{}", place.join(" · ")),
            )
        }
    }
}

/// The problems that were examined: one of them that is not found is over.
pub(super) struct Scope(Box<dyn Fn(&Matter) -> bool + Send + Sync>);

impl Scope {
    pub(super) fn new(contains: impl Fn(&Matter) -> bool + Send + Sync + 'static) -> Self {
        Self(Box::new(contains))
    }

    /// Returns a scope without any problem.
    pub(super) fn empty() -> Self {
        Self::new(|_| false)
    }

    pub(super) fn contains(&self, matter: &Matter) -> bool {
        (self.0)(matter)
    }
}
