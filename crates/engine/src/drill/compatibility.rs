//! The differences between a drill's scratch server and the source database that may
//! explain a failure.

use std::collections::{BTreeMap, BTreeSet};

use longshore_core::manifest::Manifest;
use longshore_core::source::SourceFacts;
use longshore_core::stage::{Examine, ScratchCluster};
use serde_json::{Map, Value};

/// The compatibility of a scratch server with the source of one backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compatibility {
    /// The differences from the source: another release, other versions of extensions.
    pub(super) differences: Vec<String>,
    /// True if rows and constraints, as far as recorded, depend on nothing but the
    /// server's release.
    pub(super) is_self_contained: bool,
    /// True if the backup captured everything that it was to contain.
    pub(super) is_complete: bool,
    /// Roles that the backup needs and the scratch server lacks.
    pub(super) missing_roles: Vec<String>,
    /// True if the drill's role is a superuser; `None` if the server no longer answers.
    pub(super) is_superuser: Option<bool>,
    /// The major version of the source, if the scratch server has another.
    pub(super) source_release: Option<String>,
}

impl Compatibility {
    /// Compares the scratch server with the source of one backup. An unknown fact counts in favour
    /// of the backup.
    pub(super) async fn assess(
        scratch: &dyn ScratchCluster,
        examiner: &dyn Examine,
        manifest: &Manifest,
        details: Option<&Map<String, Value>>,
    ) -> Self {
        let source = details.and_then(SourceFacts::of).unwrap_or_default();
        let here = query_pairs(examiner, "select name, default_version from pg_catalog.pg_available_extensions").await;
        let roles: BTreeSet<String> =
            query_pairs(examiner, "select rolname, '' from pg_catalog.pg_roles").await.into_keys().collect();
        let superuser = query_pairs(examiner, "select pg_catalog.current_setting('is_superuser'), ''").await;
        let version = scratch.version();
        let (release, here_release) = (major(&manifest.cluster.server.server_version), major(&version));
        let mut differences = Vec::new();
        if release != here_release {
            differences.push(format!("PostgreSQL is {release} at the source, but {here_release} here"));
        }
        differences.extend(versions(&source, &here));
        let needed = details.map(|details| examiner.roles(details)).unwrap_or_default();
        let is_missing = |role: &String| !roles.is_empty() && !roles.contains(role) && !role.starts_with("pg_");
        Self {
            differences,
            is_self_contained: source.self_contained == Some(true),
            is_complete: manifest.not_captured.is_empty(),
            missing_roles: needed.into_iter().filter(is_missing).collect(),
            is_superuser: (!superuser.is_empty()).then(|| superuser.contains_key("on")),
            source_release: (release != here_release).then(|| release.to_owned()),
        }
    }

    /// Returns true if the scratch server must accept all data that the source accepted.
    pub(super) fn is_like_source(&self) -> bool {
        self.differences.is_empty() && self.is_self_contained
    }

    /// Returns the remedy, if the only known reason is a difference from the source.
    pub(super) fn remedy(&self) -> Option<String> {
        if let Some(release) = &self.source_release {
            return Some(format!("install PostgreSQL {release}, the release of the source"));
        }
        (!self.differences.is_empty())
            .then(|| format!("drill on a server without these differences: {}", self.differences.join("; ")))
    }

    /// Returns the compatibility of a server that equals the source.
    #[cfg(test)]
    pub(super) fn full() -> Self {
        Self {
            differences: Vec::new(),
            is_self_contained: true,
            is_complete: true,
            missing_roles: Vec::new(),
            is_superuser: Some(true),
            source_release: None,
        }
    }
}

/// Describes the extensions that have another version on the scratch server.
fn versions(source: &SourceFacts, here: &BTreeMap<String, String>) -> Vec<String> {
    let other = source.other_versions(here);
    other
        .map(|(name, recorded, here)| format!("extension {name} is {recorded} at the source, but {here} here"))
        .collect()
}

/// Queries pairs of a name and a value; returns none if the server does not answer.
async fn query_pairs(examiner: &dyn Examine, query: &str) -> BTreeMap<String, String> {
    let rows = examiner.ask("postgres", query).await.unwrap_or_default();
    let pair = |row: Vec<Option<String>>| {
        let mut columns = row.into_iter();
        Some((columns.next()??, columns.next().flatten().unwrap_or_default()))
    };
    rows.into_iter().filter_map(pair).collect()
}

/// Returns the major version of a version string.
fn major(version: &str) -> &str {
    version.split(|char: char| !char.is_ascii_digit()).next().unwrap_or_default()
}
