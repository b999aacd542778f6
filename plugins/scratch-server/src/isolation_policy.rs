//! Decides about backups that act outside of their database, in a server without isolation.

use longshore_core::source::Source;
use longshore_core::stage::Wanted;
use longshore_core::subject::Subject;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::{ExternalEffects, Facts};
use serde::Deserialize;

use crate::Isolation;

/// The key of a dump's facts in the details.
const DETAILS: &str = "archive";

/// Fails for backups that may connect to another server by themselves, unless the job accepts this;
/// otherwise returns a warning, if any.
pub(crate) fn check(accepted: Isolation, wanted: &[Wanted<'_>]) -> Result<Option<String>> {
    let active = |wanted: &Wanted<'_>| {
        let details = wanted.details?;
        let facts = Facts::deserialize(details.get(DETAILS)?).ok()?;
        Some(ExternalEffects::of(&facts).running_own_code(Source::of(details).and_then(|source| source.runs_own_code)))
    };
    let active = wanted.iter().filter_map(|wanted| Some((&wanted.manifest.subject, active(wanted)?)));
    check_active(accepted, &active.collect::<Vec<_>>())
}

fn check_active(accepted: Isolation, backups: &[(&Subject, ExternalEffects)]) -> Result<Option<String>> {
    if accepted == Isolation::Namespaces
        && let Some((subject, active)) = backups.iter().find(|(_, active)| active.may_connect())
    {
        let message = "may connect to another server during the restore, and an existing server is not isolated";
        let error = Error::new(Stage::Drill, Kind::Refused, subject.to_string(), message).hint(
            "drill in a temporary cluster: scratch = { type = \"initdb\" }, or accept the risk: isolation = \"none\" in scratch",
        );
        return Err(error.because(active.phrases().join("; ")));
    }
    let phrases = backups.iter().map(|(subject, active)| (subject, active.phrases()));
    let phrases = phrases.filter(|(_, phrases)| !phrases.is_empty());
    let phrases: Vec<_> =
        phrases.map(|(subject, phrases)| format!("{subject} contains {}", phrases.join(", "))).collect();
    Ok((!phrases.is_empty())
        .then(|| format!("warning: the drill's server is not isolated from its network: {}", phrases.join("; "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connecting_backup_is_refused_unless_accepted() {
        let subject = Subject::database("app");
        let servers = ["far".to_owned()].into();
        let mut active = ExternalEffects { servers, ..ExternalEffects::default() };
        let warning = check_active(Isolation::Namespaces, &[(&subject, active.clone())]).unwrap().unwrap();
        assert!(warning.contains("contains foreign servers \"far\""), "{warning}");
        active.refreshed.insert("public totals".to_owned());
        let error = check_active(Isolation::Namespaces, &[(&subject, active.clone())]).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(check_active(Isolation::None, &[(&subject, active)]).unwrap().is_some());
        assert_eq!(check_active(Isolation::Namespaces, &[(&subject, ExternalEffects::default())]).unwrap(), None);
    }
}
