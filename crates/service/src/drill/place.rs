//! What the place of a drill has in common with the database that was dumped, as far as a failure may come from that.

use std::collections::{BTreeMap, BTreeSet};

use longshore_core::manifest::Manifest;
use longshore_core::source::Source;
use longshore_core::stage::{Examine, ScratchCluster};
use serde_json::{Map, Value};

/// A place, seen from one backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// What is other here than where the backup comes from: a release, the version of an extension.
    pub(super) differences: Vec<String>,
    /// Whether rows and constraints mean the same wherever the releases are the same, as far as was recorded.
    pub(super) is_self_contained: bool,
    /// Whether the backup was to hold all rows.
    pub(super) is_complete: bool,
    /// Roles that the backup needs and that are not here.
    pub(super) missing_roles: Vec<String>,
    /// Whether the drill's role may do everything here; nothing where the server does not answer any more.
    pub(super) is_superuser: Option<bool>,
    /// The major version that the backup comes from, where it is another here.
    pub(super) source_release: Option<String>,
}

impl Place {
    /// Looks at a place for one backup. What cannot be told counts in favour of the backup.
    pub(super) async fn look(
        scratch: &dyn ScratchCluster,
        examiner: &dyn Examine,
        manifest: &Manifest,
        details: Option<&Map<String, Value>>,
    ) -> Self {
        let source = details.and_then(Source::of).unwrap_or_default();
        let here = ask(examiner, "select name, default_version from pg_catalog.pg_available_extensions").await;
        let roles: BTreeSet<String> =
            ask(examiner, "select rolname, '' from pg_catalog.pg_roles").await.into_keys().collect();
        let superuser = ask(examiner, "select pg_catalog.current_setting('is_superuser'), ''").await;
        let version = scratch.version();
        let (release, here_release) = (major(&manifest.cluster.server.server_version), major(&version));
        let mut differences = Vec::new();
        if release != here_release {
            differences.push(format!("PostgreSQL is {release} where the backup comes from, and {here_release} here"));
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

    /// Whether data must be taken here as it was where it comes from.
    pub(super) fn is_like_source(&self) -> bool {
        self.differences.is_empty() && self.is_self_contained
    }

    /// The way out where nothing is known but what is other here.
    pub(super) fn remedy(&self) -> Option<String> {
        if let Some(release) = &self.source_release {
            return Some(format!("install PostgreSQL {release}, from which the backup comes"));
        }
        (!self.differences.is_empty()).then(|| format!("drill where that is not so: {}", self.differences.join("; ")))
    }

    /// A place like the source, where all was recorded.
    #[cfg(test)]
    pub(super) fn like_source() -> Self {
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

/// The extensions whose version is another here, in words.
fn versions(source: &Source, here: &BTreeMap<String, String>) -> Vec<String> {
    let other = source.other_versions(here);
    other
        .map(|(name, recorded, here)| {
            format!("extension {name} is {recorded} where the backup comes from, and {here} here")
        })
        .collect()
}

/// Names and what belongs to each; none where the place does not answer.
async fn ask(examiner: &dyn Examine, query: &str) -> BTreeMap<String, String> {
    let rows = examiner.ask("postgres", query).await.unwrap_or_default();
    let pair = |row: Vec<Option<String>>| {
        let mut columns = row.into_iter();
        Some((columns.next()??, columns.next().flatten().unwrap_or_default()))
    };
    rows.into_iter().filter_map(pair).collect()
}

/// The major version at the beginning of a version.
fn major(version: &str) -> &str {
    version.split(|char: char| !char.is_ascii_digit()).next().unwrap_or_default()
}
