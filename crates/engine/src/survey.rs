//! The survey of a job: all dump stages query the server, before a run and in a check.

use std::collections::BTreeSet;
use std::sync::Arc;

use longshore_core::discovery::{Connections, DiscoveredSubject, NotCaptured};
use longshore_core::manifest::Server;
use longshore_core::stage::Dump;
use longshore_core::subject::{Subject, SubjectKind};
use longshore_core::{Error, Kind, Result, Stage};

/// The combined survey of all dump stages of a job.
pub(crate) struct JobSurvey {
    pub(crate) server: Server,
    pub(crate) subjects: Vec<(Arc<dyn Dump>, DiscoveredSubject)>,
    pub(crate) missing: Vec<(Subject, Error)>,
    pub(crate) not_captured: Vec<NotCaptured>,
    pub(crate) connections: Option<Connections>,
    pub(crate) is_standby: bool,
    pub(crate) warnings: Vec<String>,
}

/// Surveys the server with every dump stage. Parts of the cluster as SQL come first, files last.
pub(crate) async fn survey(dumps: &[Arc<dyn Dump>]) -> Result<JobSurvey> {
    let mut server = None;
    let mut subjects: Vec<(Arc<dyn Dump>, DiscoveredSubject)> = Vec::new();
    let (mut missing, mut not_captured, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    let mut connections: Option<Connections> = None;
    let mut is_standby = false;
    let mut seen = BTreeSet::new();
    for dump in dumps {
        let survey = dump.discover().await?;
        // A program of the operator knows no server.
        if server.is_none() || !survey.server.server_version.is_empty() {
            server = Some(survey.server);
        }
        missing.extend(survey.missing);
        not_captured.extend(survey.not_captured);
        warnings.extend(survey.warnings);
        is_standby |= survey.is_standby;
        connections = match (connections, survey.connections) {
            (Some(one), Some(other)) => Some(one.and(other)),
            (one, other) => one.or(other),
        };
        for surveyed in survey.subjects {
            if !seen.insert(surveyed.subject.clone()) {
                let subject = surveyed.subject.to_string();
                let message = "two entries of dump would copy it under the same name";
                return Err(Error::new(Stage::Config, Kind::Usage, subject, message)
                    .hint("exclude it from one entry, or split the entries into two jobs"));
            }
            subjects.push((Arc::clone(dump), surveyed));
        }
    }
    // A database that one stage omits and another dumps is captured.
    not_captured.retain(|left: &NotCaptured| left.subject.as_ref().is_none_or(|subject| !seen.contains(subject)));
    not_captured.dedup();
    subjects.sort_by_key(|(_, surveyed)| surveyed.subject.kind());
    match server {
        Some(server) if !subjects.is_empty() => {
            Ok(JobSurvey { server, subjects, missing, not_captured, connections, is_standby, warnings })
        }
        _ => Err(nothing_to_dump(missing, &not_captured, warnings)),
    }
}

/// Returns the error of a survey without subjects.
fn nothing_to_dump(missing: Vec<(Subject, Error)>, not_captured: &[NotCaptured], warnings: Vec<String>) -> Error {
    if let Some((_, error)) = missing.into_iter().next() {
        return error;
    }
    let reasons: Vec<_> = warnings.into_iter().chain(not_captured.iter().map(ToString::to_string)).collect();
    Error::new(Stage::Dump, Kind::Failed, "", "nothing to dump: no database matches")
        .because(reasons.join("; "))
        .hint("check the settings databases and exclude")
}

/// The number of databases that are dumped at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parallelism {
    /// The configured number.
    Configured(usize),
    /// The number that the connection limit permits, with the warning.
    Limited(usize, String),
    /// One, although the connection limit permits none.
    TooFewConnections(Box<Connections>),
}

impl Parallelism {
    /// Returns the number.
    pub(crate) fn number(&self) -> usize {
        match self {
            Self::Configured(number) | Self::Limited(number, _) => *number,
            Self::TooFewConnections(_) => 1,
        }
    }
}

impl JobSurvey {
    /// Decides how many databases are dumped at once, if the settings permit `configured`.
    pub(crate) fn parallel(&self, configured: usize) -> Parallelism {
        let databases =
            self.subjects.iter().filter(|(_, surveyed)| surveyed.subject.kind() == SubjectKind::Database).count();
        let configured = configured.min(databases).max(1);
        let Some(connections) = &self.connections else { return Parallelism::Configured(configured) };
        match connections.copies() {
            0 => Parallelism::TooFewConnections(Box::new(connections.clone())),
            copies if copies < configured => Parallelism::Limited(
                copies,
                format!(
                    "{}: {copies} of {configured} databases are dumped at once, since {configured} would need {} connections",
                    connections.limit,
                    connections.needed(configured)
                ),
            ),
            _ => Parallelism::Configured(configured),
        }
    }

    /// Returns the estimated number of bytes to read.
    pub(crate) fn estimated_bytes(&self) -> u64 {
        self.subjects.iter().filter_map(|(_, surveyed)| surveyed.estimated_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use longshore_testkit::fake_stage::{Content, FakeDump};

    use super::*;

    async fn surveyed(free: Option<u32>) -> JobSurvey {
        let databases = ["a", "b", "c"].map(|name| (Subject::database(name), Content::FailsAfter(0)));
        let globals = (Subject::Globals, Content::FailsAfter(0));
        let dump: Arc<dyn Dump> = Arc::new(FakeDump::new(databases.into_iter().chain([globals])));
        let mut survey = survey(&[dump]).await.unwrap();
        survey.connections =
            free.map(|free| Connections { each: 1, free, limit: "limit".to_owned(), remedy: "raise it".to_owned() });
        survey
    }

    #[tokio::test]
    async fn connection_limit_reduces_parallel_dumps() {
        assert_eq!(surveyed(None).await.parallel(4), Parallelism::Configured(3));
        assert_eq!(surveyed(Some(4)).await.parallel(8), Parallelism::Configured(3));
        assert_eq!(surveyed(Some(2)).await.parallel(1), Parallelism::Configured(1));
        let limited = surveyed(Some(3)).await.parallel(8);
        assert_eq!(limited.number(), 2);
        assert!(
            matches!(&limited, Parallelism::Limited(_, why) if why.contains("would need 4 connections")),
            "{limited:?}"
        );
        let insufficient = surveyed(Some(1)).await.parallel(8);
        assert!(
            insufficient.number() == 1 && matches!(insufficient, Parallelism::TooFewConnections(_)),
            "{insufficient:?}"
        );
    }

    #[tokio::test]
    async fn database_of_two_stages_is_refused() {
        let dump = || Arc::new(FakeDump::new([(Subject::database("a"), Content::FailsAfter(0))])) as Arc<dyn Dump>;
        assert_eq!(survey(&[dump(), dump()]).await.err().unwrap().kind(), Kind::Usage);
    }

    #[tokio::test]
    async fn survey_without_subjects_names_first_missing_one() {
        let error = Error::new(Stage::Dump, Kind::NotFound, "shop", "the server has no such database");
        let missing = nothing_to_dump(vec![(Subject::database("shop"), error)], &[], Vec::new());
        assert_eq!(missing.subject(), "shop");
        let left = NotCaptured::database("old", "allows no connections", "exclude it");
        let nothing = nothing_to_dump(Vec::new(), &[left], Vec::new());
        assert!(nothing.chain().contains("database \"old\": allows no connections"), "{}", nothing.chain());
    }
}
