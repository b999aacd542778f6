//! Preflight checks: problems that would fail a later run.

use async_trait::async_trait;
use serde::Serialize;

/// A stage with a preflight check.
#[async_trait]
pub trait Check: Send + Sync {
    /// Checks everything that the stage will need, without side effects. A problem is a
    /// [`Finding`], not an error.
    async fn check(&self) -> Vec<Finding>;
}

/// The effect of a finding on the next run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// No problem.
    Good,
    /// A run will succeed, but with a limitation.
    Warning,
    /// A run will fail.
    Failed,
}

/// One line of a preflight check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The effect on the next run.
    pub outcome: Outcome,
    /// The checked object: a cluster, a tool, a destination.
    pub subject: String,
    /// The result of the check.
    pub message: String,
    /// The hint, if there is a problem.
    pub remedy: Option<String>,
}

impl Finding {
    /// Creates a finding without a problem.
    pub fn good(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Good, subject: subject.into(), message: message.into(), remedy: None }
    }

    /// Creates a warning.
    pub fn warning(subject: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { outcome: Outcome::Warning, subject: subject.into(), message: message.into(), remedy }
    }

    /// Creates the finding that `error` will fail a run.
    pub fn failed(subject: impl Into<String>, error: &crate::error::Error) -> Self {
        let remedy = error.remedy().map(str::to_owned);
        Self { outcome: Outcome::Failed, subject: subject.into(), message: error.chain(), remedy }
    }
}
