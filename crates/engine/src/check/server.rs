//! Checks of the server that a job reads, surveyed as by a run, and of the scratch server
//! of its drill.

use std::sync::Arc;

use longshore_config::{Config, Job};
use longshore_core::check::{Finding, Outcome};
use longshore_core::discovery::Requirements;
use longshore_core::stage::Dump;

use super::differential::check_differential;
use crate::replay_pause;
use crate::run::incremental::expect_stage;
use crate::survey::{JobSurvey, Parallelism, survey};

/// Checks the server as a run of the job would, and the scratch server of the job's drill. Also
/// returns the estimated number of bytes that a run reads, if known.
pub(super) async fn check_server(config: &Config, job: &Job) -> (Vec<Finding>, Option<u64>) {
    let subject = format!("job {}", job.name);
    let mut findings = Vec::new();
    let mut dumps: Vec<Arc<dyn Dump>> = Vec::new();
    for dump in &job.dump {
        match dump(&job.site) {
            Ok(dump) => {
                findings.extend(dump.check().await);
                dumps.push(Arc::from(dump));
            }
            Err(error) => findings.push(Finding::failed(&subject, &error)),
        }
    }
    findings.extend(check_incremental(job, &dumps).await);
    let surveyed = survey(&dumps).await;
    let bytes = surveyed.as_ref().ok().map(JobSurvey::estimated_bytes);
    let is_whole = dumps.len() == job.dump.len();
    match surveyed {
        Ok(survey) => {
            let found = check_survey(job, &survey);
            // A stage may report the same in its check and in its survey.
            let is_new = |finding: &Finding| findings.iter().all(|known| known.message != finding.message);
            let found: Vec<_> = found.into_iter().filter(is_new).collect();
            findings.extend(found);
            findings.extend(check_differential(config, job, &survey).await);
        }
        // The checks already report a stage that cannot be built or cannot reach its server.
        Err(_) if findings.iter().any(|finding| finding.outcome == Outcome::Failed) => {}
        Err(error) => findings.push(Finding::failed(&subject, &error)),
    }
    if let (Some(dump), Some(_)) = (dumps.first(), bytes) {
        findings.extend(replay_pause::check_replay(config, job, &**dump).await);
    }
    let mut requirements = Some(Requirements::default());
    for dump in dumps.iter().filter(|_| bytes.is_some()) {
        match dump.requirements().await {
            Ok(more) => {
                if let Some(known) = requirements.as_mut() {
                    known.extend(more);
                }
            }
            Err(error) => {
                findings.push(Finding::failed("databases", &error));
                requirements = None;
            }
        }
    }
    findings.extend(check_scratch(job, requirements.filter(|_| bytes.is_some()).as_ref()).await);
    (findings, bytes.filter(|_| is_whole))
}

/// Checks the server for the incremental base backups of the job.
async fn check_incremental(job: &Job, dumps: &[Arc<dyn Dump>]) -> Vec<Finding> {
    if job.incremental.is_none() || dumps.len() < job.dump.len() {
        return Vec::new();
    }
    if let Err(error) = expect_stage(job, dumps) {
        return vec![Finding::failed(format!("job {}", job.name), &error)];
    }
    let mut findings = Vec::new();
    for stage in dumps.iter().filter_map(|dump| dump.incremental()) {
        findings.extend(stage.check().await);
    }
    findings
}

/// Returns the findings of a survey: databases that a run would not capture, and obstacles.
fn check_survey(job: &Job, survey: &JobSurvey) -> Vec<Finding> {
    let mut findings: Vec<_> = survey.missing.iter().map(|(_, error)| Finding::failed("databases", error)).collect();
    for left in &survey.not_captured {
        findings.push(Finding::warning("databases", left.to_string(), left.remedy.clone()));
    }
    for warning in &survey.warnings {
        findings.push(Finding::warning(
            "databases",
            warning.clone(),
            "check the settings databases and exclude of the job",
        ));
    }
    match survey.parallel(job.parallel) {
        Parallelism::Configured(_) => {}
        Parallelism::Limited(_, why) => {
            let remedy = survey.connections.as_ref().map(|connections| connections.remedy.clone()).unwrap_or_default();
            findings.push(Finding::warning("connections", why, remedy));
        }
        Parallelism::TooFewConnections(connections) => findings.push(Finding {
            outcome: Outcome::Failed,
            subject: "connections".to_owned(),
            message: format!("{}, but a run needs {}", connections.limit, connections.needed(1)),
            remedy: Some(connections.remedy),
        }),
    }
    findings
}

/// Checks the scratch server of the job's drill. A job without one may be drilled on another host.
async fn check_scratch(job: &Job, requirements: Option<&Requirements>) -> Vec<Finding> {
    let Some(scratch) = &job.drill.scratch else { return Vec::new() };
    let scratch = match scratch(&job.site) {
        Ok(scratch) => scratch,
        Err(error) => return vec![Finding::failed(format!("job {}", job.name), &error)],
    };
    let mut findings = scratch.check().await;
    if let (Some(requirements), true) =
        (requirements, findings.iter().all(|finding| finding.outcome != Outcome::Failed))
    {
        findings.extend(scratch.missing_features(requirements).await);
    }
    findings
}
