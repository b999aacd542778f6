//! What would fail at 3 a.m., found now.

use async_trait::async_trait;
use serde::Serialize;

/// A stage that can look ahead.
#[async_trait]
pub trait Check: Send + Sync {
    /// Looks at everything the stage will need, without leaving anything behind. What is wrong is a [`Finding`], not an error.
    async fn check(&self) -> Vec<Finding>;
}

/// How a finding bears on the next run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Good,
    /// A run will work, but less well than its owner may think.
    Warning,
    /// A run will fail.
    Failed,
}

/// One line of a check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How it bears on the next run.
    pub outcome: Outcome,
    /// What was looked at: a cluster, a tool, a destination.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// The way out, where something is amiss.
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn good(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Good, subject: subject.into(), message: message.into(), remedy: None }
    }

    /// Not as good as it looks.
    pub fn warning(subject: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { outcome: Outcome::Warning, subject: subject.into(), message: message.into(), remedy }
    }

    /// A run will fail because of `error`.
    pub fn failed(subject: impl Into<String>, error: &crate::error::Error) -> Self {
        let remedy = error.remedy().map(str::to_owned);
        Self { outcome: Outcome::Failed, subject: subject.into(), message: error.chain(), remedy }
    }
}
