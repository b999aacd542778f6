//! The problems in the report of a run.

use std::collections::BTreeSet;

use longshore_core::run_report::{Details, Outcome, RunReport};
use longshore_notify::{Event, Notice, State};

use super::matter::{Family, Matter, RunFacts, Scope, VERIFY};
use crate::run_history::RUN;
use crate::status::failures;

/// The verb of a drill.
const DRILL: &str = "drill";
/// The verbs that a schedule starts, and that make no backup and prove none.
const TASKS: [&str; 2] = ["prune", "sync"];

/// Returns the notice that a run begins.
pub(super) fn started(host: &str, report: &RunReport) -> Notice {
    let summary = format!("run of {} has begun", job(report));
    notice(Event::RunStarted, State::Started, host, report, &summary, String::new())
}

/// Returns the event of the end of a run, and its notice.
pub(super) fn ended(host: &str, report: &RunReport, details: &Details) -> (Event, Notice) {
    let (event, state) = match report.outcome {
        Outcome::Done => (Event::RunOk, State::Success),
        Outcome::Skipped => (Event::RunOk, State::Skipped),
        Outcome::Partial => (Event::RunPartial, State::Onset),
        _ => (Event::RunFailed, State::Onset),
    };
    let notice = notice(event, state, host, report, &summary(report), text(report));
    (event, Notice { detail: details_text(details), ..notice })
}

fn notice(event: Event, state: State, host: &str, report: &RunReport, summary: &str, text: String) -> Notice {
    Notice {
        job: report.job.clone(),
        verb: Some(report.verb.clone()),
        run: Some(report.id.to_string()),
        outcome: (state != State::Started).then(|| report.outcome.to_string()),
        exit_code: report.exit_code,
        since: report.begun,
        ..Notice::new(event, state, host, format!("Longshore: {summary} on {host}"), text)
    }
}

/// Returns the problems that a report shows, and those that it would show.
pub(super) fn matters(report: &RunReport, details: &Details) -> (Vec<Matter>, Scope) {
    if matches!(report.outcome, Outcome::Locked | Outcome::Skipped) {
        return (Vec::new(), Scope::empty());
    }
    let event = match (report.verb.as_str(), report.outcome) {
        (_, Outcome::Done) => None,
        (RUN, Outcome::Partial) => Some(Event::RunPartial),
        (RUN, _) => Some(Event::RunFailed),
        (DRILL, _) => Some(Event::DrillFailed),
        (VERIFY, _) => Some(Event::Warning),
        (verb, _) if TASKS.contains(&verb) => Some(Event::Warning),
        _ => return (Vec::new(), Scope::empty()),
    };
    let (mut matters, family) = (
        Vec::new(),
        match report.verb.as_str() {
            RUN => Family::Run,
            DRILL => Family::Drill,
            VERIFY => Family::Verify,
            _ => Family::Task,
        },
    );
    matters.extend(event.map(|event| Matter {
        cluster: report.cluster.clone(),
        job: report.job.clone(),
        run: Some(facts(report)),
        since: report.begun,
        detail: details_text(details),
        ..Matter::new(event, summary(report), text(report))
    }));
    if [DRILL, VERIFY].contains(&report.verb.as_str()) {
        matters.extend(damaged(report));
    }
    // A drill that succeeds shows that its series are good again.
    let good: BTreeSet<String> = match report.verb.as_str() {
        DRILL => series(report, |outcome| outcome == Outcome::Done),
        _ => BTreeSet::new(),
    };
    let (cluster, job, verb) = (report.cluster.clone(), report.job.clone(), report.verb.clone());
    let scope = Scope::new(move |matter| match matter.family() {
        Family::Damage => matter.series.as_ref().is_some_and(|series| good.contains(series)),
        Family::Task if matter.run.as_ref().is_some_and(|run| run.verb != verb) => false,
        found => found == family && matter.cluster == cluster && matter.job == job,
    });
    (matters, scope)
}

/// Returns the damaged backups that a drill or a verification found.
fn damaged(report: &RunReport) -> Vec<Matter> {
    let damaged = series(report, |outcome| outcome == Outcome::Damaged).into_iter();
    let matter = |series: String| {
        let text =
            format!("A {} found that a backup of {series} is damaged. Restore from another backup.", report.verb);
        Matter {
            job: report.job.clone(),
            series: Some(series.clone()),
            since: report.begun,
            ..Matter::new(Event::Damaged, format!("a backup of {series} is damaged"), text)
        }
    };
    damaged.map(matter).collect()
}

/// Returns the series of the subjects with an outcome.
fn series(report: &RunReport, is_wanted: impl Fn(Outcome) -> bool) -> BTreeSet<String> {
    let subjects = report.subjects.iter().filter(|subject| is_wanted(subject.outcome));
    let names = subjects.map(|subject| match &subject.backup {
        Some(backup) => backup.folder().to_owned(),
        // A verification names the whole backup as the subject.
        None => subject.subject.rsplit_once('/').map_or(subject.subject.as_str(), |(folder, _)| folder).to_owned(),
    });
    names.collect()
}

fn facts(report: &RunReport) -> RunFacts {
    RunFacts {
        verb: report.verb.clone(),
        id: report.id.to_string(),
        outcome: report.outcome.to_string(),
        exit_code: report.exit_code,
    }
}

fn job(report: &RunReport) -> &str {
    report.job.as_deref().unwrap_or("all backups")
}

/// Returns the end of a run in a few words.
fn summary(report: &RunReport) -> String {
    let verb = match report.verb.as_str() {
        VERIFY => "verification",
        verb => verb,
    };
    let end = match report.outcome {
        Outcome::Done => "succeeded",
        Outcome::Partial => "succeeded in part",
        Outcome::Damaged => "found damage",
        Outcome::Refused => "was refused",
        Outcome::Interrupted => "was interrupted",
        Outcome::Skipped => "was skipped by a hook",
        Outcome::Failed | Outcome::Lost | Outcome::Locked => "failed",
    };
    format!("{verb} of {} {end}", job(report))
}

/// Returns the end of a run with classes of errors and sizes, but without messages.
fn text(report: &RunReport) -> String {
    let summary = summary(report);
    let (first, rest) = summary.split_at(1);
    let class = report.error.as_ref().map(|class| format!(" ({class})")).unwrap_or_default();
    let exit = report.exit_code.filter(|code| *code != 0).map(|code| format!(", exit code {code}")).unwrap_or_default();
    let failures = failures(report).map(|failures| format!(" Failed: {failures}.")).unwrap_or_default();
    let backups = report.subjects.iter().filter(|subject| subject.backup.is_some()).count();
    let bytes: u64 = report.subjects.iter().filter_map(|subject| subject.sealed_bytes).sum();
    let made = match (report.verb.as_str(), backups) {
        (RUN, 1..) => format!(" Backups: {backups}, {} MiB stored.", bytes.div_ceil(1 << 20)),
        _ => String::new(),
    };
    format!("{}{rest}{class}{exit}.{failures}{made}", first.to_uppercase())
}

/// Returns the messages of errors.
fn details_text(details: &Details) -> Option<String> {
    let others = details.subjects.iter();
    let others =
        others.flat_map(|(subject, messages)| messages.iter().map(move |message| format!("{subject}: {message}")));
    let hint = details.hint.iter().map(|hint| format!("hint: {hint}"));
    let all: Vec<String> = details.error.iter().cloned().chain(hint).chain(others).collect();
    (!all.is_empty()).then(|| all.join("\n"))
}

#[cfg(test)]
mod tests {
    use longshore_core::run_report::{Class, SubjectOutcome};

    use super::*;

    fn report(verb: &str, outcome: Outcome) -> RunReport {
        let text = include_str!("../../../model/testdata/run-report-1.json");
        let report = RunReport::from_bytes("report", text.as_bytes()).unwrap();
        RunReport {
            verb: verb.to_owned(),
            job: Some("nightly".to_owned()),
            outcome,
            exit_code: Some(4),
            error: Some(Class { stage: "dump".to_owned(), kind: "corrupt".to_owned() }),
            subjects: Vec::new(),
            left_out: Vec::new(),
            ..report
        }
    }

    fn subject(name: &str, backup: Option<&str>, outcome: Outcome) -> SubjectOutcome {
        let value = serde_json::json!({ "subject": name, "backup": backup, "outcome": outcome });
        serde_json::from_value(value).unwrap()
    }

    fn keys(matters: &[Matter]) -> Vec<String> {
        matters.iter().map(Matter::key).collect()
    }

    #[test]
    fn successful_drill_ends_the_damage_of_its_series() {
        let backup = Some("main/shop/shop-2026-06-07_091500");
        let subjects = |outcome| vec![subject("shop", backup, outcome)];
        let damaged = RunReport { subjects: subjects(Outcome::Damaged), ..report("drill", Outcome::Damaged) };
        let (matters, scope) = super::matters(&damaged, &Details::default());
        assert_eq!(
            keys(&matters),
            [format!("drill {} nightly", damaged.cluster.unwrap()), "damaged main/shop".to_owned()]
        );
        assert!(!scope.contains(&matters[1]), "the drill that found the damage does not end it");
        let good = RunReport { subjects: subjects(Outcome::Done), ..report("drill", Outcome::Done) };
        let (now, scope) = super::matters(&good, &Details::default());
        assert!(now.is_empty() && matters.iter().all(|matter| scope.contains(matter)));
        // A run of the same job proves nothing about a restore.
        let (_, scope) = super::matters(&report("run", Outcome::Done), &Details::default());
        assert!(!matters.iter().any(|matter| scope.contains(matter)));
    }

    #[test]
    fn verification_names_the_series_of_a_damaged_backup() {
        let subjects = vec![subject("main/shop/shop-2026-06-07_091500", None, Outcome::Damaged)];
        let report = RunReport { job: None, cluster: None, subjects, ..report("verify", Outcome::Damaged) };
        let (matters, _) = super::matters(&report, &Details::default());
        assert_eq!(keys(&matters), ["verify  ", "damaged main/shop"]);
    }

    #[test]
    fn each_job_and_verb_has_a_problem_of_its_own() {
        let of_job = |verb: &str, job: &str, outcome| {
            let report = RunReport { job: Some(job.to_owned()), ..report(verb, outcome) };
            super::matters(&report, &Details::default())
        };
        let failed: Vec<Matter> =
            [("verify", "nightly"), ("verify", "weekly"), ("prune", "nightly"), ("sync", "nightly")]
                .into_iter()
                .flat_map(|(verb, job)| of_job(verb, job, Outcome::Failed).0)
                .collect();
        let different: BTreeSet<String> = keys(&failed).into_iter().collect();
        assert_eq!(different.len(), 4, "{different:?}");
        let ended = |verb: &str, job: &str| -> Vec<bool> {
            let (_, scope) = of_job(verb, job, Outcome::Done);
            failed.iter().map(|matter| scope.contains(matter)).collect()
        };
        assert_eq!(ended("verify", "weekly"), [false, true, false, false]);
        assert_eq!(ended("prune", "nightly"), [false, false, true, false]);
        assert_eq!(ended("run", "nightly"), [false; 4]);
    }

    #[test]
    fn text_has_classes_and_no_messages() {
        let details = Details { error: Some("cannot read /srv/secret".to_owned()), ..Details::default() };
        let (matters, _) = super::matters(&report("run", Outcome::Failed), &details);
        assert_eq!(matters[0].text, "Run of nightly failed (dump: corrupt), exit code 4.");
        assert_eq!(matters[0].detail.as_deref(), Some("cannot read /srv/secret"));
        for skipped in [Outcome::Locked, Outcome::Skipped] {
            let (matters, scope) = super::matters(&report("run", skipped), &details);
            assert!(
                matters.is_empty() && !scope.contains(&Matter::new(Event::RunFailed, String::new(), String::new()))
            );
        }
    }
}
