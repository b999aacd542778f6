//! Checks of what differences need: databases, destinations that can be listed, the block digests
//! of full backups on this host, and space for new ones.

use std::sync::Arc;

use chrono::Utc;
use longshore_config::{Config, Job, ParentUnseen};
use longshore_core::check::Finding;
use longshore_core::pipeline::{Destination, Pipeline};
use longshore_core::subject::SubjectKind;

use crate::run::Differences;
use crate::run::differential::Differentials;
use crate::survey::JobSurvey;

/// The number of full backups that a finding names.
const MAX_NAMED: usize = 3;

/// Decides about the job's databases as a run would, and returns the decisions.
pub(super) async fn check_differential(config: &Config, job: &Job, survey: &JobSurvey) -> Vec<Finding> {
    let Some(settings) = &job.differential else { return Vec::new() };
    let subject = format!("job {}", job.name);
    // Other findings report a destination that cannot be opened, and bad recipients.
    let open = |name: &String| {
        let store = config.destinations.get(name)?.open().ok()?;
        Some(Destination { name: name.clone(), store })
    };
    let Ok(encrypt) = job.encrypt.as_ref().map(|encrypt| encrypt(&())).transpose() else { return Vec::new() };
    let pipeline = Pipeline {
        verify: Vec::new(),
        encrypt: encrypt.map(Arc::from),
        destinations: job.ship.iter().filter_map(open).collect(),
        needed_wal: None,
    };
    let (subjects, missing, configured) = (&survey.subjects, &survey.missing, Differences::AsConfigured);
    let planned = Differentials::plan((config, job), subjects, missing, &pipeline, configured, Utc::now());
    let differentials = match planned.await {
        Ok((Some(differentials), _)) => differentials,
        // Another finding reports a state_dir that cannot be written to.
        Ok((None, _)) => return Vec::new(),
        Err(error) => return vec![Finding::failed(subject, &error)],
    };
    let mut findings = Vec::new();
    if settings.parent_unseen == ParentUnseen::Full {
        findings.extend(differentials.unlisted().iter().map(|name| {
            let message = format!("cannot be listed, so that all backups of {subject} will be full ones");
            let remedy = "let this host list the destination, or set parent_unseen = \"trust\" in differential";
            Finding::warning(format!("destination {name}"), message, remedy)
        }));
    }
    let preview = differentials.preview();
    let fulls: Vec<&str> = preview.iter().filter_map(|(full, _)| full.map(|full| full.as_str())).collect();
    let others = fulls.len().saturating_sub(MAX_NAMED);
    let more = if others > 0 { format!(" and {others} others") } else { String::new() };
    let named = fulls.iter().take(MAX_NAMED).copied().collect::<Vec<_>>().join(", ");
    let message = match (fulls.len(), preview.len()) {
        (0, _) => "differential: the next run stores every database in full".to_owned(),
        (some, all) => {
            format!("differential: the next run stores {some} of {all} databases as differences, from {named}{more}")
        }
    };
    findings.push(Finding::good(&*subject, message));
    let remedy = "one full backup needs no action; `longshore sync` copies backups that a destination lacks";
    let warnings = preview.into_iter().flat_map(|(_, warnings)| warnings);
    findings.extend(warnings.map(|warning| Finding::warning(&*subject, warning, remedy)));
    findings.extend(check_space(&differentials, survey));
    findings
}

/// Warns if the state folder has too little space for the block digests of full backups.
fn check_space(differentials: &Differentials<'_>, survey: &JobSurvey) -> Option<Finding> {
    let databases = survey.subjects.iter().filter(|(_, surveyed)| surveyed.subject.kind() == SubjectKind::Database);
    let bytes = databases.filter_map(|(_, surveyed)| surveyed.estimated_bytes).sum();
    match differentials.space(bytes) {
        Ok((needed, free)) => (free < needed).then(|| {
            let message = format!(
                "{} MiB free, but the block digests of full backups take about {} MiB",
                free >> 20,
                needed >> 20
            );
            Finding::warning("state_dir", message, "free some space there, or increase block in differential")
        }),
        Err(error) => Some(Finding::failed("state_dir", &error)),
    }
}
