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
    let planned =
        Differentials::plan((config, job), &survey.subjects, &pipeline, Differences::AsConfigured, Utc::now());
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

#[cfg(test)]
mod tests {
    use longshore_core::check::Outcome;
    use longshore_core::stage::Dump;
    use longshore_core::subject::Subject;
    use longshore_testkit::fake_stage::{Content, FakeDump};
    use longshore_testkit::memory::{Fault, MemoryStore, Operation};

    use super::*;
    use crate::fixture;
    use crate::survey::survey;

    /// Returns the findings for a job of differences that dumps one subject.
    async fn found(store: &MemoryStore, settings: &str, subject: Subject) -> Vec<Finding> {
        let folder = tempfile::tempdir().unwrap();
        let config = fixture::config(folder.path(), store, None);
        let mut job = fixture::job(None);
        job.differential = Some(toml::from_str(settings).unwrap());
        let dump: Arc<dyn Dump> = Arc::new(FakeDump::new([(subject, Content::Whole("rows".into()))]));
        check_differential(&config, &job, &survey(&[dump]).await.unwrap()).await
    }

    #[tokio::test]
    async fn destination_that_cannot_be_listed_is_a_warning() {
        let store = MemoryStore::new();
        let good = found(&store, "full_every = '7d'", Subject::database("app")).await;
        assert!(good.iter().all(|finding| finding.outcome == Outcome::Good), "{good:?}");
        store.fault(Operation::List, Fault::Deny);
        let unlisted = found(&store, "full_every = '7d'", Subject::database("app")).await;
        assert_eq!(unlisted[0].outcome, Outcome::Warning);
        assert_eq!(unlisted[0].subject, format!("destination {}", fixture::DESTINATION));
        let trusted = found(&store, "full_every = '7d'\nparent_unseen = 'trust'", Subject::database("app")).await;
        assert!(trusted.iter().all(|finding| finding.outcome == Outcome::Good), "{trusted:?}");
    }

    #[tokio::test]
    async fn job_without_databases_fails_the_check() {
        let found = found(&MemoryStore::new(), "full_every = '7d'", Subject::Globals).await;
        assert!(matches!(&found[..], [finding] if finding.outcome == Outcome::Failed), "{found:?}");
    }
}
