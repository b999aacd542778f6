//! The decision about backups that act outside of their database, in a drill whose server is not
//! isolated.

use longshore_core::source::SourceFacts;
use longshore_core::stage::RestoreRequest;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::{ExternalEffects, Facts};
use serde::Deserialize;

/// The key of a dump's facts in the details.
const DETAILS: &str = "archive";

/// The isolation that a job requires of a drill's server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequiredIsolation {
    /// Namespaces. In a server without them, a backup that may connect to another server is
    /// refused.
    #[default]
    Namespaces,
    /// None: the backups are trusted with everything that they can reach.
    None,
}

/// Returns the facts of a backup's dump, if they are recorded and readable.
pub fn facts(request: &RestoreRequest<'_>) -> Option<Facts> {
    Facts::deserialize(request.details?.get(DETAILS)?).ok()
}

/// Returns the objects of backups that act outside of their database, for each backup whose facts
/// are recorded and readable.
pub fn effects<'a>(requests: &[RestoreRequest<'a>]) -> Vec<(&'a Subject, ExternalEffects)> {
    let effects = |request: &RestoreRequest<'a>| {
        let source = SourceFacts::of(request.details?);
        let effects = ExternalEffects::of(&facts(request)?);
        Some((&request.manifest.subject, effects.running_own_code(source.and_then(|source| source.runs_own_code))))
    };
    requests.iter().filter_map(effects).collect()
}

/// Decides about a server without isolation. Fails for a backup that may connect to another server
/// by itself, unless the job accepts this. Otherwise returns a phrase for each backup with such
/// objects: `app contains foreign servers "far"`.
///
/// The error ends with `unisolated`, such as `an existing server is not isolated`.
pub fn check(
    required: RequiredIsolation,
    backups: &[(&Subject, ExternalEffects)],
    unisolated: &str,
    hint: &str,
) -> Result<Vec<String>> {
    if required == RequiredIsolation::Namespaces
        && let Some((subject, effects)) = backups.iter().find(|(_, effects)| effects.may_connect())
    {
        let message = format!("may connect to another server during the restore, and {unisolated}");
        let error = Error::new(Stage::Drill, Kind::Refused, subject.to_string(), message).hint(hint);
        return Err(error.because(effects.phrases().join("; ")));
    }
    let phrases = backups.iter().map(|(subject, effects)| (subject, effects.phrases()));
    let phrases = phrases.filter(|(_, phrases)| !phrases.is_empty());
    Ok(phrases.map(|(subject, phrases)| format!("{subject} contains {}", phrases.join(", "))).collect())
}
