//! The comparison of restored data with the record of the dump, and the record of a drill.

use std::time::Instant;

use chrono::{DateTime, SubsecRound, Utc};
use longshore_catalog::catalog::Backup;
use longshore_core::drill::{Comparison, ComparisonOutcome, Drill, Phase, Verdict};
use longshore_core::left_out::{LeftOut, Nature};
use longshore_core::manifest::{Manifest, Tool};
use longshore_core::provenance::Mismatch;
use longshore_core::stage::Examine;
use longshore_core::subject::{Subject, SubjectKind};
use longshore_core::{Error, Kind, Result, SqlState, Stage};

use super::compatibility::Compatibility;
use super::{DrillCandidate, DrillContext, DrillSource, Driller, Report, Restored, classify, query, seconds};
use crate::error_report::ErrorReport;
use crate::hold::author;

impl Driller<'_> {
    /// Compares the restored data with the record of the dump, and creates the record of the drill.
    pub(super) async fn record_drill(
        &self,
        context: &DrillContext<'_>,
        candidate: &DrillCandidate,
        restored: Restored,
        report: &mut Report,
    ) -> Result<Drill> {
        let manifest = &candidate.backup.manifest;
        let mut drill = Drill {
            phases: restored.phases,
            ..new_record(
                context.source,
                &candidate.backup,
                restored.started,
                context.scratch.description(),
                context.scratch.version(),
            )
        };
        let sealed = manifest.artifact.encryption.is_some();
        let error = restored.error.as_ref().or(candidate.details.as_ref().err());
        let details = candidate.details.as_ref().ok().and_then(Option::as_ref);
        drill
            .comparisons
            .extend(candidate.mismatches.iter().map(|mismatch| mismatch_comparison(&manifest.subject, mismatch)));
        let assess = async || Compatibility::assess(context.scratch, context.examiner, manifest, details).await;
        if let Some(error) = error {
            let compatibility = assess().await;
            drill.verdict = classify::verdict(error, &restored.failures, &compatibility);
            // Program output names tables, so it is stored unencrypted only if the backup is.
            drill.why = if sealed { error.to_string() } else { error.chain() };
            drill.comparisons.push(failed(&manifest.subject, error, drill.verdict));
            if drill.verdict == Verdict::NotDrilled {
                let not_drilled = classify::not_drilled(error, &restored.failures, &compatibility);
                report.unfit.push(ErrorReport::from(&not_drilled));
            }
        } else {
            let begun = Instant::now();
            self.examine(context, candidate, &restored.left_out, &mut drill).await?;
            drill.phases.push(Phase { name: "compare".to_owned(), seconds: seconds(begun), restores: false });
            if let Some(error) = incomplete_error(manifest, &restored.left_out) {
                let compatibility = assess().await;
                let failures = classify::failures(&restored.left_out, &drill.comparisons);
                drill.verdict = classify::verdict(&error, &failures, &compatibility);
                drill.why = if sealed { error.to_string() } else { error.chain() };
                if drill.verdict == Verdict::NotDrilled {
                    let not_drilled = classify::not_drilled(&error, &failures, &compatibility);
                    report.unfit.push(ErrorReport::from(&not_drilled));
                }
            }
        }
        conclude(&mut drill);
        Ok(drill)
    }

    /// Compares the restored data and runs the operator's queries.
    async fn examine(
        &self,
        context: &DrillContext<'_>,
        candidate: &DrillCandidate,
        left_out: &[LeftOut],
        drill: &mut Drill,
    ) -> Result<()> {
        let manifest = &candidate.backup.manifest;
        let mut details = candidate.details.as_ref().ok().cloned().flatten().unwrap_or_default();
        if !left_out.is_empty() {
            details = self.restorer(context, manifest)?.comparable_details(&details, left_out).unwrap_or(details);
            drill.comparisons.extend(left_out.iter().map(uncreated_entry));
        }
        let databases: Vec<(String, String)> = match &manifest.subject {
            Subject::Database { name } => vec![(name.clone(), context.scratch.database(name))],
            Subject::All | Subject::Schema => databases(context.examiner).await?,
            Subject::Globals | Subject::Roles | Subject::Tablespaces | Subject::Base => Vec::new(),
        };
        if manifest.subject.kind() == SubjectKind::ClusterSql && context.can_restore(manifest) {
            drill.comparisons.extend(context.examiner.compare_globals(&details).await?);
        }
        for (name, restored_name) in databases {
            drill.comparisons.extend(context.examiner.compare(&restored_name, manifest, &details).await?);
            for query in context.source.job.drill.queries.iter().filter(|query| query.database == name) {
                let begun = manifest.time.time();
                drill.answers.push(query::run(context.examiner, query, &restored_name, begun).await?);
            }
        }
        Ok(())
    }
}

/// Creates the record of a drill that has no result yet. `scratch` describes the scratch server.
pub(super) fn new_record(
    source: DrillSource<'_>,
    backup: &Backup,
    started: DateTime<Utc>,
    scratch: String,
    version: String,
) -> Drill {
    Drill {
        longshore: env!("CARGO_PKG_VERSION").to_owned(),
        by: author(),
        why: String::new(),
        backup: backup.name.clone(),
        destination: source.destination.to_owned(),
        started,
        finished: started,
        verdict: Verdict::Good,
        scratch,
        tools: vec![backup.manifest.tool.clone(), Tool { name: "postgres".to_owned(), version }],
        phases: Vec::new(),
        compared: 0,
        different: 0,
        comparisons: Vec::new(),
        answers: Vec::new(),
    }
}

/// Counts the comparisons of a drill that has ended. Differences mean damage.
pub(super) fn conclude(drill: &mut Drill) {
    let different = |comparison: &&Comparison| comparison.outcome == ComparisonOutcome::Different;
    let not_compared = drill.not_compared().count();
    drill.compared = (drill.comparisons.len() - not_compared + drill.answers.len()) as u64;
    let bad_answers = drill.answers.iter().filter(|answer| !answer.good).count();
    drill.different = (drill.comparisons.iter().filter(different).count() + bad_answers) as u64;
    if drill.verdict != Verdict::Damaged && drill.different > 0 {
        drill.verdict = Verdict::Damaged;
        drill.why = format!("restored, but {} of {} comparisons differ", drill.different, drill.compared);
    }
    drill.finished = Utc::now().trunc_subsecs(3);
}

/// Returns all databases of a cluster that was restored from one script.
async fn databases(examiner: &dyn Examine) -> Result<Vec<(String, String)>> {
    let query = "select datname from pg_catalog.pg_database where datallowconn and datname not in ('template0', 'template1') order by datname";
    let rows = examiner.ask("postgres", query).await?;
    let names = rows.into_iter().filter_map(|row| row.into_iter().next().flatten());
    Ok(names.map(|name| (name.clone(), name)).collect())
}

/// Converts a field in which the details name another backup than the manifest into a comparison.
pub(super) fn mismatch_comparison(subject: &Subject, mismatch: &Mismatch) -> Comparison {
    Comparison {
        subject: subject.to_string(),
        aspect: format!("details of another backup: {}", mismatch.field),
        expected: Some(mismatch.expected.clone()),
        found: Some(mismatch.found.clone()),
        outcome: ComparisonOutcome::Different,
    }
}

/// Converts a failed restore into a comparison, with all causes, since comparisons are encrypted if
/// the backup is.
pub(super) fn failed(subject: &Subject, error: &Error, verdict: Verdict) -> Comparison {
    let outcome = match verdict {
        Verdict::Damaged => ComparisonOutcome::Different,
        _ => ComparisonOutcome::Not("it could not be restored here".to_owned()),
    };
    Comparison {
        subject: subject.to_string(),
        aspect: "restore".to_owned(),
        expected: Some("restored".to_owned()),
        found: Some(error.chain()),
        outcome,
    }
}

/// Converts an entry that could not be created into a comparison.
fn uncreated_entry(left_out: &LeftOut) -> Comparison {
    Comparison {
        subject: left_out.entry().to_owned(),
        aspect: "restore".to_owned(),
        expected: None,
        found: None,
        outcome: ComparisonOutcome::Not(format!("it could not be created here: {}", left_out.why)),
    }
}

/// Returns the error of a restored backup some of whose table entries could not be created: the
/// drill proves nothing.
fn incomplete_error(manifest: &Manifest, left_out: &[LeftOut]) -> Option<Error> {
    let structural: Vec<_> = left_out.iter().filter(|entry| entry.nature == Nature::Structural).collect();
    let first = structural.first()?;
    let message = format!("{} entries that belong to its tables could not be created", structural.len());
    let cause = format!("{}: {}", first.entry(), first.why);
    let error = Error::new(Stage::Restore, Kind::Failed, manifest.subject.to_string(), message).because(cause);
    let sqlstate = first.sqlstate.as_deref().and_then(SqlState::parse);
    Some(sqlstate.into_iter().fold(error, Error::code))
}
